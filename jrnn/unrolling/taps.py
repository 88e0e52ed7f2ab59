"""The tap, which is added to the states: h_0..h_T as the scan takes it apart, and the result put together again."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jrnn.types import Array, Inputs, State
from jrnn.unrolling.records import Options, Unrolled
from jrnn.unrolling.schedule import Schedule
from jrnn.unrolling.states import filled


def split_tap(start: State, xs: Inputs, schedule: Schedule, options: Options) -> tuple[State, tuple]:
    """(the initial state, the inputs of each step): the tap's row of h_0 belongs to the initial state."""
    tap = options.state_tap
    if tap is not None and not options.taps_start:
        return start, (jnp.arange(options.steps), xs, schedule, tap)
    if tap is not None:
        tap = filled(tap, jax.tree.map(lambda h: jnp.zeros((options.steps + 1, *h.shape), h.dtype), start))
        first = options.steps if options.reverse else 0
        start = jax.tree.map(lambda h, pull: h + pull[first], start, tap)
        tap = jax.tree.map(lambda pull: pull[:-1] if options.reverse else pull[1:], tap)
    return start, (jnp.arange(options.steps), xs, schedule, tap)


def assemble(start: State, schedule: Schedule, options: Options, carry: tuple, ys: tuple) -> Unrolled:
    """The result of a scan, with the initial state among the states."""
    (final, last), (outputs, states) = carry, ys
    if options.return_states:
        order = (lambda h, hs: (hs, h[None])) if options.reverse else (lambda h, hs: (h[None], hs))
        states = jax.tree.map(lambda h, hs: jnp.concatenate(order(h, hs)), start, states)
    shape = (options.steps, *options.batch_shape)
    happened = jnp.ones(shape, bool) if schedule.valid is None else schedule.valid
    return Unrolled(outputs, final, states, happened, last)


@jax.custom_jvp
def add_zero_tap(h: Array, tap: Array) -> Array:
    """h + tap for a tap of zeros: the same derivatives, without reading and adding T states of zeros."""
    return h


@add_zero_tap.defjvp
def add_zero_tap_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """dh + dtap, which is linear, so that both modes work; integers have no tangent."""
    moves = jnp.issubdtype(primals[0].dtype, jnp.inexact)
    return primals[0], tangents[0] + tangents[1] if moves else tangents[0]


@jax.custom_jvp
def subtract_zero_tap(h: Array, tap: Array) -> Array:
    """h - tap for a tap of zeros: what `add_zero_tap` added is taken away."""
    return h


@subtract_zero_tap.defjvp
def subtract_zero_tap_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[0], tangents[0] - tangents[1]
