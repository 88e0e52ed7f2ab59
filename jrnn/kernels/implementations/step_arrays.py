"""What implementations in XLA's operations share: the arrays that each step reads, and the gradients put together."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jrnn.kernels.operands import Events, Operands, Scan
from jrnn.types import Array


def masked_inputs(operands: Operands, events: Events) -> Array:
    """The inputs [T, B, F], zero where the step did not happen."""
    if events.valid is None:
        return operands.xs
    return jnp.where(events.valid[..., None], operands.xs, jnp.zeros_like(operands.xs))


def active_tap(scan: Scan, operands: Operands, events: Events) -> tuple[Array, ...] | None:
    """The tap [T, B, H] each, zero on padding; None where it is known to be zero."""
    return None if operands.tap is None or scan.tap_is_zero else zero_on_padding(events, operands.tap)


def zero_on_padding(events: Events, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The arrays [T, B, H] each, zero beyond each sequence's length."""
    if events.inside is None:
        return arrays
    return tuple(jnp.where(events.inside[..., None], a, jnp.zeros_like(a)) for a in arrays)


def gates_follow_from_states(scan: Scan, operands: Operands) -> bool:
    """Whether the states alone give the gates, so that nothing is saved; not where a tap was added to the states."""
    recurrence: Any = scan.recurrence
    return recurrence.gates_from_state(operands.dtype) and (operands.tap is None or scan.tap_is_zero)


def entering_states(events: Events, reverse: bool, after: Array, start: Array, reset_state: Array) -> Array:
    """The states that entered each step [T, B, H]: the neighbour's, the initial one, or what a reset went to."""
    if isinstance(after.shape[0], int) and after.shape[0] == 0:  # it may be a symbol
        return after
    order = [after[1:], start[None]] if reverse else [start[None], after[:-1]]
    neighbours = jnp.concatenate(order)
    if events.resets is None:
        return neighbours
    return jnp.where(events.resets[..., None], jnp.broadcast_to(reset_state, neighbours.shape), neighbours)


def operand_gradients(
    weights: Any,
    xs: Array | None,
    needs_gradient: Any,
    operands: Operands,
    starts: tuple,
    reset_states: tuple,
    taps: Any,
) -> Operands:
    """The gradients of all operands, those of the states cast to their dtype; None for what needs no gradient."""
    states = {}
    for name, gradients in (("start", starts), ("reset_state", reset_states), ("tap", taps)):
        flags = getattr(needs_gradient, name)
        if getattr(operands, name) is not None:
            gradients = flags if gradients is None else gradients  # where none is needed, none was computed
            states[name] = tuple(
                a.astype(operands.dtype) if flag else None for a, flag in zip(gradients, flags, strict=True)
            )
    return Operands(xs, weights, states["start"], states.get("reset_state"), states.get("tap"))  # pyright: ignore
