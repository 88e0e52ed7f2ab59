"""Tangents as the state of a cell, so that `unroll` carries them: Q_t R_t = J_t Q_{t-1} without ever forming J_t."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells._base import static_cell
from jrnn.masking import select, zero_unless
from jrnn.types import Array, Params, Shape, State, ravel_state, unravel_state
from jrnn.unrolling import unroll


class Tangents(NamedTuple):
    """What is carried along a run."""

    state: State
    """The cell's own state."""
    q: Float[Array, "*B N k"]
    """[*B, N, k]: orthonormal columns, the directions that are followed."""
    log_r: Float[Array, "*B k"]
    """[*B, k]: ln |R_ii| of the last renewal."""


class Pushed(NamedTuple):
    """Between two renewals: q is no longer orthonormal."""

    state: State
    q: Float[Array, "*B N k"]


@static_cell
class Push:
    """A cell that takes k tangents along: (h, Q) -> (step(h), J Q), every column through the linearised step."""

    cell: Any
    k: int

    @property
    def input_ndim(self) -> int:
        return getattr(self.cell, "input_ndim", 1)

    def init(self, key: Array, input_size: int | None) -> Params:
        return self.cell.init(key, input_size)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Pushed:
        state = self.cell.initial_state(params, batch_shape)
        flat = ravel_state(state, len(batch_shape))
        q = jnp.eye(flat.shape[-1], self.k, dtype=flat.dtype)
        return Pushed(state, jnp.broadcast_to(q, (*batch_shape, *q.shape)))

    def step(self, params: Params, pushed: Pushed, x: Any) -> Pushed:
        after, linear = jax.linearize(lambda s: self.cell.step(params, s, x), pushed.state)
        batch_ndim = pushed.q.ndim - 2
        like = jax.tree.map(lambda h: jax.ShapeDtypeStruct(h.shape[batch_ndim:], h.dtype), pushed.state)

        def column(v: Array) -> Array:
            spread = unravel_state
            for _ in range(batch_ndim):
                spread = jax.vmap(spread, in_axes=(0, None))
            return ravel_state(linear(spread(v, like)), batch_ndim)

        return Pushed(after, jax.vmap(column, in_axes=-1, out_axes=-1)(pushed.q))

    def output(self, params: Params, pushed: Pushed, x: Any) -> tuple:
        return ()


@static_cell
class Orthonormal:
    """A cell whose one step is `every` steps of `cell` with k tangents, then a thin QR; its output is ln |R_ii|.

    Inputs: {"x": [*B, every, F] or None, "valid": [*B, every, 1]}, as many axes in each.
    """

    cell: Any
    k: int
    every: int

    @property
    def input_ndim(self) -> int:
        return getattr(self.cell, "input_ndim", 1) + 1

    def init(self, key: Array, input_size: int | None) -> Params:
        return self.cell.init(key, input_size)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Tangents:
        state, q = Push(self.cell, self.k).initial_state(params, batch_shape)
        return Tangents(state, q, jnp.zeros((*batch_shape, self.k), q.dtype))

    def step(self, params: Params, tangents: Tangents, block: Any) -> Tangents:
        axis = tangents.q.ndim - 2
        x, valid = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), (block["x"], block["valid"]))
        valid = valid.reshape(self.every, *tangents.q.shape[:axis])
        before = Pushed(tangents.state, tangents.q)
        if self.every == 1:
            x, valid = jax.tree.map(lambda a: a[0], (x, valid))
            after = select(valid, Push(self.cell, self.k).step(params, before, zero_unless(valid, x)), before)
        else:
            options = {"length": self.every, "mask": valid, "initial_state": before}
            after = unroll(Push(self.cell, self.k), params, x, **options).final_state
        state, q = after
        q, r = jnp.linalg.qr(q)
        size = jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1))
        if self.every == 1:
            # a column that rounding cannot tell from a combination of the ones before is a direction that died
            noise = 4 * q.shape[-2] ** 0.5 * float(jnp.finfo(r.dtype).eps) * jnp.linalg.norm(r, axis=-2)
            size = jnp.where(size > noise, size, jnp.zeros_like(size))
        return Tangents(state, q, jnp.log(size))

    def output(self, params: Params, tangents: Tangents, block: Any) -> Array:
        return tangents.log_r


def blocks_of(xs: Any, valid: Array, every: int, batch_ndim: int, input_ndim: int) -> dict[str, Any]:
    """[T, *B, ...] -> [ceil(T / every), *B, every, ...]; the last block is filled up with steps that do not happen."""

    def one(a: Array) -> Array:
        short = -len(a) % every
        a = jnp.concatenate([a, jnp.zeros((short, *a.shape[1:]), a.dtype)])
        return jnp.moveaxis(a.reshape(-1, every, *a.shape[1:]), 1, batch_ndim + 1)

    return {"x": jax.tree.map(one, xs), "valid": one(valid.reshape(*valid.shape, *(1,) * input_ndim))}
