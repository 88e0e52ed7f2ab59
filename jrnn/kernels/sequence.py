"""A whole sequence by an implementation: any batch axes, the choice of the implementation, and why others refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.problem import Events, Operands, Recurrence, Weights
from jrnn.kernels.rule import IMPLEMENTATIONS, forward
from jrnn.types import Array, InputError, Shape, size_of

NAMES = ("native", "associative", "xla", "reference")
"""In the order in which they are tried; `associative` only where it is named, on CPUs: a scan is faster there.
`reference` is the scan of the cell's own step, which takes everything."""


@dataclass(frozen=True)
class Explanation:
    """Which implementation a call takes."""

    chosen: str
    """Its name; what `jrnn.unroll(..., implementation=)` accepts."""
    refused: dict[str, str]
    """Why each that was tried before it refused."""

    def __str__(self) -> str:
        return "; ".join([self.chosen, *(f"not {name}: {why}" for name, why in self.refused.items())])


def explain(cell: Any, params: Any, implementation: str | Sequence[str] | None = None) -> Explanation:
    """Which implementation `jrnn.unroll(cell, params, ...)` takes for this cell here, and why others refused.

    Args:
      cell, params: a cell and its parameters (or their shapes); of a stack, ask for each layer.
      implementation: as for `unroll`.
    Raises:
      InputError: a name is unknown, or every implementation named refuses.
    """
    names = (implementation,) if isinstance(implementation, str) else implementation
    names = NAMES if names is None else names
    refused: dict[str, str] = {}
    for name in names:
        if name not in NAMES:
            raise InputError("implementation", repr(name), f"None, one of {NAMES}, or several of them")
        why = None if name == "reference" else refusal(name, cell, params)
        if why is None and name == "associative" and implementation is None and jax.default_backend() == "cpu":
            why = "on CPUs a scan step by step is faster"
        if why is None:
            return Explanation(name, refused)
        refused[name] = why
    given = "; ".join(f"{name}, but {why}" for name, why in refused.items()) or "no name"
    raise InputError("implementation", given, "one that can run this call: None takes the first that can")


def refusal(name: str, cell: Any, params: Any) -> str | None:
    """Why an implementation of the array functions cannot run this cell; None if it can."""
    weights = cell.kernel(params) if hasattr(cell, "kernel") else None
    if weights is None:
        return f"{type(cell).__name__} has no recurrence of its own (`kernel`)"
    dtypes = {a.dtype for a in jax.tree.leaves(weights[1:])}
    if len(dtypes) > 1:
        return f"the parameters have several dtypes, {sorted(map(str, dtypes))}"
    return IMPLEMENTATIONS[name].refuses(weights.kind, dtypes.pop())


def recur(problem: Problem, implementation: str, all_states: bool = True, keep: bool = True) -> tuple:
    """A recurrence over a whole sequence.

    Args:
      problem: see `problem_of`.
      implementation: one that takes it.
      all_states: return every c, too.
      keep: the gates for the backward pass; without them it computes them again from the states.
    Returns:
      (states after each step [T, *B, H], state after the step read last [*B, H]), h or (h, c).
    """
    return recur_all([problem], implementation, all_states, keep)[0]


def recur_all(problems: Sequence[Problem], implementation: str, all_states: bool = True, keep: bool = True) -> list:
    """`recur` of each of several problems of one shape over the same inputs, in one call."""
    shared = problems[0].operands.xs
    alone = [(problem.operands._replace(xs=None), problem.events) for problem in problems]
    operands, events = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *alone)
    operands, what = operands._replace(xs=shared), problems[0].what
    what = replace(what, reverse=tuple(problem.what.reverse[0] for problem in problems))
    found = forward(what, operands, events, implementation, all_states, keep)
    return [
        tuple(
            tuple(h[g].reshape(*h.shape[1 : h.ndim - 2], *problem.batch_shape, h.shape[-1]) for h in part)
            for part in (found.states, found.last)
        )
        for g, problem in enumerate(problems)
    ]


class Problem(NamedTuple):
    """What an implementation is given, one group, and the batch axes that became its sequences."""

    what: Recurrence
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
    restart: tuple[Array, ...] | None = None,
    events: Events | None = None,
    tap: tuple[Array, ...] | None = None,
    silent: bool = False,
    reverse: bool = False,
) -> Problem:
    """One recurrence over a whole sequence, batch axes flattened.

    Args:
      weights: see `Weights`.
      xs: [T, *B, F], or None for F = 0.
      start, restart: h, or (h, c) [*B, H]: the initial state and what resets go to.
      steps, batch_shape: T > 0, *B with at least one sequence.
      events: [T, *B] of bool each, or [T].
      tap: added to the states [T, *B, H]; with `silent` known to be zero.
      reverse: read from the end.
    """
    rows, dtype, batch = size_of(batch_shape), weights.w_rec.dtype, len(batch_shape)

    def flat(array: Array, times: int) -> Array:
        lead = (1, *array.shape[:times], rows)
        return array.reshape(*lead, *array.shape[times + batch :])

    def flags(array: Array | None) -> Array | None:
        if array is None:
            return None
        wide = array.reshape(array.shape + (1,) * (1 + batch - array.ndim))
        return flat(jnp.broadcast_to(wide, (steps, *batch_shape)), 1)

    xs = jnp.zeros((steps, *batch_shape, 0), dtype) if xs is None else xs.astype(dtype)
    w_in, w_rec, bias, bias_rec = (None if w is None else w[None] for w in weights[1:])
    happened = Events(*map(flags, events or Events()))
    operands = Operands(
        flat(xs, 1),
        w_in,  # pyright: ignore[reportArgumentType]
        w_rec,  # pyright: ignore[reportArgumentType]
        bias,  # pyright: ignore[reportArgumentType]
        bias_rec,
        tuple(flat(h, 0) for h in start),
        tuple(flat(h, 0) for h in restart or ()) if happened.resets is not None else None,
        None if tap is None else tuple(flat(h, 1) for h in tap),
    )
    return Problem(Recurrence(weights.kind, (reverse,), silent), operands, happened, batch_shape)
