"""How arrays fill a TPU's tiles: 128 units abreast, 8 sequences one below the other (of 16-bit numbers half a tile).

An axis of n H numbers is n blocks of H, each filled with zeros to whole tiles, so that a kernel takes them apart where
tiles begin. Zeros stay apart: what weights of zero multiply adds nothing, and is cut off.
"""

from __future__ import annotations

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
    parts = array.reshape(*lead, -1, units, *rest)
    return longer(parts, axis + 1, wide).reshape(*lead, -1, *rest)


def cut(array: Array, units: int) -> Array:
    """The inverse of `filled` along the last axis."""
    wide = rounded_up(units, LANES)
    if wide == units:
        return array
    parts = array.reshape(*array.shape[:-1], -1, wide)
    return parts[..., :units].reshape(*array.shape[:-1], -1)


def longer(array: Array, axis: int, size: int) -> Array:
    """Zeros at the end of an axis, up to this size."""
    widths = [(0, size - n if i == axis else 0) for i, n in enumerate(array.shape)]
    return jnp.pad(array, widths) if array.shape[axis] < size else array
