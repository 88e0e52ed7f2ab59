"""How arrays fill a TPU's tiles: 128 units abreast, 8 sequences one below the other (of 16-bit numbers half a tile).

An axis of n H numbers is n blocks of H, each filled with zeros to whole tiles, so that a kernel takes them apart where
tiles begin. What is finite stays apart from the zeros: weights of zero add nothing to it. An Inf times zero is NaN; a
state's padding is therefore set to zero again after each step (`of_units`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jrnn.types import Array

LANES, SUBLANES = 128, 8


def rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def filled(array: Array, axis: int, units: int) -> Array:
    """Each block of H along an axis filled up to whole tiles."""
    wide = rounded_up(units, LANES)
    if wide == units:
        return array
    lead, rest = array.shape[:axis], array.shape[axis + 1 :]
    blocks = array.shape[axis] // units
    parts = array.reshape(*lead, blocks, units, *rest)
    return longer(parts, axis + 1, wide).reshape(*lead, blocks * wide, *rest)


def cut(array: Array, units: int) -> Array:
    """The inverse of `filled` along the last axis."""
    wide = rounded_up(units, LANES)
    if wide == units:
        return array
    lead, blocks = array.shape[:-1], array.shape[-1] // wide
    return array.reshape(*lead, blocks, wide)[..., :units].reshape(*lead, blocks * units)


def of_units(shape: tuple[int, ...], units: int) -> Array:
    """Which numbers of `filled` arrays [B, n H] are units', and not zeros that fill tiles."""
    lane = jax.lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)
    return lane % jnp.int32(rounded_up(units, LANES)) < jnp.int32(units)


def longer(array: Array, axis: int, size: int) -> Array:
    """Zeros at the end of an axis, up to this size."""
    widths = [(0, size - n if i == axis else 0) for i, n in enumerate(array.shape)]
    return jnp.pad(array, widths) if array.shape[axis] < size else array
