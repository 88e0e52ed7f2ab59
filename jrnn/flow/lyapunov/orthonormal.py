"""Orthonormal directions: A = R^T Q with rows, by Cholesky where that is as exact and faster, else by Householder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.flow.singular_values.graded import times_two_to
from jrnn.types import Array

CHOLESKY_SHARE = 2
"""Cholesky is tried for k <= N / 2: above, its products cost as much as Householder's reflections."""
LOSS = 1e4
"""In roundings: a first pass further than this from orthonormal is done again by Householder (condition about 100)."""


def orthonormal_rows(
    a: Float[Array, "*B k N"], drop: bool = False
) -> tuple[Float[Array, "*B k N"], Float[Array, "*B k"]]:
    """(Q, |diag R|) of a thin QR of a^T: orthonormal rows [*B, k, N] and the sizes [*B, k] they had left.

    k <= N / 2: CholeskyQR2 (Yamamoto et al. 2015), two passes of A A^T = L L^T, Q = L^-1 A, all matrix products. It is
    taken where the first pass is orthonormal to 1e4 roundings in every sequence, which is measured; else, and for
    larger k, Householder's QR.

    Args:
      a: the rows, in float32 or float64.
      drop: give 0 for a row that rounding cannot tell from a combination of the ones before it.
    """
    if CHOLESKY_SHARE * a.shape[-2] > a.shape[-1] or not a.size:
        return by_householder(a, drop)
    exact, q, size = by_cholesky(a)
    return jax.lax.cond(jnp.all(exact), lambda a: (q, size), lambda a: by_householder(a, drop), a)


def by_householder(a: Array, drop: bool) -> tuple[Array, Array]:
    """The definition."""
    q, r = jnp.linalg.qr(jnp.swapaxes(a, -2, -1))
    size = jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1))
    if drop:
        noise = 4 * a.shape[-1] ** 0.5 * float(jnp.finfo(r.dtype).eps) * jnp.linalg.norm(r, axis=-2)
        size = jnp.where(size <= noise, jnp.zeros_like(size), size)
    return jnp.swapaxes(q, -2, -1), size


def by_cholesky(a: Array) -> tuple[Array, Array, Array]:
    """(whether it is exact [*B], Q, |diag R|); where it is not, Q and R are anything finite."""
    power = jnp.frexp(jax.lax.stop_gradient(jnp.max(jnp.abs(a), axis=-1)))[1].astype(jnp.int32)
    a = times_two_to(a, -power[..., None])  # exact, and no square overflows
    gram = products(a)
    exact = factorises(jax.lax.stop_gradient(gram))
    q, first = one_pass(a, gram, exact)
    gram = products(q)
    eye = jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
    exact &= jnp.max(jnp.abs(gram - eye), axis=(-2, -1)) < LOSS * float(jnp.finfo(a.dtype).eps)
    q, second = one_pass(q, gram, exact)
    return exact, q, times_two_to(first * second, power)


def factorises(gram: Array) -> Array:
    """[*B]: whether `gram` is positive definite beyond rounding, so that its Cholesky factorisation holds no NaN.

    Told from the factor of C + d 1, which cannot fail: C is `gram` with rows of length 1, and d what rounding may take.
    Were C singular, with a unit vector v it sends to 0, the pivot at v's largest entry would be d / v_i^2 <= k d.
    """
    size = jnp.diagonal(gram, axis1=-2, axis2=-1)
    kind = jnp.finfo(gram.dtype)
    sound = jnp.isfinite(gram).all(axis=(-2, -1)) & (size > kind.tiny / kind.eps).all(axis=-1)
    eye = jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
    gram = jnp.where(sound[..., None, None], gram, eye)
    root = jnp.sqrt(jnp.where(sound[..., None], size, 1))
    cosines = gram / jnp.broadcast_to(root[..., None], gram.shape) / jnp.broadcast_to(root[..., None, :], gram.shape)
    k = gram.shape[-1]
    rounding = 2 * float(kind.eps) * k**0.5
    pivots = jnp.diagonal(jnp.linalg.cholesky(cosines + rounding * eye), axis1=-2, axis2=-1) ** 2
    return sound & (pivots > 2 * k * rounding).all(axis=-1)


def products(a: Array) -> Array:
    """A A^T, at full precision: it is a condition number squared away from A."""
    return jnp.matmul(a, jnp.swapaxes(a, -2, -1), precision="highest")


def one_pass(a: Array, gram: Array, exact: Array) -> tuple[Array, Array]:
    """(L^-1 A, diag L) of gram = L L^T; a's own rows where `exact` is False."""
    eye = jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
    factor = jnp.linalg.cholesky(jnp.where(exact[..., None, None], gram, eye))
    # k x k inverse, then a product: a triangular solve of all N columns takes twice the time
    inverse = jax.lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True)
    return jnp.matmul(inverse, a, precision="highest"), jnp.diagonal(factor, axis1=-2, axis2=-1)
