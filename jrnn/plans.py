"""What a run over a sequence is made of, and what it leaves."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from jrnn.masking import Schedule
from jrnn.types import Array, Inputs, Params, Shape, State


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


class Silent(NamedTuple):
    """A `state_tap` known to be zero: `unroll` takes gradients with respect to it and never reads it."""

    tap: State


class Plan(NamedTuple):
    """The static part of a scan."""

    steps: int
    batch_shape: Shape
    reverse: bool
    segment: int | None  # steps recomputed together in the backward pass; None stores everything
    unroll: int
    return_states: bool
    silent: bool  # the tap is zero and is not read
    implementation: str  # "reference" is the scan of the cell's own step
    beneath: bool  # a layer of a causal stack: what it hands on is part of the stack's step, so without the tap


class Run(NamedTuple):
    """The arguments of `scan`."""

    cell: Any
    params: Params
    xs: Inputs
    start: State
    restart: State
    when: Schedule
    tap: State | None
    key: Array | None
    plan: Plan


def begun(xs: Inputs, start: State, when: Schedule, tap: State | None, plan: Plan) -> tuple[State, tuple]:
    """(the initial state, the inputs of each step): the tap's first row belongs to the initial state."""
    if tap is not None:
        first = plan.steps if plan.reverse else 0
        start = jax.tree.map(lambda h, pull: h + pull[first], start, tap)
        tap = jax.tree.map(lambda pull: pull[:-1] if plan.reverse else pull[1:], tap)
    return start, (jnp.arange(plan.steps), xs, when, tap)


def ended(start: State, when: Schedule, plan: Plan, carry: tuple, ys: tuple) -> Unrolled:
    """What the scan found, with the initial state among the states."""
    (final, last), (outputs, states) = carry, ys
    if plan.return_states:
        order = (lambda h, hs: (hs, h[None])) if plan.reverse else (lambda h, hs: (h[None], hs))
        states = jax.tree.map(lambda h, hs: jnp.concatenate(order(h, hs)), start, states)
    happened = jnp.ones((plan.steps, *plan.batch_shape), bool) if when.valid is None else when.valid
    return Unrolled(outputs, final, states, happened, last)


def explicitly_split(tree: Any) -> bool:
    """Whether an array's type says that devices hold parts of it (a mesh of Explicit axes)."""
    specs = [jax.typeof(leaf).sharding.spec for leaf in jax.tree.leaves(tree)]
    return any(name is not None for spec in specs for name in spec)
