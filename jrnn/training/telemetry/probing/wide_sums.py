"""A sum of positive numbers of any size as a few ordinary numbers that may be added: one for each range of sizes.

Figures of calls that are mapped, scanned or repeated are added by JAX itself, which knows no logarithms.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.types import Array

WIDTH = 128  # nats of a range: e^64 times a range's middle is finite in float32, and so is the sum of many
RANGES = {32: (-256, 4), 64: (-1536, 24)}
"""Bits -> (ln of the least number held, how many ranges): the squares of all that a dtype holds."""


def ranges_of(dtype: Any) -> tuple[int, int]:
    """(ln of the least number held, how many ranges)."""
    return RANGES[jnp.finfo(dtype).bits]


def zero_sum(dtype: Any) -> Array:
    """[ranges] of zeros: the empty sum."""
    return jnp.zeros(ranges_of(dtype)[1], dtype)


def sum_of(log: Array, dtype: Any) -> Array:
    """[ranges]: the number e^log, alone in the range it belongs to; infinity and NaN in the last one."""
    least, count = ranges_of(dtype)
    log = log.astype(dtype)
    finite = jnp.where(jnp.isfinite(log), log, 0)
    place = jnp.clip(jnp.floor((finite - least) / WIDTH).astype(jnp.int32), 0, count - 1)
    place = jnp.where(jnp.isneginf(log), 0, jnp.where(jnp.isfinite(log), place, count - 1))
    middle = least + WIDTH * (place.astype(dtype) + 0.5)
    return jnp.where(jnp.arange(count, dtype=jnp.int32) == place, jnp.exp(log - middle), 0)


def log_of(total: Array) -> Array:
    """ln of a sum."""
    least, count = ranges_of(total.dtype)
    middles = least + WIDTH * (jnp.arange(count, dtype=total.dtype) + 0.5)
    return jax.nn.logsumexp(jnp.log(total) + middles)
