"""The random numbers of a run: one stream a purpose, all of them from the run's seed."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import jax

from jrnn.types import Array


class RandomStream(IntEnum):
    """What random numbers are drawn for. A number never changes: runs of before resume with the same bits."""

    PARAMS = 0
    """The cell's first parameters."""
    HEAD = 1
    """The objective's first parameters."""
    BATCHES = 2
    """The order of the cases; by epoch."""
    NOISE = 3
    """The cell's noise (dropout); by step."""
    TANGENTS = 4
    """The directions that `tangent_growth` follows; by step."""
    PENALTIES = 5
    """What penalties draw; by step."""
    CURES = 6
    """What cures draw that measure the initial parameters."""


def stream_key(seed: int | Array, stream: RandomStream, step: Any = None) -> Array:
    """The PRNG key of a stream, or of one step in it: fold_in(fold_in(key(seed), stream), step).

    `seed` may be key(seed) itself, which `vmap` can run over."""
    key = jax.random.fold_in(seed if isinstance(seed, jax.Array) else jax.random.key(seed), int(stream))
    return key if step is None else jax.random.fold_in(key, step)


def chunk_penalty_key(noise: Array | None, chunk: Any) -> Array:
    """What penalties draw from in a chunk of a stream: from the key of its noise, or as in a `fit` with seed 0."""
    if noise is None:
        return stream_key(0, RandomStream.PENALTIES, chunk)
    return jax.random.fold_in(noise, 2**31 - 1)  # beside the noise of every time step, which is fold_in(noise, t)
