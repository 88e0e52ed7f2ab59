"""The Elman network's recurrence, h' = phi(x W_in + b + h W_rec)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.recurrences import dense
from jrnn.kernels.recurrences.base import States
from jrnn.kernels.recurrences.dense import Dense, DenseInputs, matmul
from jrnn.types import Array, wide_dtype

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "identity": lambda z: z}
SLOPES = {  # phi'(z) from phi(z); 0 at the corner, as jax.nn.relu has it
    "tanh": lambda h: 1 - h * h,
    "relu": lambda h: (h > 0).astype(h.dtype),
    "identity": jnp.ones_like,
}
NATIVE = {"tanh": 0, "relu": 1, "identity": 2}


def advance(activation: str, from_x: Array, h: Array, w_rec: Array) -> Array:
    """h' = phi(from_x + h W_rec), with from_x = x W_in + b [*B, H]."""
    return ACTIVATIONS[activation](from_x + matmul(h, w_rec)).astype(h.dtype)


@dataclass(frozen=True)
class Elman(DenseInputs):
    """See the module; `activation` is one of `ACTIVATIONS`."""

    activation: str

    parts = ("h",)
    elementwise = True

    @property
    def name(self) -> str:
        return self.activation

    @property
    def native(self) -> int:
        return NATIVE[self.activation]

    def check(self, weights: Dense) -> None:
        dense.check(weights, self.name, 1)

    def step(self, weights: Dense, state: States, x: Array) -> States:
        return (advance(self.activation, dense.from_inputs(weights, x), state[0], weights.w_rec),)

    def gates_saved(self, dtype: Any) -> int:
        return 0 if self.gates_from_state(dtype) else 1

    def sums(self, weights: Dense, x: Array, state: States) -> tuple[Array, ...]:
        if x.shape[-1] == 1:  # XLA fuses the product with x into the loop of the only gate
            return self.sums_from(weights, dense.from_inputs(weights, x), state)
        return (dense.from_both(weights, x, state[0]),)

    def sums_from(self, weights: Dense, from_x: Array, state: States) -> tuple[Array, ...]:
        return (from_x + matmul(state[0], weights.w_rec),)

    def gates(self, weights: Dense, sums: tuple[Array, ...], state: States) -> tuple[Array, ...]:
        return (ACTIVATIONS[self.activation](sums[0]),)

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        return (gates[0].astype(state[0].dtype),)

    def gates_from_state(self, dtype: Any) -> bool:
        return wide_dtype(dtype) == dtype  # else h was rounded

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, None]:
        dh = deltas[0]
        if self.activation == "tanh":
            dh = dh * SLOPES["tanh"](gates[0])
        if self.activation == "relu":
            dh = jnp.where(gates[0] > 0, dh, jnp.zeros_like(dh))
        dz = dh.astype(back.dtype)
        return dz, (matmul(dz, back),), None

    def gradients(
        self, needs_gradient: Dense, weights: Dense, xs: Array, entered: States, dz: Array, more: None
    ) -> Dense:
        return dense.gradients(needs_gradient, xs, entered[0], dz)
