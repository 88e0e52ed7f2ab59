"""The GRU's two recurrences: h' = (1 - z) n + z h, with the reset after the product with h or before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.recurrences import dense
from jrnn.kernels.recurrences.base import States
from jrnn.kernels.recurrences.dense import Dense, DenseInputs, add_bias, blocks, matmul, product_sum, total
from jrnn.types import Array


def advance(from_x: Array, h: Array, w_rec: Array, bias_rec: Array | None, read: Array | None = None) -> Array:
    """h' = (1 - z) n + z h; n = tanh(x_n + r (h U_n + bias_rec)), or without bias_rec tanh(x_n + (r h) U_n).

    Where `read` is given the products are of it, in place of h.
    """
    rz, read = 2 * h.shape[-1], h if read is None else read
    if bias_rec is not None:
        from_h = matmul(read, w_rec)
        r, z = jnp.split(jax.nn.sigmoid(from_x[..., :rz] + from_h[..., :rz]), 2, axis=-1)
        candidate = r * add_bias(from_h[..., rz:], bias_rec)
    else:
        r, z = jnp.split(jax.nn.sigmoid(from_x[..., :rz] + matmul(read, w_rec[:, :rz])), 2, axis=-1)
        candidate = matmul((r * read.astype(r.dtype)).astype(h.dtype), w_rec[:, rz:])
    n = jnp.tanh(from_x[..., rz:] + candidate)
    return ((1 - z) * n + z * h.astype(z.dtype)).astype(h.dtype)


def slopes(r: Array, z: Array, n: Array, h: Array, scaled: Array) -> tuple[Array, Array, Array]:
    """(d(r scaled)/dz of r, dh'/dz of z and of n) [..., H]; `scaled` is what r multiplies, h is before the step.

    r (1-r) scaled, z (1-z) (h-n), (1-z) (1-n^2). The backward pass multiplies the incoming gradient by them, the
    closed-form Jacobian the weights.
    """
    return scaled * r * (1 - r), (h - n) * z * (1 - z), (1 - z) * (1 - n * n)


@dataclass(frozen=True)
class GRU(DenseInputs):
    """See the module; gates in the order r, z, n."""

    reset_after: bool

    parts = ("h",)
    elementwise = True

    @property
    def name(self) -> str:
        return "gru" if self.reset_after else "gru_reset_before"

    @property
    def native(self) -> int:
        return 4 if self.reset_after else 5

    def check(self, weights: Dense) -> None:
        dense.check(weights, self.name, 3, bias_rec=self.reset_after)

    def step(self, weights: Dense, state: States, x: Array) -> States:
        return (advance(dense.from_inputs(weights, x), state[0], weights.w_rec, weights.bias_rec),)

    def gates_saved(self, dtype: Any) -> int:
        return 4 if self.reset_after else 3

    def sums(self, weights: Dense, x: Array, state: States) -> tuple[Array, ...]:
        """The sums of r and z, then what r multiplies (with the reset after the product), then x W_n + b_n."""
        h, units = state[0], state[0].shape[-1]
        rz, n = slice(2 * units), slice(2 * units, None)
        if weights.bias_rec is not None and x.shape[-1] != 1:
            return self.sums_from(weights, dense.from_inputs(weights, x), state)
        # with one feature XLA would fuse the product with x into the loops of several gates and not vectorise them
        from_x = add_bias(matmul(x, weights.w_in[:, n]), weights.bias[n])
        inner = () if weights.bias_rec is None else (add_bias(matmul(h, weights.w_rec[:, n]), weights.bias_rec),)
        return *blocks(dense.from_both(weights, x, h, rz), units), *inner, from_x

    def sums_from(self, weights: Dense, from_x: Array, state: States) -> tuple[Array, ...]:
        h, units = state[0], state[0].shape[-1]
        rz, n = slice(2 * units), slice(2 * units, None)
        if weights.bias_rec is None:
            return *blocks(from_x[..., rz] + matmul(h, weights.w_rec[:, rz]), units), from_x[..., n]
        from_h = matmul(h, weights.w_rec)
        both = from_x[..., rz] + from_h[..., rz]
        return *blocks(both, units), add_bias(from_h[..., n], weights.bias_rec), from_x[..., n]

    def gates(self, weights: Dense, sums: tuple[Array, ...], state: States) -> tuple[Array, ...]:
        """r, z, n; with the reset after the product also what r multiplies."""
        h, r, z = state[0], jax.nn.sigmoid(sums[0]), jax.nn.sigmoid(sums[1])
        if not self.reset_after:
            inner = matmul((r * h.astype(r.dtype)).astype(h.dtype), weights.w_rec[:, 2 * h.shape[-1] :])
            return r, z, jnp.tanh(sums[2] + inner)
        return r, z, jnp.tanh(sums[3] + r * sums[2]), sums[2]

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        (_, z, n, *_), (h,) = gates, state
        return (((1 - z) * n + z * h.astype(z.dtype)).astype(h.dtype),)

    def gates_from_state(self, dtype: Any) -> bool:
        return False

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, Array]:
        """The third result is r, which `gradients` needs."""
        (r, z, n, *inner), dh = gates, deltas[0]
        h, rz = entered[0].astype(r.dtype), 2 * entered[0].shape[-1]
        of_r, of_z, of_n = slopes(r, z, n, h, inner[0] if inner else h)
        if self.reset_after:
            dn = dh * of_n
            dz = jnp.concatenate([dn * of_r, dh * of_z, dn], axis=-1)
            from_h = jnp.concatenate([dz[..., :rz], dn * r], axis=-1).astype(back.dtype)
            return dz.astype(back.dtype), (matmul(from_h, back) + dh * z,), r
        dn = (dh * of_n).astype(back.dtype)
        reached = matmul(dn, back[rz:])
        dz = jnp.concatenate([(reached * of_r).astype(back.dtype), (dh * of_z).astype(back.dtype), dn], axis=-1)
        return dz, (matmul(dz[..., :rz], back[:rz]) + dh * z + reached * r,), r

    def gradients(
        self, needs_gradient: Dense, weights: Dense, xs: Array, entered: States, dz: Array, more: Array
    ) -> Dense:
        r, h, rz = more, entered[0], 2 * entered[0].shape[-1]

        def reset(array: Array) -> Array:
            return (array.astype(r.dtype) * r).astype(dz.dtype)

        if self.reset_after:
            dz_rec = jnp.concatenate([dz[..., :rz], reset(dz[..., rz:])], axis=-1)
            of_weights = dense.gradients(needs_gradient, xs, h, dz, dz_rec)
            return of_weights._replace(bias_rec=total(dz_rec[..., rz:]) if needs_gradient.bias_rec else None)
        of_weights = dense.gradients(needs_gradient._replace(w_rec=False), xs, h, dz)  # pyright: ignore[reportArgumentType]
        if needs_gradient.w_rec:
            parts = product_sum(h, dz[..., :rz]), product_sum(reset(h), dz[..., rz:])
            of_weights = of_weights._replace(w_rec=jnp.concatenate(parts, axis=-1))
        return of_weights
