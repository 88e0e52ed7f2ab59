"""Tangents and cotangents of windows of a run, carried through time by `unroll` with a QR at every step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jrnn.cells import draw_noise
from jrnn.cells._base import static_cell
from jrnn.flow.singular_values.graded import Graded, followed_by, identity
from jrnn.numerics import select
from jrnn.types import Array, Inputs, Params, Shape, State, ravel_state, unravel_state
from jrnn.unrolling import unroll
from jrnn.unrolling.schedule import Schedule, zero_unless
from jrnn.unrolling.step_rule import enter, hold


class Points(NamedTuple):
    """Where a run is linearised: all that J_1..J_T depend on."""

    params: Params
    xs: Inputs
    entering: State  # the state entering each step [T, *B, ...]
    schedule: Schedule
    key: Array | None


class Carried(NamedTuple):
    """What a pass carries for C ways through time, on which W windows lie."""

    q: Float[Array, "C *B N k"]
    """[C, *B, N, k]: orthonormal columns."""
    product: Graded
    """[C, *B, k, k]: the product of the R of the QR steps so far, the last one on the left."""
    kept: Graded
    """[W, *B, k, k]: what it was at the end of each window."""


class Plan(NamedTuple):
    """The static part of a pass."""

    windows: tuple[tuple[int, int], ...]
    batch_shape: Shape
    size: int  # N
    dtype: Any  # what the columns are computed in
    reverse: bool  # the run's reading order


class Route(NamedTuple):
    """Which steps C ways take, in order."""

    time: Any
    """[I, C]: the index of the step."""
    inside: Any
    """[I, C]: whether it is one; the shorter ways wait."""
    window: Any
    """[I, C]: the window that ends with this step or next after it."""


@static_cell
class Pass:
    """A cell whose step takes k columns of every way through J_i, or through J_i^T, and renews them: Q R = J_i Q.

    Its parameters are J [T, *B, N, N] where `cell` is None, else `Points`: then J_i is never formed, each column goes
    through the derivative of `cell.step`. Its input is one row of a `Route`.
    """

    cell: Any
    plan: Plan
    ways: int
    k: int
    transposed: bool

    def init(self, key: Array, input_size: int | None) -> tuple:
        return ()

    def initial_state(self, params: Any, batch_shape: Shape = ()) -> Carried:
        plan, k = self.plan, self.k
        each, all_windows = ((*batch_shape, n, *plan.batch_shape) for n in (self.ways, len(plan.windows)))
        q = jnp.broadcast_to(jnp.eye(plan.size, k, dtype=plan.dtype), (*each, plan.size, k))
        return Carried(q, identity(each, k, plan.dtype), identity(all_windows, k, plan.dtype))

    def step(self, params: Any, carried: Carried, x: Route) -> Carried:
        def renewed(time: Array, q: Array) -> tuple[Array, Array]:
            here = jax.tree.map(
                lambda a: a[time], params if self.cell is None else params._replace(params=(), key=None)
            )
            if self.cell is None:
                factor = (jnp.swapaxes(here, -1, -2) if self.transposed else here).astype(q.dtype)
                return jnp.linalg.qr(jnp.matmul(factor, q, precision="highest"))
            return jnp.linalg.qr(self.through(here._replace(params=params.params, key=params.key), time, q))

        q, r = jax.vmap(renewed)(x.time, carried.q)
        after = q, followed_by(carried.product, r)
        q, product = select(x.inside, after, (carried.q, carried.product))
        return Carried(q, product, jax.tree.map(lambda all, one: all.at[x.window].set(one), carried.kept, product))

    def through(self, here: Points, time: Array, q: Array) -> Array:
        """J q or J^T q at one time, [*B, N, k] -> [*B, N, k], by forward or reverse mode of the step."""
        batch_ndim, schedule = q.ndim - 2, here.schedule
        noise = draw_noise(self.cell, here.params, here.key, time, self.plan.batch_shape)
        # a step that does not happen is held below, in the columns' own dtype; after a reset nothing is left of them
        entered = enter(self.cell, here.params, here.entering, here.xs, schedule, here.entering, noise)

        def step(state: State) -> State:
            return entered._replace(state=state, valid=None).after()

        linear = derivative(step, entered.state, self.transposed)
        like = jax.tree.map(lambda h: jax.ShapeDtypeStruct(h.shape[batch_ndim:], h.dtype), here.entering)
        spread = unravel_state
        for _ in range(batch_ndim):
            spread = jax.vmap(spread, in_axes=(0, None))

        def column(v: Array) -> Array:
            return ravel_state(linear(spread(v, like)), batch_ndim).astype(v.dtype)

        after = jax.vmap(column, in_axes=-1, out_axes=-1)(q)
        after = hold(schedule.valid, after, q)
        return after if schedule.resets is None else zero_unless(~schedule.resets, after)

    def output(self, params: Any, carried: Carried, x: Any) -> tuple:
        return ()


def derivative(step: Callable, state: State, transposed: bool) -> Callable:
    """The linear map v -> J v, or v -> J^T v."""
    if not transposed:
        return jax.linearize(step, state)[1]
    pull = jax.vjp(step, state)[1]
    return lambda v: pull(v)[0]


def carry(cell: Any, plan: Plan, params: Any, q: Array, transposed: bool) -> Carried:
    """Every window by a way of its own from its beginning to its end, or transposed from the end to the beginning."""
    ways = [[w] for w in range(len(plan.windows))]
    return along(cell, plan, ways, params, q, transposed)


def products(cell: Any, plan: Plan, params: Any, q: Array) -> Graded:
    """[W, *B, N, N]: matrices with the singular values of J_t ... J_{k+1} for all windows; q has all N columns.

    Windows that start the run's way together lie on one way. So do those that end together, against the run's order and
    with the transposed Jacobians: so they go where that halves the ways at least, and the Jacobians are there.
    """
    windows = tuple(dict.fromkeys(plan.windows))
    first, last = ({window[i] for window in windows} for i in (plan.reverse, not plan.reverse))
    transposed = cell is None and 2 * len(last) <= len(first)
    back = transposed != plan.reverse
    ways: dict[int, list[int]] = {}
    for w in sorted(range(len(windows)), key=lambda w: windows[w][1] - windows[w][0]):
        ways.setdefault(windows[w][back], []).append(w)
    kept = along(cell, plan._replace(windows=windows), list(ways.values()), params, q, transposed).kept
    where = np.array([windows.index(window) for window in plan.windows])
    return jax.tree.map(lambda a: a[where], kept)


def along(cell: Any, plan: Plan, ways: list[list[int]], params: Any, q: Array, transposed: bool) -> Carried:
    """All ways at once; of each, the windows on it, the shortest first."""
    transport = Pass(cell, plan, len(ways), q.shape[-1], transposed)
    start = transport.initial_state(params)
    start = start._replace(q=jnp.broadcast_to(q, start.q.shape))
    route = route_of(plan.windows, ways, plan.reverse != transposed)
    return unroll(transport, params, route, initial_state=start).final_state


def route_of(windows: tuple[tuple[int, int], ...], ways: list[list[int]], back: bool) -> Route:
    """The steps of these ways, in the order of time or back."""
    pairs = np.array(windows, np.int32).reshape(-1, 2)
    lags = pairs[:, 1] - pairs[:, 0]
    steps = np.arange(lags.max(initial=0), dtype=np.int32)
    columns = []
    for way in ways:
        first, last = pairs[way[-1]]
        time, inside = last - 1 - steps if back else first + steps, steps < last - first
        ends = np.minimum(np.searchsorted(lags[way], steps, side="right"), len(way) - 1)
        columns.append((np.where(inside, time, 0), inside, np.array(way, np.int32)[ends]))
    return Route(*(np.stack(column, axis=1) for column in zip(*columns, strict=True)))
