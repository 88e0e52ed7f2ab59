"""What arrives at named lags: a few outputs' gradients, each followed back by a vector-Jacobian product of its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.flow.credit.output_cotangents import carrying, sample_outputs
from jrnn.numerics import share_of
from jrnn.training.telemetry.state_gradient_metrics import log_norms
from jrnn.types import Array, State
from jrnn.unrolling.schedule import zero_unless


class Arrivals(NamedTuple):
    """Sums over sequences and the outputs followed, for each lag [L]; those of several calls may be added."""

    arrived: Array
    """sum of ||part(t, t - tau)||."""
    sent: Array
    """sum of ||part(t, t)|| of the same outputs, those with a way back of tau steps."""
    measured: Array
    """How many calls measured."""


class Asked(NamedTuple):
    """What a probe is asked for; hashable."""

    lags: tuple[int, ...]
    outputs: int
    every: int


class Followed(NamedTuple):
    """One run, as the outputs' gradients go back through it; its arrays are [T, *B]."""

    pull: Callable[[Any], State]
    """(gradient of the outputs, of the final state) -> dL/dh_t [T+1, *B, ...]: one vector-Jacobian product."""
    final_row: Array
    """The step that the final state comes from."""
    segments: Array
    """[T+1, *B] of int, in the layout of the states: the stretch of time that h_k belongs to; -1 on padding."""
    reverse: bool
    base: int
    """The lag that counts as sent: 1 where outputs read the state before the step."""


def no_arrivals(asked: Asked, dtype: Any) -> Arrivals:
    """The empty sums."""
    zeros = jnp.zeros(len(asked.lags), dtype)
    return Arrivals(zeros, zeros, jnp.zeros((), dtype))


def arrivals_of(followed: Followed, gradients: tuple[Any, Any], asked: Asked, dtype: Any) -> Arrivals:
    """The sums of an even sample of the outputs that carry any gradient."""
    of_outputs, of_final = gradients
    final_row, axes = followed.final_row, followed.final_row.ndim
    steps = len(final_row)
    most = min(asked.outputs, steps)
    if not most:
        return no_arrivals(asked, dtype)
    carries = carrying(of_outputs, of_final, final_row)
    times, _, _ = sample_outputs(carries, most)

    def one(t: Array) -> tuple[Array, Array]:
        """(arrived, sent) [L] of output t."""
        here = jnp.arange(steps, dtype=jnp.int32) == t - 1
        ends = jnp.take(final_row, t - 1, axis=0)
        cotangent = (zero_unless(here, of_outputs), zero_unless(ends, of_final))
        sizes = jnp.exp(log_norms(followed.pull(cotangent), axes, dtype))  # [T+1, *B]

        def at(k: Array) -> tuple[Array, Array, Array]:
            inside = (k >= 0) & (k <= steps)
            row = jnp.clip(k, 0, steps)
            return jnp.take(sizes, row, axis=0), jnp.take(followed.segments, row, axis=0), inside

        def state(lag: int) -> Array:
            """The state `lag` steps before output t; of a run read backwards h_t belongs to row t - 1."""
            return t - 1 + lag if followed.reverse else t - lag

        size, segment = at(state(followed.base))[0], at(state(0))[1]
        arrived, sent = [], []
        for lag in asked.lags:
            far, place, inside = at(state(lag))
            first = state(lag) < steps if followed.reverse else state(lag) >= 1  # h_0 is left out: no input is seen
            there = inside & first & (place == segment)
            arrived.append(jnp.where(there, far, 0).sum())
            sent.append(jnp.where(there, size, 0).sum())
        return jnp.stack(arrived), jnp.stack(sent)

    arrived, sent = jax.lax.map(one, times)
    return Arrivals(arrived.sum(axis=0), sent.sum(axis=0), jnp.ones((), dtype))


def arrival_metrics(arrivals: Arrivals, asked: Asked) -> dict[str, Array]:
    """arrival_{lag}: what is left of what was sent; NaN where nothing was measured, or no way back is as long."""
    known = (arrivals.measured > 0) & (arrivals.sent > 0)
    shares = jnp.where(known, share_of(arrivals.arrived, arrivals.sent), jnp.nan)
    return {f"arrival_{lag}": share for lag, share in zip(asked.lags, shares, strict=True)}
