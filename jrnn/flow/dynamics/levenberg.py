"""Least squares by Levenberg and Marquardt, for one start; `vmap` makes one program of many.

Our own, since a solver for JAX (optimistix, jaxopt) would bring three packages into the core for sixty lines. Newton's
method alone runs away where J is nearly singular, as it is at slow points, and has no answer where F(h) = h has none;
first-order descent of q, the custom of the field, takes thousands of steps where this takes ten.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn.types import Array


class Descent(NamedTuple):
    """Where a search stands."""

    h: Array
    """[N]."""
    speed: Array
    """q = |r(h)|^2 / 2."""
    damping: Array
    """mu, times the largest element of the diagonal of J^T J."""
    growth: Array
    """What the damping is multiplied with when the next step fails."""
    steps: Array
    """How many were tried."""
    done: Array
    """Whether no step leads further down."""


def descend(
    residual: Callable[[Array], Array], jacobian: Callable[[Array], Array], start: Array, tolerance: float, most: int
) -> Descent:
    """A local minimum of q(h) = |r(h)|^2 / 2 near `start` [N], in at most `most` steps.

    (J^T J + mu I) d = -J^T r; the damping mu follows the gain of each step over what its linear model promised, by
    Nielsen's rule (Madsen, Nielsen, Tingleff 2004). It ends where steps are below rounding, or where all |r_i| are
    within tolerance (1 + max |h|) and a step no longer halves q, so that what converges does so to rounding.
    """
    eps = float(jnp.finfo(start.dtype).eps)
    one, eye = jnp.ones((), start.dtype), jnp.eye(start.size, dtype=start.dtype)

    def half_square(r: Array) -> Array:
        return jnp.sum(r**2) / 2

    def onward(now: Descent) -> Descent:
        r, J = residual(now.h), jacobian(now.h)
        normal = jnp.matmul(J.T, J, precision="highest")
        slope = jnp.matmul(J.T, r, precision="highest")
        damping = now.damping * jnp.maximum(jnp.max(jnp.diagonal(normal)), jnp.finfo(start.dtype).tiny)
        step = -jnp.linalg.solve(normal + damping * eye, slope)  # LU: on CPUs faster than many small Cholesky factors
        there = now.h + step
        left = residual(there)
        speed = half_square(left)
        promised = jnp.sum(step * (damping * step - slope)) / 2
        gain = (now.speed - speed) / jnp.where(promised > 0, promised, 1)
        better = (speed < now.speed) & jnp.all(jnp.isfinite(there))

        size = 1 + jnp.max(jnp.abs(now.h))
        still = jnp.all(jnp.abs(step) <= eps * size) & jnp.all(jnp.isfinite(step))
        reached = jnp.where(better, left, r)
        exhausted = (jnp.max(jnp.abs(reached)) <= tolerance * size) & ~(speed <= now.speed / 2)
        eased = jnp.maximum(now.damping * jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3), eps)
        return Descent(
            jnp.where(better, there, now.h),
            jnp.where(better, speed, now.speed),
            jnp.where(better, eased, now.damping * now.growth),
            jnp.where(better, 2 * one, 2 * now.growth),
            now.steps + 1,
            still | exhausted,
        )

    speed = half_square(residual(start))
    begin = Descent(start, speed, 1e-3 * one, 2 * one, jnp.zeros((), jnp.int32), (speed == 0) | ~jnp.isfinite(speed))
    return jax.lax.while_loop(lambda now: ~now.done & (now.steps < most), onward, begin)
