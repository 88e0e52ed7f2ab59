"""What implementations in XLA's operations share: what is read at each step, and the gradients put together."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jrnn.kernels.problem import Events, Operands, Scan
from jrnn.types import Array


def masked_inputs(one: Operands, events: Events) -> Array:
    """The inputs, zero where the step did not happen."""
    if events.valid is None:
        return one.xs
    return jnp.where(events.valid[..., None], one.xs, jnp.zeros_like(one.xs))


def active_tap(scan: Scan, one: Operands, events: Events) -> tuple[Array, ...] | None:
    """The tap, where it is not known to be zero, on the steps it reaches."""
    return None if one.tap is None or scan.silent else inside(events, one.tap)


def inside(events: Events, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """[T, B, H] each, zero on padding."""
    if events.inside is None:
        return arrays
    return tuple(jnp.where(events.inside[..., None], a, jnp.zeros_like(a)) for a in arrays)


def entering_states(events: Events, reverse: bool, after: Array, start: Array, restart: Array) -> Array:
    """The states that entered each step [T, B, H]: the neighbour's, the initial one, or what a reset went to."""
    order = [after[1:], start[None]] if reverse else [start[None], after[:-1]]
    found = jnp.concatenate(order)
    if events.resets is None:
        return found
    return jnp.where(events.resets[..., None], jnp.broadcast_to(restart, found.shape), found)


def with_states(
    weights: Any, xs: Array | None, wanted: Any, one: Operands, starts: tuple, restarts: tuple, taps: Any
) -> Operands:
    """The gradients of all operands, those of the states in their dtype; None for what is not `wanted`."""
    states = {}
    for name, arrays in (("start", starts), ("restart", restarts), ("tap", taps)):
        flags, given = getattr(wanted, name), getattr(one, name)
        if given is not None:
            found = flags if arrays is None else arrays  # where none is wanted, none was computed
            states[name] = tuple(a.astype(one.dtype) if flag else None for a, flag in zip(found, flags, strict=True))
    return Operands(xs, weights, states["start"], states.get("restart"), states.get("tap"))  # pyright: ignore
