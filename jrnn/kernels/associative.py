"""The diagonal linear recurrence h_t = a h_{t-1} + z_t for all t at once: a parallel prefix scan (Blelloch 1990).

Steps are pairs (a, z) that combine associatively, (a, z) then (b, y) = (a b, b z + y), in log2(T) passes. The gradient
is the same scan from the other end. Where |a| > 1 a product over many steps may overflow before the state does.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.common import active_tap, entering_states, inside, masked_inputs, with_states
from jrnn.kernels.problem import Events, Operands, Outcome, Scan
from jrnn.kernels.recurrences import Diagonal, Recurrence
from jrnn.kernels.reference import map_groups
from jrnn.types import Array, wide_dtype


def refuses(recurrence: Recurrence, dtype: Any) -> str | None:
    """It takes what is linear and diagonal."""
    if isinstance(recurrence, Diagonal):
        return None
    return f"it is for linear recurrences, and {recurrence.name} is none"


def forward(scan: Scan, operands: Operands, events: Events, all_states: bool, keep: bool) -> Outcome:
    """The recurrence; the backward pass needs the states alone."""
    found = map_groups(partial(forward_group, scan), scan, (operands, events))
    # [E, T, B, 0]: as other implementations keep gates
    return found._replace(gates=found.states[0][..., :0] if keep else None)


def backward(
    scan: Scan, wanted: Any, operands: Operands, events: Events, saved: Outcome, cotangents: Outcome
) -> Operands:
    """The gradients of the operands, None for those that are not `wanted` (a pytree of bool)."""
    return map_groups(
        partial(backward_group, scan, wanted), scan, (operands, events, saved._replace(gates=None), cotangents)
    )


def forward_group(scan: Scan, reverse: bool, one: Operands, events: Events) -> Outcome:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence
    (start,), dtype = one.start, wide_dtype(one.dtype)
    a, z = recurrence.terms(one.weights, masked_inputs(one, events))
    if events.resets is not None:
        (restart,) = one.restart or one.start
        z = jnp.where(events.resets[..., None], z + a * restart.astype(dtype)[None], z)
        a = jnp.where(events.resets[..., None], jnp.zeros_like(a), a)
    if events.valid is not None:
        happened = events.valid[..., None]
        held, new = jnp.ones_like(a), jnp.zeros_like(z)
        if events.resets is not None:  # a step that did not happen but begins a segment holds what it went to
            (restart,) = one.restart or one.start
            goes = events.resets[..., None]
            held = jnp.where(goes, new, held)
            new = jnp.where(goes, jnp.broadcast_to(restart.astype(dtype)[None], new.shape), new)
        a, z = jnp.where(happened, a, held), jnp.where(happened, z, new)
    pulls = active_tap(scan, one, events)
    z = z if pulls is None else z + pulls[0].astype(dtype)
    hs = prefix(a, z, start.astype(dtype), reverse, events.resets).astype(start.dtype)
    return Outcome((hs,), (hs[0 if reverse else -1],))


def prefix(a: Array, z: Array, start: Array, reverse: bool, fresh: Array | None) -> Array:
    """h_t = a_t h_{t-1} + z_t from h_0 = `start`, all [T, ...]; at the steps marked `fresh` [T, B], h_t = z_t."""
    first = -1 if reverse else 0
    reached = a[first] * start
    if fresh is not None:
        reached = jnp.where(fresh[first][:, None], jnp.zeros_like(reached), reached)
    z = z.at[first].add(reached)
    flags = () if fresh is None else (fresh[..., None],)
    return jax.lax.associative_scan(combine, (a, z, *flags), reverse=reverse)[1]


def combine(earlier: tuple[Array, ...], later: tuple[Array, ...]) -> tuple[Array, ...]:
    """Two stretches of steps as one; one that begins anew selects: 0 times what came before may be NaN."""
    (a, z, *begun), (b, y, *anew) = earlier, later
    both = b * z + y
    if not anew:
        return a * b, both
    return a * b, jnp.where(anew[0], y, both), begun[0] | anew[0]


def backward_group(
    scan: Scan,
    wanted: Any,
    reverse: bool,
    one: Operands,
    events: Events,
    saved: Outcome,
    cotangents: Outcome,
) -> Operands:
    """delta_{t-1} = a delta_t + g_{t-1}, zero across a cut or a reset."""
    recurrence: Any = scan.recurrence
    (hs,), (start,), dtype = saved.states, one.start, wide_dtype(one.dtype)
    (a, _), from_terms = jax.vjp(
        lambda w, xs: recurrence.terms(w, masked_inputs(one._replace(xs=xs), events)), one.weights, one.xs
    )
    kept = a if events.valid is None else jnp.where(events.valid[..., None], a, jnp.ones_like(a))
    ends = [flags for flags in (events.resets, events.cuts) if flags is not None]
    ends = jnp.any(jnp.stack(ends), axis=0) if ends else None  # steps that pass nothing on
    (pull,), (end,) = cotangents.states, cotangents.last
    last, first = (0, -1) if reverse else (-1, 0)
    pull = jnp.zeros(hs.shape, dtype) if pull is None else pull.astype(dtype)
    pull = pull if end is None else pull.at[last].add(end.astype(dtype))

    def later(array: Array) -> Array:  # what step t passes on reaches the delta of the step before
        nothing = jnp.zeros_like(array[:1])
        return jnp.concatenate([nothing, array[:-1]] if reverse else [array[1:], nothing])

    nothing = jnp.zeros_like(pull[0])
    delta = prefix(later(kept), pull, nothing, not reverse, None if ends is None else later(ends))
    moved = delta if events.valid is None else jnp.where(events.valid[..., None], delta, jnp.zeros_like(delta))
    restarts = ()
    if one.restart is not None:
        flags = events.resets[..., None]  # pyright: ignore[reportOptionalSubscript]
        restarts = (jnp.sum(jnp.where(flags, kept * delta, jnp.zeros_like(delta)), axis=0),)
    entered = entering_states(events, reverse, hs, start, (one.restart or one.start)[0])
    starts, taps = kept[first] * delta[first], inside(events, (delta,))
    starts = (starts if ends is None else jnp.where(ends[first][:, None], nothing, starts),)
    weights, xs = from_terms((moved * entered.astype(dtype), moved))
    weights = jax.tree.map(lambda grad, flag: grad if flag else None, weights, wanted.weights)
    return with_states(weights, xs if wanted.xs else None, wanted, one, starts, restarts, taps)
