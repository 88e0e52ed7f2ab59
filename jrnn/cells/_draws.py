"""Random draws of parameters that compile one program each, where JAX's own functions take two or three eagerly."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax

from jrnn.types import Array, Shape


@partial(jax.jit, static_argnums=1)
def split_keys(key: Array, count: int) -> tuple[Array, ...]:
    """`jax.random.split`, as a tuple."""
    return tuple(jax.random.split(key, count))


@partial(jax.jit, static_argnums=(2, 3))
def normal_draw(key: Array, std: Array, shape: Shape, dtype: Any) -> Array:
    """N(0, std^2), with the bits of `jax.random.normal` times std: the barrier keeps XLA from folding factors.

    It is drawn in a row, which is the same draw: of [128, 10] XLA takes five times as long to compile.
    """
    row = jax.random.normal(key, (math.prod(shape),), dtype)
    return jax.lax.optimization_barrier(row.reshape(shape)) * std


@partial(jax.jit, static_argnums=(2, 3))
def orthogonal_draw(key: Array, gain: Array, shape: Shape, dtype: Any) -> Array:
    """gain * Q, Q uniformly distributed."""
    return jax.nn.initializers.orthogonal(gain)(key, shape, dtype)
