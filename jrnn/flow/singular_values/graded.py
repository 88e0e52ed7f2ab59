"""Matrices whose rows differ by any number of nats, and products of triangular ones.

A plain product loses the singular values further than ln(1/eps) below the first. Here R_t ... R_1 is kept as rows times
powers of two, integers, so that 100,000 exponents add up exactly (graded products: Stewart 1997).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jrnn.types import Array, Shape

DEAD = -(2**30)  # the exponent of a row that is zero
FAR = 4096  # powers of two beyond which a float64 is zero


class Graded(NamedTuple):
    """diag(2^exponent) rows."""

    exponent: Int[Array, "*B k"]
    """[*B, k] of int32; DEAD where the row is zero."""
    rows: Float[Array, "*B k k"]
    """[*B, k, k], the largest magnitude in each row in [1/2, 1), or the row zero."""

    def log_norms(self) -> Float[Array, "*B k"]:
        """ln ||row_i||, -inf where it is zero."""
        whole = self.exponent.astype(self.rows.dtype) * float(np.log(2))
        return jnp.where(self.exponent > DEAD, whole + jnp.log(norms(self)), -jnp.inf)


def identity(batch_shape: Shape, k: int, dtype: Any) -> Graded:
    """The empty product."""
    eye = jnp.broadcast_to(jnp.eye(k, dtype=dtype), (*batch_shape, k, k))
    return normalised(jnp.zeros((*batch_shape, k), jnp.int32), eye)


def normalised(exponent: Array, rows: Array) -> Graded:
    """Moves each row's power of two into its exponent."""
    size = jnp.max(jnp.abs(jax.lax.stop_gradient(rows)), axis=-1)
    power = jnp.frexp(size)[1].astype(jnp.int32)
    exponent = jnp.where((size == 0) | (exponent == DEAD), DEAD, exponent + power)
    scaled = times_two_to(rows, jnp.broadcast_to(-power[..., None], rows.shape))
    return Graded(exponent, jnp.where((exponent == DEAD)[..., None], 0, scaled))


def times_two_to(x: Array, power: Array) -> Array:
    """x 2^power; in two halves, because 2^power alone may overflow where the result does not."""
    half = power // 2
    return x * jnp.exp2(half.astype(x.dtype)) * jnp.exp2((power - half).astype(x.dtype))


def norms(product: Graded) -> Array:
    """||row_i|| without its power of two [*B, k]; 1 where it is zero."""
    return jnp.linalg.norm(jnp.where((product.exponent > DEAD)[..., None], product.rows, 1), axis=-1)


def followed_by(product: Graded, r: Float[Array, "*B k k"]) -> Graded:
    """r @ product, for the triangular factor r of a QR step."""
    r = without_rounding(r)
    met = jnp.where(r != 0, jnp.broadcast_to(product.exponent[..., None, :], r.shape), DEAD)
    largest = jnp.max(met, axis=-1)
    shift = jnp.maximum(met - jnp.broadcast_to(largest[..., None], r.shape), -FAR)
    return normalised(largest, jnp.matmul(times_two_to(r, shift), product.rows, precision="highest"))


def without_rounding(r: Float[Array, "*B k k"]) -> Array:
    """R, zero from where on a column is rounding: R_lj = 0 where ||R_l:,j|| <= 4 sqrt(k) eps ||R_:,j||.

    So a direction that dies leaves a row of zeros, and its singular value is zero instead of eps.
    """
    size = jnp.max(jnp.abs(r), axis=-2, keepdims=True)
    column = r / jnp.broadcast_to(jnp.where((size > 0) & jnp.isfinite(size), size, 1), r.shape)
    rest = jnp.cumsum((column**2)[..., ::-1, :], axis=-2)[..., ::-1, :]
    noise = (4 * float(jnp.finfo(r.dtype).eps)) ** 2 * r.shape[-1]
    return jnp.where(rest <= jnp.broadcast_to(noise * rest[..., :1, :], r.shape), 0, r)
