"""Products of triangular matrices whose rows differ by any number of nats, and their singular values, every one.

A plain product loses the singular values further than ln(1/eps) below the first. Here R_t ... R_1 is kept as rows times
powers of two (integers, so that 100,000 exponents add up exactly), and one-sided Jacobi rotations of the rows give each
singular value to a relative accuracy (Demmel and Veselic 1992; graded products: Stewart 1997).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jrnn.types import Array, Shape

DEAD = -(2**30)  # the exponent of a row that is zero
FAR = 4096  # powers of two beyond which a float64 is zero
SWEEPS = 30  # of rotations at most; about 8 are used


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


class Rotated(NamedTuple):
    """Rows on their way to being orthogonal."""

    product: Graded
    cosine: Float[Array, "*B"]
    """[*B]: the largest |cosine| between two rows that met since the sweep began."""


def jacobi_round(state: Rotated) -> Rotated:
    """Makes the rows m and k/2 + m orthogonal, for every m, then lets them change partners.

    tan = 2 rho c / (1 - rho^2 + sqrt((1 - rho^2)^2 + 4 rho^2 c^2)), rho <= 1 the ratio of lengths, c the cosine.
    """
    exponent, rows = state.product
    m = exponent.shape[-1] // 2
    one, two = Graded(exponent[..., :m], rows[..., :m, :]), Graded(exponent[..., m:], rows[..., m:, :])
    ahead = times_two_to(norms(two), jnp.clip(two.exponent - one.exponent, -FAR, FAR))
    swap = (ahead > norms(one)) & (two.exponent > DEAD)
    big = Graded(*(jnp.where(wide(swap, a), b, a) for a, b in zip(one, two, strict=True)))
    small = Graded(*(jnp.where(wide(swap, a), a, b) for a, b in zip(one, two, strict=True)))
    relative = norms(small) / norms(big)
    rho = times_two_to(relative, jnp.maximum(small.exponent - big.exponent, -FAR))
    c = jnp.sum(big.rows * small.rows, axis=-1) / (norms(big) * norms(small))
    gap = 1 - rho**2
    bottom = gap + jnp.sqrt(jnp.where(c == 0, 1, gap**2 + 4 * (rho * c) ** 2))
    ratio = jnp.where(c == 0, 0, 2 * c / jnp.where(c == 0, 1, bottom))  # tan / rho, finite for rho = 0
    cos = 1 / jnp.sqrt(1 + (ratio * rho) ** 2)
    new_big = wide(cos, rows) * big.rows + wide(cos * ratio * rho**2 / relative, rows) * small.rows
    new_small = wide(cos, rows) * small.rows - wide(cos * ratio * relative, rows) * big.rows
    # the pair is not left sorted by length: rows that changed places would miss partners
    one, two = jnp.where(wide(swap, rows), new_small, new_big), jnp.where(wide(swap, rows), new_big, new_small)
    turned = jnp.concatenate([one, two], axis=-2)[..., partners(m), :]
    exponents = exponent[..., partners(m)]
    return Rotated(normalised(exponents, turned), jnp.maximum(state.cosine, jnp.max(jnp.abs(c), axis=-1)))


def jacobi_sweep(state: Rotated) -> Rotated:
    """k - 1 rounds, in which every two rows meet once; none where all are orthogonal already."""
    k, dtype = state.product.rows.shape[-1], state.product.rows.dtype

    def rounds(state: Rotated) -> Rotated:
        start = state._replace(cosine=jnp.zeros_like(state.cosine))
        return jax.lax.fori_loop(0, k - 1, lambda _, state: jacobi_round(state), start)

    orthogonal = jnp.all(state.cosine <= k * float(jnp.finfo(dtype).eps))
    return jax.lax.cond(orthogonal, lambda state: state, rounds, state)


def wide(a: Array, like: Array) -> Array:
    """`a` [*B, m] against rows [*B, m, k]."""
    return a if a.ndim == like.ndim else jnp.broadcast_to(a[..., None], (*a.shape, like.shape[-1]))


def partners(m: int) -> np.ndarray:
    """The round robin: the first of 2m rows stays, the others move on by one seat; after 2m - 1 rounds all are back."""
    return np.array([0, 1] if m == 1 else [0, m, *range(1, m - 1), *range(m + 1, 2 * m), m - 1])


def orthogonal_rows(product: Graded) -> tuple[Graded, Array]:
    """(Sigma V^T of the product's singular value decomposition, longest row first; the largest |cosine| left)."""
    *lead, k = product.exponent.shape
    even = [(0, 0)] * len(lead) + [(0, k % 2)]  # a row of zeros is a partner for the last one
    padded = Graded(jnp.pad(product.exponent, even, constant_values=DEAD), jnp.pad(product.rows, [*even, (0, k % 2)]))
    start = Rotated(padded, jnp.full(lead, jnp.inf, product.rows.dtype))
    # a fixed number, most of them skipped, because a loop that ends when it has converged has no reverse mode
    rotated, cosine = jax.lax.fori_loop(0, SWEEPS, lambda _, state: jacobi_sweep(state), start)
    order = jnp.argsort(rotated.log_norms(), axis=-1, descending=True)[..., :k]
    rows = jnp.take_along_axis(rotated.rows, order[..., None], axis=-2)[..., :k]
    return Graded(jnp.take_along_axis(rotated.exponent, order, axis=-1), rows), cosine
