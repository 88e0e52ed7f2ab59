"""The diagonal linear recurrence, h' = w_rec * h + x W_in + b (elementwise)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jrnn.kernels.recurrences import dense
from jrnn.kernels.recurrences.base import States
from jrnn.kernels.recurrences.dense import Dense, DenseInputs
from jrnn.types import Array


def advance(from_x: Array, h: Array, w_rec: Array) -> Array:
    """h' = w_rec h + from_x, w_rec [H]."""
    kept = jnp.broadcast_to(w_rec.astype(from_x.dtype), from_x.shape) * h.astype(from_x.dtype)
    return (kept + from_x).astype(h.dtype)


@dataclass(frozen=True)
class Linear(DenseInputs):
    """See the module."""

    name = "linear"
    parts = ("h",)
    native = None

    def check(self, weights: Dense) -> None:
        dense.check(weights, self.name, 1, diagonal=True)

    def step(self, weights: Dense, state: States, x: Array) -> States:
        return (advance(dense.from_inputs(weights, x), state[0], weights.w_rec),)

    def gates_saved(self, dtype: Any) -> int:
        return 0

    def terms(self, weights: Dense, xs: Array) -> tuple[Array, Array]:
        z = dense.from_inputs(weights, xs)
        return jnp.broadcast_to(weights.w_rec.astype(z.dtype), z.shape), z
