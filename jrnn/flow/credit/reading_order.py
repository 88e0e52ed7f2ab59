"""A run laid out in reading order for the recursion over lags, and its results put back where they belong."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.flow.credit.lag_recursion import Run, Steps
from jrnn.types import Array, Inputs, Params, State
from jrnn.unrolling import Options
from jrnn.unrolling.schedule import schedule_of, zero_unless
from jrnn.unrolling.states import start_and_reset


class Layout(NamedTuple):
    """Where things lie: columns are states, rows outputs; both in reading order until `by_output` has put them back."""

    rows: Array | None
    """[R]: the steps of the outputs followed; None for all."""
    inside: Array
    """[T+1, *B] of bool: the states that are not padding."""
    reverse: bool

    def by_output(self, by_lag: Array) -> Array:
        """[lag, state (all outputs) or row (some), *B, ...] -> [R, T+1, *B, ...], the lag being t - k."""
        k = jnp.arange(len(self.inside), dtype=jnp.int32)[None]
        t = k.T[1:] if self.rows is None else self.rows[:, None] + 1
        place = k if self.rows is None else jnp.arange(len(t), dtype=jnp.int32)[:, None]
        credit = zero_unless(t >= k, by_lag[jnp.maximum(t - k, 0), jnp.broadcast_to(place, (len(t), k.size))])
        return self.placed(credit)

    def placed(self, credit: Array) -> Array:
        """[R, T+1, *B, ...] in reading order -> the same where a run has its outputs and states; zero on padding."""
        credit = jax.vmap(partial(zero_unless, self.inside))(credit)
        if not self.reverse:
            return credit
        return credit[::-1, ::-1] if self.rows is None else credit[:, ::-1]

    def by_state(self, in_order: Array) -> Array:
        """[T+1, *B, ...] along the states, where a run has them; zero on padding."""
        return self.in_place(zero_unless(self.inside, in_order))

    def in_place(self, in_order: Array) -> Array:
        """[T+1, ...] from reading order."""
        return in_order[::-1] if self.reverse else in_order


def in_order(
    cell: Any,
    real: list[Array],
    whole: Callable[[list[Array]], Params],
    xs: Inputs,
    states: State,
    pulls: tuple[Any, State, Array],
    times: Array | None,
    options: Options,
) -> tuple[Run, Steps, Layout]:
    """What the recursion needs, from the options of the run, its states and the pulls of `output_pull`."""
    g_outputs, g_final, final_row = pulls
    steps, batch_shape, reverse = options.steps, options.batch_shape, options.reverse
    schedule = schedule_of(options)
    g_states = jax.tree.map(lambda g: zero_unless(final_row, jnp.broadcast_to(g[None], (steps, *g.shape))), g_final)

    def order(tree: Any) -> Any:
        return jax.tree.map(lambda a: a[::-1], tree) if reverse else tree

    def begin(real: list[Array]) -> tuple[State, State]:
        return start_and_reset(cell, whole(real), options)

    states = order(states)
    laid_out = Steps(
        time=order(jnp.arange(steps, dtype=jnp.int32)),
        entering=jax.tree.map(lambda h: h[:-1], states),
        after=jax.tree.map(lambda h: h[1:], states),
        x=order(xs),
        schedule=order(schedule),
        g_outputs=order(g_outputs),
        g_states=order(g_states),
    )
    inside = jnp.ones((steps + 1, *batch_shape), bool)
    inside = inside if schedule.inside is None else inside.at[1:].set(order(schedule.inside))
    rows = None if times is None else (steps - times if reverse else times - 1)
    return Run(cell, real, whole, batch_shape, begin, options.key), laid_out, Layout(rows, inside, reverse)
