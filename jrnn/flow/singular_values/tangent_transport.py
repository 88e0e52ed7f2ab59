"""Tangents and cotangents of windows of a run, carried through time by `unroll` with a QR at every step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jrnn.cells import draw_noise
from jrnn.cells._base import static_cell
from jrnn.flow.singular_values.scaled_svd import Graded, followed_by, identity
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
    """What a pass carries for each of W windows."""

    q: Float[Array, "W *B N k"]
    """[W, *B, N, k]: orthonormal columns."""
    product: Graded
    """[W, *B, k, k]: R_t ... R_{k+1} of the QR steps so far; the empty product in a transposed pass."""


class Plan(NamedTuple):
    """The static part of a pass."""

    windows: tuple[tuple[int, int], ...]
    batch_shape: Shape
    size: int  # N
    dtype: Any  # what the columns are computed in
    reverse: bool  # the run's reading order


@static_cell
class Pass:
    """A cell whose step takes k columns of every window through J_i, or through J_i^T, and renews them: Q R = J_i Q.

    Its parameters are J [T, *B, N, N] where `cell` is None, else `Points`: then J_i is never formed, each column goes
    through the derivative of `cell.step`. Its input is the time of each window's step [W], and whether it has one.
    """

    cell: Any
    plan: Plan
    k: int
    transposed: bool

    def init(self, key: Array, input_size: int | None) -> tuple:
        return ()

    def initial_state(self, params: Any, batch_shape: Shape = ()) -> Carried:
        plan, lead = self.plan, (*batch_shape, len(self.plan.windows), *self.plan.batch_shape)
        q = jnp.broadcast_to(jnp.eye(plan.size, self.k, dtype=plan.dtype), (*lead, plan.size, self.k))
        return Carried(q, identity(lead, self.k, plan.dtype))

    def step(self, params: Any, carried: Carried, x: Any) -> Carried:
        def renewed(time: Array, q: Array) -> tuple[Array, Array]:
            here = jax.tree.map(
                lambda a: a[time], params if self.cell is None else params._replace(params=(), key=None)
            )
            if self.cell is None:
                factor = (jnp.swapaxes(here, -1, -2) if self.transposed else here).astype(q.dtype)
                return jnp.linalg.qr(jnp.matmul(factor, q, precision="highest"))
            return jnp.linalg.qr(self.through(here._replace(params=params.params, key=params.key), time, q))

        q, r = jax.vmap(renewed)(x["time"], carried.q)
        product = carried.product if self.transposed else followed_by(carried.product, r)
        return select(x["inside"], Carried(q, product), carried)

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
    """All windows from their beginning to their end, or transposed from the end to the beginning."""
    first, last = np.array(plan.windows, np.int32).reshape(-1, 2).T
    steps = np.arange((last - first).max(), dtype=np.int32)[:, None]
    inside = steps < last - first
    times = {"time": np.where(inside, first + steps, 0), "inside": inside}
    transport = Pass(cell, plan, q.shape[-1], transposed)
    start = transport.initial_state(params)._replace(q=q)
    return unroll(transport, params, times, initial_state=start, reverse=plan.reverse != transposed).final_state
