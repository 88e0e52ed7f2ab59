"""Diagonal linear recurrences h_t = a_t h_{t-1} + z_t for all t at once: a parallel prefix scan (Blelloch 1990).

Steps are pairs (a, z) that combine associatively, (a, z) then (b, y) = (a b, b z + y), in log2(T) passes. The gradient
is the same scan from the other end, with conj(a). Where |a| > 1 a product over many steps may overflow before the state
does. A state of two parts is one of complex numbers; its gradient is dL/dre + i dL/dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.implementations.base import CallFacts
from jrnn.kernels.implementations.groups import map_groups
from jrnn.kernels.implementations.step_arrays import (
    active_tap,
    entering_states,
    masked_inputs,
    operand_gradients,
    zero_on_padding,
)
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.kernels.recurrences import Diagonal
from jrnn.types import Array, wide_dtype


@dataclass(frozen=True, eq=False)
class Associative:
    """See the module."""

    name = "associative"
    by_autodiff = False
    opaque_to_xla = False

    def refuses(self, facts: CallFacts) -> str | None:
        """It runs what is linear and diagonal."""
        if isinstance(facts.recurrence, Diagonal):
            return None
        return f"it is for linear recurrences, and {facts.recurrence.name} is none"

    def only_if_named(self, facts: CallFacts) -> str | None:
        """On CPUs log2(T) passes over all steps cost more than one."""
        return "on CPUs a scan step by step is faster" if facts.backend == "cpu" else None

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """Its backward pass needs the states alone: the gates it saves are empty, [E, T, B, 0]."""
        result = map_groups(partial(forward_group, scan, all_states), scan, (operands, events))
        return result._replace(gates=result.states[0][..., :0] if save_gates else None)

    def backward(
        self,
        scan: Scan,
        needs_gradient: Any,
        operands: Operands,
        events: Events,
        saved: RecurrenceResult,
        cotangents: RecurrenceResult,
    ) -> Operands:
        """None for what needs no gradient."""
        body = partial(backward_group, scan, needs_gradient)
        return map_groups(body, scan, (operands, events, saved._replace(gates=None), cotangents))


def forward_group(scan: Scan, all_states: bool, reverse: bool, operands: Operands, events: Events) -> RecurrenceResult:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence
    dtype, start, reset_state = operands.dtype, number(operands.start), number(operands.reset_state or operands.start)
    a, z = recurrence.terms(operands.weights, masked_inputs(operands, events))
    if events.resets is not None:
        z = jnp.where(events.resets[..., None], z + a * reset_state[None], z)
        a = jnp.where(events.resets[..., None], jnp.zeros_like(a), a)
    if events.valid is not None:
        valid = events.valid[..., None]
        held_a, held_z = jnp.ones_like(a), jnp.zeros_like(z)
        if events.resets is not None:  # a step that did not happen but begins a segment holds the reset state
            resets = events.resets[..., None]
            held_a = jnp.where(resets, held_z, held_a)
            held_z = jnp.where(resets, jnp.broadcast_to(reset_state[None], held_z.shape), held_z)
        a, z = jnp.where(valid, a, held_a), jnp.where(valid, z, held_z)
    tap = active_tap(scan, operands, events)
    z = z if tap is None else z + number(tap)
    states = tuple(part.astype(dtype) for part in parts_of(prefix(a, z, start, reverse, events.resets)))
    last = tuple(part[0 if reverse else -1] for part in states)
    return RecurrenceResult(states if all_states else states[:1], last)


def number(parts: tuple[Array, ...]) -> Array:
    """The parts of a state as one array of real or complex numbers, in the dtype that sums are computed in."""
    wide = [part.astype(wide_dtype(part.dtype)) for part in parts]
    return wide[0] if len(wide) == 1 else jax.lax.complex(*wide)


def parts_of(array: Array) -> tuple[Array, ...]:
    """The inverse of `number`, but for the dtype."""
    return (array.real, array.imag) if jnp.iscomplexobj(array) else (array,)


def prefix(a: Array, z: Array, start: Array, reverse: bool, anew: Array | None) -> Array:
    """h_t = a_t h_{t-1} + z_t from h_0 = `start`, all [T, ...]; at the steps where `anew` [T, B], h_t = z_t."""
    first = -1 if reverse else 0
    carried = a[first] * start
    if anew is not None:
        carried = jnp.where(anew[first][:, None], jnp.zeros_like(carried), carried)
    z = z.at[first].add(carried)
    flags = () if anew is None else (anew[..., None],)
    return jax.lax.associative_scan(combine, (a, z, *flags), reverse=reverse)[1]


def combine(earlier: tuple[Array, ...], later: tuple[Array, ...]) -> tuple[Array, ...]:
    """Two stretches of steps as one. One that begins anew selects: 0 times what came before may be NaN."""
    (a, z, *earlier_anew), (b, y, *later_anew) = earlier, later
    both = b * z + y
    if not later_anew:
        return a * b, both
    return a * b, jnp.where(later_anew[0], y, both), earlier_anew[0] | later_anew[0]


def backward_group(
    scan: Scan,
    needs_gradient: Any,
    reverse: bool,
    operands: Operands,
    events: Events,
    saved: RecurrenceResult,
    cotangents: RecurrenceResult,
) -> Operands:
    """One group, arrays without the leading axis: delta_{t-1} = a* delta_t + g_{t-1}, zero across a cut or a reset."""
    recurrence: Any = scan.recurrence
    (a, _), from_terms = jax.vjp(
        lambda w, xs: recurrence.terms(w, masked_inputs(operands._replace(xs=xs), events)),
        operands.weights,
        operands.xs,
    )
    back_a = jnp.conj(a)
    held_a = back_a if events.valid is None else jnp.where(events.valid[..., None], back_a, jnp.ones_like(a))
    ends = [flags for flags in (events.resets, events.cuts) if flags is not None]
    ends = jnp.any(jnp.stack(ends), axis=0) if ends else None  # steps that pass no gradient back
    last, first = (0, -1) if reverse else (-1, 0)
    of_states, of_last = (
        number(tuple(jnp.zeros_like(h) if g is None else g for g, h in zip(given, like, strict=True)))
        for given, like in ((cotangents.states, saved.states), (cotangents.last, operands.start))
    )
    direct = of_states.at[last].add(of_last)

    def from_next_step(array: Array) -> Array:  # the delta of a step takes a and the flags of the step after it
        nothing = jnp.zeros_like(array[:1])
        return jnp.concatenate([nothing, array[:-1]] if reverse else [array[1:], nothing])

    nothing = jnp.zeros_like(direct[0])
    next_a = from_next_step(held_a)
    delta = prefix(next_a, direct, nothing, not reverse, None if ends is None else from_next_step(ends))
    stepped = delta if events.valid is None else jnp.where(events.valid[..., None], delta, jnp.zeros_like(delta))
    reset_states = ()
    if operands.reset_state is not None:
        flags = events.resets[..., None]  # pyright: ignore[reportOptionalSubscript]
        reset_states = parts_of(jnp.sum(jnp.where(flags, held_a * delta, jnp.zeros_like(delta)), axis=0))
    states = map(number, (saved.states, operands.start, operands.reset_state or operands.start))
    entered = entering_states(events, reverse, *states)
    starts, taps = held_a[first] * delta[first], zero_on_padding(events, parts_of(delta))
    starts = starts if ends is None else jnp.where(ends[first][:, None], nothing, starts)
    # JAX's cotangent of a complex number is the conjugate of dL/dre + i dL/dim
    weights, xs = from_terms((jnp.conj(stepped) * entered, jnp.conj(stepped)))
    weights = jax.tree.map(lambda grad, flag: grad if flag else None, weights, needs_gradient.weights)
    xs = xs if needs_gradient.xs else None
    return operand_gradients(weights, xs, needs_gradient, operands, parts_of(starts), reset_states, taps)


ASSOCIATIVE = Associative()
