"""The recurrences in XLA's own operations, for every platform, with a backward pass that waits for little.

Forwards it is the plain scan: x W_in taken for all steps ahead is slower on CPUs, where XLA does not vectorise the
gates of a slice of it. Backwards, a scan finds dz_t, the gradient of the pre-activations, alone; the gradients of the
weights and of the inputs are one product each over all steps, where autodiff adds a product to the weights' gradient
at every step. With many sequences that is the better way on a CPU, and `defers` says so.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.checks import check_real, check_shape, check_states, own_weights
from jrnn.kernels.common import active_tap, entering_states, inside, masked_inputs, with_states
from jrnn.kernels.problem import Events, Operands, Outcome, Scan, aligned
from jrnn.kernels.recurrences import Recurrence, Sloped
from jrnn.kernels.reference import map_groups, select
from jrnn.types import Array, wide_dtype


def refuses(recurrence: Recurrence, dtype: Any) -> str | None:
    """It takes every recurrence that brings the parts of a backward pass along."""
    if isinstance(recurrence, Sloped):
        return None
    return f"a {recurrence.name} recurrence is as fast by the scan of its own step"


def forward(scan: Scan, operands: Operands, events: Events, all_states: bool, keep: bool) -> Outcome:
    """The recurrence; with `keep`, what the gates are made of, for the backward pass, too: [E, T, B, H] each."""
    return map_groups(partial(forward_group, scan, all_states, keep), scan, (operands, events))


def backward(
    scan: Scan, wanted: Any, operands: Operands, events: Events, saved: Outcome, cotangents: Outcome
) -> Operands:
    """The gradients of the operands, None for those that are not `wanted` (a pytree of bool)."""
    body = partial(backward_group, scan, wanted)
    return map_groups(body, scan, (operands, events, saved, cotangents))


def forward_group(scan: Scan, all_states: bool, keep: bool, reverse: bool, one: Operands, events: Events) -> Outcome:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence

    def body(state: tuple[Array, ...], inputs: tuple) -> tuple[tuple[Array, ...], tuple]:
        x, now, pull = inputs
        if now.resets is not None:
            state = select(now.resets, one.restart, state)
        sums = recurrence.sums(one.weights, x, state)
        after = recurrence.after(recurrence.gates(one.weights, sums, state), state)
        if now.valid is not None:
            after = select(now.valid, after, state)
        if pull is not None:
            after = jax.tree.map(jnp.add, after, pull)
        return after, (after if all_states else after[:1], sums if keep else None)

    keep = keep and not from_state(scan, one)
    inputs = masked_inputs(one, events), events, active_tap(scan, one, events)
    last, (states, sums) = jax.lax.scan(body, one.start, inputs, reverse=reverse)
    return Outcome(states, last, sums)


def from_state(scan: Scan, one: Operands) -> bool:
    """Whether the gates follow from the states alone: nothing was added to them, either."""
    recurrence: Any = scan.recurrence
    return recurrence.gates_from_state(one.dtype) and (one.tap is None or scan.silent)


def step(weights: Any, state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
    """The state after one step: weights as a cell's `kernel` gives them, x [*B, F], h or (h, c) [*B, H]."""
    recurrence: Any
    recurrence, own = own_weights(weights)
    features, units = recurrence.sizes(own)
    check_real("x", x)
    check_shape("x", x, (*x.shape[:-1], features))
    check_states(recurrence.parts, "state", state, (*x.shape[:-1], units))
    sums = recurrence.sums(own, x.astype(state[0].dtype), state)
    return recurrence.after(recurrence.gates(own, sums, state), state)


def backward_group(
    scan: Scan,
    wanted: Any,
    reverse: bool,
    one: Operands,
    events: Events,
    saved: Outcome,
    cotangents: Outcome,
) -> Operands:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence
    entered = tuple(map(partial(entering_states, events, reverse), saved.states, one.start, one.restart or one.start))
    direct, wide = from_state(scan, one), wide_dtype(one.dtype)
    sums = saved.states[:1] if direct else saved.gates  # None: made again, step by step, to need no memory
    deferred = defers(one)
    back = recurrence.transposed(one.weights)

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        (deltas, restarts, weights), (x, entered, sums, now, pulls) = carry, inputs
        if sums is None:
            sums = recurrence.sums(one.weights, masked_inputs(one._replace(xs=x), now), entered)
        gates = sums if direct else recurrence.gates(one.weights, sums, entered)
        deltas = tuple(d if g is None else d + g.astype(d.dtype) for d, g in zip(deltas, pulls, strict=True))
        moved = deltas if now.valid is None else select(now.valid, deltas, zeros(deltas))
        dz, reached, more = recurrence.slope(back, gates, entered, moved)
        if now.valid is not None:
            reached = tuple(jnp.where(now.valid[:, None], a, d) for a, d in zip(reached, deltas, strict=True))
        if now.resets is not None:
            gone = select(now.resets, reached, zeros(reached))
            restarts, reached = jax.tree.map(jnp.add, restarts, gone), select(now.resets, zeros(reached), reached)
        if now.cuts is not None:
            reached = select(now.cuts, zeros(reached), reached)
        found = dz, more
        if not deferred:
            here, xs, *found = jax.tree.map(lambda a: a[None], (now, x, entered, dz, more))
            part, xs = from_slopes(one._replace(xs=xs), here, *found)
            weights, found = jax.tree.map(jnp.add, weights, part), xs
        return (reached, restarts, weights), (found, deltas if any(wanted.tap or ()) else None)

    def from_slopes(one: Operands, events: Events, entered: tuple, dz: Array, more: Any) -> tuple[Any, Array | None]:
        """The gradients of the weights and of xs."""
        xs = masked_inputs(one, events)
        weights = recurrence.gradients(wanted.weights, one.weights, xs, entered, dz, more)
        return weights, recurrence.input_gradient(one.weights, dz) if wanted.xs else None

    empty = jax.tree.map(lambda a, flag: jnp.zeros_like(a) if flag else None, one.weights, wanted.weights)
    nothing, empty, _ = aligned((tuple(jnp.zeros_like(h, dtype=wide) for h in one.start), empty, entered))
    ends = tuple(n if g is None else g.astype(wide) for n, g in zip(nothing, cotangents.last, strict=True))
    pulls = (*cotangents.states, *(None,) * (len(nothing) - len(cotangents.states)))
    inputs = None if deferred and sums is not None else one.xs, entered, sums, events, pulls
    (starts, restarts, weights), (found, taps) = jax.lax.scan(
        body, (ends, nothing, None if deferred else empty), inputs, reverse=not reverse
    )
    if deferred:
        weights, xs = from_slopes(one, events, entered, *found)
    else:
        xs = None if found is None else found[:, 0]
    taps = None if taps is None else inside(events, taps)
    return with_states(weights, xs, wanted, one, starts, restarts, taps)


def defers(one: Operands) -> bool:
    """Whether the gradients of the weights wait for dz of all steps, one product each.

    On a CPU, where a step has at least H sequences, its own product is as fast and dz [T, B, G H] is not kept.
    """
    rows, units = one.start[0].shape
    exact = wide_dtype(one.dtype) == one.dtype  # a sum of rounded parts would be worse
    few = not isinstance(rows, int) or rows < units  # an exported program's number may not be known
    return few or not exact or jax.default_backend() != "cpu"


def zeros(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)
