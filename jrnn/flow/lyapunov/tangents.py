"""Tangents as the state of a cell, so that `unroll` carries them: Q_t R_t = J_t Q_{t-1} without ever forming J_t.

Directions are rows here, Q^T [*B, k, N]: k of them go through the step as a batch would, in one matrix product.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells._base import static_cell
from jrnn.cells._carrying import Carrying
from jrnn.flow.lyapunov.orthonormal import orthonormal_rows
from jrnn.types import Array, Params, Shape, State, ravel_state, unravel_state, wide_dtype
from jrnn.unrolling import unroll
from jrnn.unrolling.schedule import Schedule
from jrnn.unrolling.step_rule import enter


class Tangents(NamedTuple):
    """What is carried along a run."""

    state: State
    """The cell's own state."""
    q: Float[Array, "*B k N"]
    """[*B, k, N]: orthonormal rows, the directions that are followed, in float32 at least."""
    log_r: Float[Array, "*B k"]
    """[*B, k]: ln |R_ii| of the last renewal."""
    flaws: Any
    """[*B, every] of int32: for each step of the block 1 + the first unit that is not finite, 0 if all are."""


class Pushed(NamedTuple):
    """Between two renewals: q is no longer orthonormal."""

    state: State
    q: Float[Array, "*B k N"]


@static_cell
class Push(Carrying):
    """A cell that carries k tangents along: (h, Q) -> (step(h), J Q); its output is `first_flaw` of the new state."""

    cell: Any
    k: int

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Pushed:
        state = self.cell.initial_state(params, batch_shape)
        flat = ravel_state(state, len(batch_shape))
        q = jnp.eye(self.k, flat.shape[-1], dtype=wide_dtype(flat.dtype))
        return Pushed(state, jnp.broadcast_to(q, (*batch_shape, *q.shape)))

    def step(self, params: Params, pushed: Pushed, x: Any) -> Pushed:
        after, linear = jax.linearize(lambda s: self.cell.step(params, s, x), pushed.state)
        batch_ndim = pushed.q.ndim - 2
        like = jax.tree.map(lambda h: jax.ShapeDtypeStruct(h.shape[batch_ndim:], h.dtype), pushed.state)

        def row(v: Array) -> Array:
            spread = unravel_state
            for _ in range(batch_ndim):
                spread = jax.vmap(spread, in_axes=(0, None))
            return ravel_state(linear(spread(v, like)), batch_ndim).astype(v.dtype)

        return Pushed(after, jax.vmap(row, in_axes=-2, out_axes=-2)(pushed.q))

    def output(self, params: Params, pushed: Pushed, x: Any) -> Array:
        return first_flaw(pushed.state, pushed.q.ndim - 2)


@static_cell
class Orthonormal(Carrying):
    """A cell whose step is `every` steps of `cell` with k tangents, then a thin QR; its output is (ln |R_ii|, flaws).

    Inputs: {"x": [*B, every, F] or None, "valid": [*B, every, 1] or None where all happen}, as many axes in each.
    """

    cell: Any
    k: int
    every: int

    @property
    def input_ndim(self) -> int:
        return super().input_ndim + 1

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Tangents:
        state, q = Push(self.cell, self.k).initial_state(params, batch_shape)
        flaws = jnp.zeros((*batch_shape, self.every), jnp.int32)
        return Tangents(state, q, jnp.zeros((*batch_shape, self.k), q.dtype), flaws)

    def step(self, params: Params, tangents: Tangents, block: Any) -> Tangents:
        axis = tangents.q.ndim - 2
        push, before = Push(self.cell, self.k), Pushed(tangents.state, tangents.q)
        x, valid = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), (block["x"], block["valid"]))
        valid = None if valid is None else valid.reshape(self.every, *tangents.q.shape[:axis])
        if self.every > 1:
            run = unroll(push, params, x, length=self.every, mask=valid, initial_state=before)
            (state, q), flaws = run.final_state, jnp.moveaxis(run.outputs, 0, -1)
        else:
            x, valid = jax.tree.map(lambda a: a[0], (x, valid))
            state, q = enter(push, params, before, x, Schedule(valid=valid), before).after()
            flaws = first_flaw(state, axis)[..., None]
        q, size = orthonormal_rows(q, drop=self.every == 1)
        return Tangents(state, q, jnp.log(size), flaws)

    def output(self, params: Params, tangents: Tangents, block: Any) -> tuple[Array, Array]:
        return tangents.log_r, tangents.flaws


def first_flaw(state: State, batch_ndim: int) -> Array:
    """[*B] of int32: one more than the index of the first unit that is NaN or infinite, 0 if all are finite."""
    bad = ~jnp.isfinite(ravel_state(state, batch_ndim))
    return jnp.where(bad.any(axis=-1), jnp.argmax(bad, axis=-1).astype(jnp.int32) + 1, 0)


def blocks_of(xs: Any, valid: Array | None, every: int, batch_ndim: int, input_ndim: int) -> dict[str, Any]:
    """[T, *B, ...] -> [ceil(T / every), *B, every, ...]; the last block is filled up with steps that do not happen."""

    def one(a: Array) -> Array:
        short = -len(a) % every
        a = jnp.concatenate([a, jnp.zeros((short, *a.shape[1:]), a.dtype)]) if short else a
        return jnp.moveaxis(a.reshape(len(a) // every, every, *a.shape[1:]), 1, batch_ndim + 1)

    flags = None if valid is None else one(valid.reshape(*valid.shape, *(1,) * input_ndim))
    return {"x": jax.tree.map(one, xs), "valid": flags}
