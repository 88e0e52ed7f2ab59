"""The LSTM's recurrence: i, f, o = sigmoid(.), g = tanh(.) of x W_in + b + h W_rec; c' = f c + i g, h' = o tanh(c')."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.recurrences import dense
from jrnn.kernels.recurrences.base import States
from jrnn.kernels.recurrences.dense import Dense, DenseInputs, matmul
from jrnn.types import Array


def advance(from_x: Array, h: Array, c: Array, w_rec: Array) -> tuple[Array, Array]:
    """(h', c') from from_x = x W_in + b [*B, 4H]."""
    i, f, g, o = jnp.split(from_x + matmul(h, w_rec), 4, axis=-1)
    after = jax.nn.sigmoid(f) * c.astype(f.dtype) + jax.nn.sigmoid(i) * jnp.tanh(g)
    return (jax.nn.sigmoid(o) * jnp.tanh(after)).astype(h.dtype), after.astype(c.dtype)


def slopes(gates: tuple[Array, ...], c: Array) -> tuple[tuple[Array, ...], Array, Array]:
    """((dc'/dz of i, f, g), dh'/dz of o, dh'/dc') [..., H], from i, f, g, o and the c before the step.

    i (1-i) g, f (1-f) c, i (1-g^2); o (1-o) tanh(c'); o sech^2(c'), with c' = f c + i g. The backward pass multiplies
    the incoming gradient by them, the closed-form Jacobian the weights.
    """
    i, f, g, o = gates
    squashed = jnp.tanh(f * c + i * g)
    return (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g)), squashed * o * (1 - o), o * (1 - squashed * squashed)


@dataclass(frozen=True)
class LSTM(DenseInputs):
    """See the module; gates in the order i, f, g, o."""

    name = "lstm"
    parts = ("h", "c")
    native = 3
    elementwise = True

    def check(self, weights: Dense) -> None:
        dense.check(weights, self.name, 4)

    def step(self, weights: Dense, state: States, x: Array) -> States:
        h, c = state
        return advance(dense.from_inputs(weights, x), h, c, weights.w_rec)

    def gates_saved(self, dtype: Any) -> int:
        return 4

    def sums(self, weights: Dense, x: Array, state: States) -> tuple[Array, ...]:
        return dense.blocks(dense.from_both(weights, x, state[0]), state[0].shape[-1])

    def sums_from(self, weights: Dense, from_x: Array, state: States) -> tuple[Array, ...]:
        return dense.blocks(from_x + matmul(state[0], weights.w_rec), state[0].shape[-1])

    def gates(self, weights: Dense, sums: tuple[Array, ...], state: States) -> tuple[Array, ...]:
        i, f, g, o = sums
        return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        (i, f, g, o), (h, c) = gates, state
        after = f * c.astype(f.dtype) + i * g
        return (o * jnp.tanh(after)).astype(h.dtype), after.astype(c.dtype)

    def gates_from_state(self, dtype: Any) -> bool:
        return False

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, None]:
        of_c, of_o, to_h = slopes(gates, entered[1].astype(gates[0].dtype))
        dh = deltas[0]
        dc = deltas[1] + dh * to_h
        dz = jnp.concatenate([*(dc * each for each in of_c), dh * of_o], axis=-1).astype(back.dtype)
        return dz, (matmul(dz, back), dc * gates[1]), None

    def gradients(
        self, needs_gradient: Dense, weights: Dense, xs: Array, entered: States, dz: Array, more: None
    ) -> Dense:
        return dense.gradients(needs_gradient, xs, entered[0], dz)
