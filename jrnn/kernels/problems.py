"""A whole sequence by an implementation, with any batch axes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.checks import check_events, check_real, check_shape, check_sizes, check_states, own_weights
from jrnn.kernels.implementations import IMPLEMENTATIONS, CallFacts, Implementation
from jrnn.kernels.operands import Events, Operands, Scan, Weights, sizes
from jrnn.kernels.primitives import forward
from jrnn.kernels.recurrences.base import input_dtype
from jrnn.kernels.sharding import placed_like
from jrnn.types import Array, InputError, Shape, size_of


def recur(problem: "Problem", implementation: str, all_states: bool = True, save_gates: bool = True) -> tuple:
    """A recurrence over a whole sequence.

    Args:
      problem: see `problem_of`.
      implementation: the name of one that can run it; "reference" is the scan of the recurrence's own step.
      all_states: return every c, too.
      save_gates: save the gates for the backward pass; without them it computes them again from the states.
    Returns:
      (states after each step [T, *B, H], state after the step read last [*B, H]), h or (h, c).
    Raises:
      InputError: the implementation is unknown or refuses.
    """
    return recur_all([problem], implementation, all_states, save_gates)[0]


def recur_all(
    problems: "Sequence[Problem]", implementation: str, all_states: bool = True, save_gates: bool = True
) -> list:
    """`recur` of each of several problems of one shape over the same inputs, in one call."""
    if not problems or not all(isinstance(problem, Problem) for problem in problems):
        given = "none" if not problems else str([type(problem).__name__ for problem in problems])
        raise InputError("problem", given, "what jrnn.kernels.problem_of makes")
    shared = problems[0].operands.xs
    alone = [(problem.operands._replace(xs=None), problem.events) for problem in problems]
    operands, events = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *alone)
    operands, scan = operands._replace(xs=shared), problems[0].scan
    scan = replace(scan, reverse=tuple(problem.scan.reverse[0] for problem in problems))
    chosen = check_takes(implementation, scan, operands)
    if chosen.by_autodiff:
        result = chosen.forward(scan, operands, events, True, False)
    else:
        result = forward(scan, operands, events, chosen, all_states, save_gates)
    return [
        tuple(
            tuple(h[g].reshape(*h.shape[1 : h.ndim - 2], *problem.batch_shape, h.shape[-1]) for h in part)
            for part in (result.states, result.last)
        )
        for g, problem in enumerate(problems)
    ]


def check_takes(implementation: str, scan: Scan, operands: Operands) -> Implementation:
    """The implementation of this name; InputError if it does not exist or refuses the call."""
    if not isinstance(implementation, str) or implementation not in IMPLEMENTATIONS:
        raise InputError("implementation", repr(implementation), f"one of {tuple(IMPLEMENTATIONS)}")
    n = sizes(scan, operands)
    backend = jax.default_backend()
    weights = jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape[1:], w.dtype), operands.weights)
    facts = CallFacts(scan.recurrence, operands.dtype, backend, n.steps, n.rows, n.features, n.units, weights)
    why = IMPLEMENTATIONS[implementation].refuses(facts)
    if why is not None:
        raise InputError("implementation", f"{implementation}, but {why}", "one that can run this call")
    return IMPLEMENTATIONS[implementation]


class Problem(NamedTuple):
    """What an implementation runs, one group of it, and the batch axes that were flattened into its sequences."""

    scan: Scan
    operands: Operands
    events: Events
    batch_shape: Shape


def problem_of(
    weights: Weights,
    xs: Array | None,
    start: tuple[Array, ...],
    steps: int,
    batch_shape: Shape,
    *,
    reset_state: tuple[Array, ...] | None = None,
    events: Events | None = None,
    tap: tuple[Array, ...] | None = None,
    tap_is_zero: bool = False,
    reverse: bool = False,
) -> Problem:
    """One recurrence over a whole sequence, batch axes flattened.

    Args:
      weights: see `Weights`.
      xs: [T, *B, F], or None for F = 0; of a gated recurrence its a and b.
      start, reset_state: h, or (h, c) [*B, H]: the initial state and what resets go to.
      steps, batch_shape: T > 0, *B.
      events: [T, *B] of bool each, or [T].
      tap: added to the states [T, *B, H]; with `tap_is_zero` known to be zero.
      reverse: read from the end.
    Raises:
      InputError: shapes, dtypes or numbers of arrays that do not fit, no steps, or resets without `reset_state`.
    """
    recurrence, own = own_weights(weights)
    features, units = recurrence.sizes(own)
    check_sizes(steps, batch_shape)
    rows, batch = size_of(batch_shape), len(batch_shape)
    dtype = next(iter(jax.tree.leaves(own)), start[0]).dtype
    events = events or Events()
    check_events(events, (steps, *batch_shape))
    if events.resets is not None and reset_state is None:
        raise InputError("reset_state", "None", "the state that resets go to")
    if xs is None:
        xs = jnp.zeros((steps, *batch_shape, 0), dtype)
    check_real("xs", xs)
    xs = jnp.asarray(xs).astype(input_dtype(recurrence, dtype))
    state = (*batch_shape, units)
    check_shape("xs", xs, (steps, *batch_shape, features))
    for name, arrays, shape in (
        ("start", start, state),
        ("reset_state", reset_state, state),
        ("tap", tap, (steps, *state)),
    ):
        check_states(recurrence.parts, name, arrays, shape)

    def flat(array: Array, times: int) -> Array:
        lead = (1, *array.shape[:times], rows)
        return placed_like(xs, array, times, batch).reshape(*lead, *array.shape[times + batch :])

    def cast(array: Array) -> Array:
        return array.astype(dtype)

    def flags(array: Array | None) -> Array | None:
        if array is None:
            return None
        wide = array.reshape(array.shape + (1,) * (1 + batch - array.ndim))
        return flat(jnp.broadcast_to(wide, (steps, *batch_shape)), 1)

    events = Events(*map(flags, events))
    operands = Operands(
        flat(xs, 1),
        jax.tree.map(lambda w: w[None], own),
        tuple(flat(cast(h), 0) for h in start),
        tuple(flat(cast(h), 0) for h in reset_state or ()) if events.resets is not None else None,
        None if tap is None else tuple(flat(cast(h), 1) for h in tap),
    )
    return Problem(Scan(recurrence, (reverse,), tap_is_zero), operands, events, batch_shape)
