"""Spectral radius and condition number of single Jacobians."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jrnn.flow.jacobian.products import take_out
from jrnn.types import Array, InputError, wide_dtype
from jrnn.unrolling.checks import as_array


def spectral_radius(J: Float[Array, "*B N N"]) -> Float[Array, "*B"]:
    """rho(J) = max_i |lambda_i(J)|, the growth per step were J the same at every step: [..., N, N] -> [...].

    By Gelfand's formula, rho = lim ||J^m||^(1/m), with m = 2^s reached in s rescaled squarings. Unlike
    `jax.numpy.linalg.eigvals` it runs on every backend. It is as accurate as an eigenvalue of J rounded to eps ||J||
    is: about eps times the eigenvalue's condition, less where J is far from normal or defective. 0 for a nilpotent J.

    Args:
      J: [..., N, N], for example all of `jrnn.jacobians`.
    Returns:
      [...], float32 for 16-bit Jacobians. Beware: a product of Jacobians with rho < 1 each may still grow, where they
      are not normal or do not commute; `jrnn.window_singular_values` tells.
    Raises:
      InputError: J is not [..., N, N] with N >= 1, or not real floating-point.
    """
    return gelfand(check_square(J))


@jax.jit
def gelfand(power: Array) -> Array:
    """||J^(2^s)||^(2^-s) for an s at which the norm's constant no longer shows."""
    power, log_radius = take_out(power, jnp.zeros(power.shape[:-2], power.dtype))

    def square(carried: tuple[Array, Array], weight: Array) -> tuple[tuple[Array, Array], None]:
        power, log_radius = carried  # J^(2^s) = exp(2^s log_radius) power, weight = 2^-s
        power, gain = take_out(jnp.matmul(power, power, precision="highest"), jnp.zeros_like(log_radius))
        return (power, log_radius + gain * weight), None

    weights = jnp.asarray(0.5 ** np.arange(1, jnp.finfo(power.dtype).nmant + 8), power.dtype)
    (power, log_radius), _ = jax.lax.scan(square, (power, log_radius), weights)
    size = jnp.max(jnp.abs(power), axis=(-2, -1))  # 0 or 1, unless J was not finite
    return jnp.where(size == 0, 0, jnp.exp(log_radius) * size)


def condition_number(J: Float[Array, "*B N N"]) -> Float[Array, "*B"]:
    """kappa(J) = sigma_1 / sigma_N, by singular value decomposition: [..., N, N] -> [...], at least 1.

    inf where J is singular to rounding, sigma_N <= N eps sigma_1 (as a numerical rank is told); never NaN for finite J.
    For products over time, `jrnn.window_singular_values` gives ln kappa however large.

    Raises:
      InputError: J is not [..., N, N] with N >= 1, or not real floating-point.
    """
    return ratio_of_singular_values(check_square(J))


@jax.jit
def ratio_of_singular_values(J: Array) -> Array:
    """sigma_1 / sigma_N, or inf."""
    sigma = jnp.linalg.svd(take_out(J, jnp.zeros(J.shape[:-2], J.dtype))[0], compute_uv=False)
    largest, smallest = sigma[..., 0], sigma[..., -1]
    singular = smallest <= J.shape[-1] * float(jnp.finfo(J.dtype).eps) * largest
    return jnp.where(singular, jnp.inf, largest / jnp.where(singular, 1, smallest))


def check_square(J: Array) -> Array:
    """[..., N, N] of floats, 16-bit ones as float32."""
    J = as_array("J", J)
    if J.ndim < 2 or J.shape[-1] != J.shape[-2] or not J.shape[-1]:
        raise InputError("J", f"shape {J.shape}", "[..., N, N] with N >= 1, as from jrnn.jacobians")
    if not jnp.issubdtype(J.dtype, jnp.floating):
        raise InputError("J", f"dtype {J.dtype}", "real floating-point numbers")
    return J.astype(wide_dtype(J.dtype))
