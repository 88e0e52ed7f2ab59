"""One step of a recurrence with what happens at it, there and back: what the loops of several implementations share.

Flags are [B], or [B, H] where a loop has no use for arrays of one axis.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.operands import Events
from jrnn.kernels.recurrences.base import States
from jrnn.numerics import select
from jrnn.types import Array


def entering(state: States, reset_state: States | None, now: Events) -> States:
    """The state that enters the step: where it begins a segment the reset state."""
    return state if now.resets is None else select(now.resets, reset_state, state)


def state_after(recurrence: Any, gates: Any, state: States, now: Events, tap: States | None) -> States:
    """The state after the step: held where the step did not happen, plus the tap."""
    after = recurrence.after(gates, state)
    if now.valid is not None:
        after = select(now.valid, after, state)
    return after if tap is None else jax.tree.map(jnp.add, after, tap)


def added(deltas: States, cotangents: tuple[Array | None, ...]) -> States:
    """deltas + cotangents, in the dtype of the deltas; None is no cotangent."""
    return tuple(d if g is None else d + g.astype(d.dtype) for d, g in zip(deltas, cotangents, strict=True))


def step_back(
    recurrence: Any, back: Array, gates: Any, entered: States, deltas: States, reset_states: States, now: Events
) -> tuple[States, States, Array, Any]:
    """From deltas = dL/dh_t: (dL/dh_{t-1}, the gradients of the reset state so far, and what `slope` finds: dz, more).

    A step that did not happen passes the deltas on; a reset sends them to the reset state, a cut nowhere.
    """
    stepped = deltas if now.valid is None else select(now.valid, deltas, zeros(deltas))
    dz, before, more = recurrence.slope(back, gates, entered, stepped)
    if now.valid is not None:
        before = select(now.valid, before, deltas)
    if now.resets is not None:
        to_reset_state = select(now.resets, before, zeros(before))
        reset_states = jax.tree.map(jnp.add, reset_states, to_reset_state)
        before = select(now.resets, zeros(before), before)
    if now.cuts is not None:
        before = select(now.cuts, zeros(before), before)
    return before, reset_states, dz, more


def zeros(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)
