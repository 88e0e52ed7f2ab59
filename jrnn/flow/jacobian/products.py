"""Products of Jacobians dh_t/dh_k = J_t ... J_{k+1}, plain and rescaled in log space."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.types import Array, InputError, widened
from jrnn.unrolling.checks import as_array, is_count
from jrnn.wording import arrays, brief


class ScaledProduct(NamedTuple):
    """A product of Jacobians, exp(log_scale) * matrix, that neither overflows nor underflows."""

    matrix: Float[Array, "*B N N"]
    """[*B, N, N], its largest entry in magnitude about 1 (or all zero)."""
    log_scale: Float[Array, "*B"]
    """[*B], natural logarithm of the factor taken out."""

    def __repr__(self) -> str:
        return brief(self, f"exp(log_scale) matrix, {arrays(self.matrix)} [*B, N, N]")

    def log_singular_values(self) -> Array:
        """ln sigma_i of the whole product [*B, N], descending; -inf where it is singular.

        Those further than about ln(1/eps) below the first (16 nats in float32, 36 in float64) are rounding.
        """
        sigma = jnp.linalg.svd(self.matrix, compute_uv=False)
        return jnp.log(sigma) + jnp.broadcast_to(self.log_scale[..., None], sigma.shape)


def jacobian_product(J: Float[Array, "T *B N N"], k: int, t: int) -> Float[Array, "*B N N"]:
    """dh_t/dh_k = J_t J_{t-1} ... J_{k+1}: [T, *B, N, N] -> [*B, N, N]; the identity for t = k.

    k and t choose how many factors there are, so under `jax.jit` they are static. It overflows where the gradient
    does; `scaled_jacobian_product` does not.

    Raises:
      InputError: not 0 <= k <= t <= T, or J is not [T, *B, N, N].
    """
    factors = window(J, k, t)
    return fold(widened(factors), rescale=False).matrix.astype(factors.dtype)


def scaled_jacobian_product(J: Float[Array, "T *B N N"], k: int, t: int) -> ScaledProduct:
    """`jacobian_product` carried rescaled in log space: finite in float32 for T = 100,000 whatever the growth.

    Factors are multiplied pairwise in about log2(t - k) batched products; after each, the largest entry is taken out.
    16-bit Jacobians give a float32 product.
    """
    return fold(widened(window(J, k, t)), rescale=True)


def window(J: Array, k: int, t: int) -> Array:
    """The factors of dh_t/dh_k, checked."""
    J = as_array("J", J)
    if J.ndim < 3 or J.shape[-1] != J.shape[-2] or not J.shape[-1]:
        raise InputError("J", f"shape {J.shape}", "[T, *B, N, N] with N >= 1, as from jrnn.jacobians")
    if not jnp.issubdtype(J.dtype, jnp.floating):
        raise InputError("J", f"dtype {J.dtype}", "real floating-point numbers")
    if not (is_count(k) and is_count(t) and k <= t <= J.shape[0]):
        raise InputError("k, t", f"k = {k!r}, t = {t!r}", f"integers 0 <= k <= t <= T = {J.shape[0]}, static under jit")
    return J[k:t]


@partial(jax.jit, static_argnames="rescale")
def fold(factors: Array, rescale: bool) -> ScaledProduct:
    """The product of factors[i], later ones to the left, by halving; jitted: compiled once per window length."""
    logs = jnp.zeros(factors.shape[:-2], factors.dtype)
    if not len(factors):
        eye = jnp.broadcast_to(jnp.eye(factors.shape[-1], dtype=factors.dtype), factors.shape[1:])
        return ScaledProduct(eye, jnp.zeros(factors.shape[1:-2], factors.dtype))
    if rescale:
        factors, logs = take_out(factors, logs)
    while len(factors) > 1:
        even = len(factors) // 2 * 2
        tail, tail_logs = factors[even:], logs[even:]
        factors = jnp.matmul(factors[1:even:2], factors[0:even:2], precision="highest")
        logs = logs[1:even:2] + logs[0:even:2]
        if rescale:
            factors, logs = take_out(factors, logs)
        factors, logs = jnp.concatenate([factors, tail]), jnp.concatenate([logs, tail_logs])
    return ScaledProduct(factors[0], logs[0])


def take_out(factors: Array, logs: Array) -> tuple[Array, Array]:
    """Moves each matrix's largest magnitude into its logarithm; zero and non-finite matrices are left as they are."""
    size = jnp.max(jnp.abs(factors), axis=(-2, -1))
    size = jnp.where((size > 0) & jnp.isfinite(size), size, jnp.ones_like(size))
    return factors / jnp.broadcast_to(size[..., None, None], factors.shape), logs + jnp.log(size)
