"""What a run over a sequence is told, and what it returns."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
from jaxtyping import Bool

from jrnn.types import Array, Shape, State
from jrnn.wording import arrays, brief

ARRAYS = ("initial_state", "reset_state", "lengths", "resets", "mask", "state_tap", "key")
STATIC = (
    *("steps", "batch_shape", "reverse", "segment", "truncate", "unroll", "return_states", "tap_is_zero"),
    *("taps_start", "inside_stack", "time_axis", "implementation"),
)


class Unrolled(NamedTuple):
    """What `unroll` returns. Time is axis 0 (or `time_axis`) in outputs, states and mask."""

    outputs: Any
    """y_t [T, *B, K]; zero where the step did not happen."""
    final_state: State
    """The state after the last step that happened [*B, ...]; the initial state at length 0."""
    states: State | None
    """With return_states: h_0..h_T [T+1, *B, ...], states[0] the initial state; padding holds the last valid one.
    With reverse they stay at their times: states[t] is the state after step t was read, states[T] the initial one."""
    mask: Bool[Array, "T *B"]
    """[T, *B] of bool: the steps that happened (lengths and mask together)."""
    last: Any
    """[*B, K]: the output of the step read last (with reverse: the earliest valid one); zero if none happened."""

    def __repr__(self) -> str:
        states = "" if self.states is None else f"states {arrays(self.states)}"
        return brief(self, f"outputs {arrays(self.outputs)}", f"final_state {arrays(self.final_state)}", states)


class ZeroTap(NamedTuple):
    """A `state_tap` known to be zero: `unroll` gives the gradient with respect to it and never reads it."""

    tap: State


@partial(jax.tree_util.register_dataclass, data_fields=ARRAYS, meta_fields=STATIC)
@dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """The options of a run as `reading.read` leaves them: checked once, time on axis 0. A pytree: it goes through
    `jit`, where all but the arrays is static."""

    steps: int
    """T."""
    batch_shape: Shape
    """*B."""
    initial_state: State | None
    """[*B, ...], of the cell's own type and dtype; None for the cell's own."""
    reset_state: State | None
    """What a reset goes to, alike."""
    lengths: Array | None
    """[*B] of int32."""
    resets: Array | None
    """[T, *B] of bool."""
    mask: Array | None
    """[T, *B] of bool."""
    state_tap: State | None
    """[T+1, *B, ...], added to the states."""
    key: Array | None
    reverse: bool
    segment: int | None
    """Steps recomputed together in the backward pass; None stores everything."""
    truncate: int | None
    unroll: int
    return_states: bool
    tap_is_zero: bool
    """The tap takes gradients and is not read."""
    taps_start: bool = True
    """The tap has a row for the initial state; else [T, *B, ...], of the states after each step alone."""
    inside_stack: bool
    """A layer of a causal stack: what it hands on is part of the stack's step, so without the tap."""
    time_axis: int
    """Where time was in what was given, and is to be in what is returned."""
    implementation: tuple[str, ...] | None
    """The names allowed, in the order in which they are tried; None for all."""
