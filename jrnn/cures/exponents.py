"""The largest exponents along a run as a function that can be differentiated: what `tune_gain` and `floss` steer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells._advance import flat_state, state_shapes
from jrnn.cells._base import static_cell
from jrnn.cells._carrying import Carrying
from jrnn.flow.lyapunov.orthonormal import by_householder
from jrnn.flow.lyapunov.tangents import Push, Pushed
from jrnn.numerics import norm
from jrnn.types import Array, InputError, Inputs, Params, Shape, State, wide_dtype
from jrnn.unrolling import read, unroll
from jrnn.unrolling.checks import check_causal
from jrnn.unrolling.schedule import schedule_of
from jrnn.unrolling.states import check_real

FLOOR = 1e-12
"""The smallest |R_ii| that is told from zero: a direction that dies counts -27.6 nats in that step, without a slope."""


class Followed(NamedTuple):
    """What is carried along a run."""

    state: State
    q: Float[Array, "*B k N"]
    """Orthonormal rows, the directions that are followed."""
    log_r: Float[Array, "*B k"]
    """ln |R_ii| of the last step."""


@static_cell
class Follow(Carrying):
    """A cell that carries k directions along the run, Q_t R_t = J_t Q_{t-1}; its output is ln |R_ii| [*B, k].

    `lyapunov_spectrum` has its own: faster, and without a derivative where a direction dies.
    """

    cell: Any
    k: int

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Followed:
        state, q = Push(self.cell, self.k).initial_state(params, batch_shape)
        return Followed(state, q, jnp.zeros((*batch_shape, self.k), q.dtype))

    def step(self, params: Params, followed: Followed, x: Any) -> Followed:
        state, q = Push(self.cell, self.k).step(params, Pushed(followed.state, followed.q), x)
        q, size = one_direction(q) if self.k == 1 else by_householder(q, drop=False)
        return Followed(state, q, jnp.log(jnp.maximum(size, FLOOR)))

    def output(self, params: Params, followed: Followed, x: Any) -> Array:
        return followed.log_r


def one_direction(q: Array) -> tuple[Array, Array]:
    """The QR of one vector, without a factorisation; the zero vector stays zero."""
    size = norm(q)
    return q / jnp.broadcast_to(jnp.maximum(size, float(jnp.finfo(q.dtype).tiny))[..., None], q.shape), size


def growth_along(
    cell: Any, params: Params, xs: Inputs, start: State, q: Array, counted: Array, valid: Array
) -> tuple[Array, Array]:
    """(lambda [*B, k] in nats per step, the mean of ln |R_ii| over the steps that count; its least summand [*B]).

    Where no step of a sequence counts both are 0.

    Args:
      xs: [T, *B, F], or None.
      start: the state before the first step [*B, ...].
      q: [*B, k, N], orthonormal rows to begin with.
      counted: [T, *B] of bool: the steps that count; those before them align the directions.
      valid: [T, *B] of bool: the steps that happen.
    """
    followed = Followed(start, q, jnp.zeros(q.shape[:-1], q.dtype))
    run = unroll(Follow(cell, q.shape[-2]), params, xs, length=len(valid), mask=valid, initial_state=followed)
    counted &= valid
    gains = jnp.where(counted[..., None], run.outputs, 0)
    steps = jnp.maximum(jnp.sum(counted, axis=0), 1).astype(q.dtype)
    return jnp.sum(gains, axis=0) / steps[..., None], jnp.min(gains, axis=(0, -1))


def random_directions(key: Array, lead: Shape, k: int, size: int, dtype: Any) -> Array:
    """[*lead, k, N]: orthonormal rows, uniformly distributed."""
    return jnp.swapaxes(jnp.linalg.qr(jax.random.normal(key, (*lead, size, k), dtype))[0], -2, -1)


def real_state(cell: Any, params: Params) -> tuple[int, Any]:
    """(N, the dtype of directions) of a causal cell with a real state, or InputError."""
    check_causal(cell)
    check_real(state_shapes(cell, params))
    flat = flat_state(cell, params)
    return flat.size, wide_dtype(flat.dtype)


def read_inputs(cell: Any, params: Params, xs: Inputs, lengths: Any, length: int | None) -> tuple[Inputs, Array]:
    """(xs, the steps that happen [T, *B]), or InputError where they hold no step."""
    xs, options = read(cell, params, xs, length=length, lengths=lengths)
    shape = (options.steps, *options.batch_shape)
    if 0 in shape:
        raise InputError("xs" if length is None else "length", f"no steps, [T, *B] = {shape}", "at least one step")
    valid = schedule_of(options).valid
    return xs, jnp.ones(shape, bool) if valid is None else valid
