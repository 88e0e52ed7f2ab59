"""The minimal GRU's recurrence, h' = (1 - z) h + z g(n), with z = sigmoid(.) and n both of x W_in + b alone."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.recurrences import dense
from jrnn.kernels.recurrences.base import States
from jrnn.kernels.recurrences.dense import blocks, from_inputs, matmul
from jrnn.types import Array, InputError

CANDIDATES = {
    "identity": lambda n: n,
    "tanh": jnp.tanh,
    "positive": lambda n: jnp.where(n >= 0, n + 0.5, jax.nn.sigmoid(n)),
}
SLOPES = {  # g'(n)
    "identity": jnp.ones_like,
    "tanh": lambda n: 1 - jnp.tanh(n) ** 2,
    "positive": lambda n: jnp.where(n >= 0, jnp.ones_like(n), jax.nn.sigmoid(n) * jax.nn.sigmoid(-n)),
}
NATIVE = {"identity": 8, "tanh": 9, "positive": 10}


class InputWeights(NamedTuple):
    """Weights of x alone, with a leading axis of groups E where a whole call is meant."""

    w_in: Array
    """[F, 2H]."""
    bias: Array
    """[2H]."""


class InputKernel(NamedTuple):
    """What `kernel(params)` of a cell on this recurrence returns."""

    kind: str
    w_in: Array
    bias: Array


def terms(candidate: str, from_x: Array) -> tuple[Array, Array]:
    """(a, b) of h' = a h + b, [*B, H] each, from x W_in + b; a = 1 - z keeps all its digits."""
    z, n = jnp.split(from_x, 2, axis=-1)
    return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * CANDIDATES[candidate](n)


def slopes(candidate: str, z: Array, n: Array, h: Array) -> tuple[Array, Array]:
    """(dh'/dz, dh'/dn) of the pre-activations [*B, H], h before the step: z (1-z) (g - h) and z g'."""
    keep, take = jax.nn.sigmoid(-z), jax.nn.sigmoid(z)
    return take * keep * (CANDIDATES[candidate](n) - h), take * SLOPES[candidate](n)


@dataclass(frozen=True)
class MinGRU:
    """See the module; `candidate` is one of `CANDIDATES`, blocks in the order z, n."""

    candidate: str

    parts = ("h",)
    elementwise = True
    weights = InputWeights

    @property
    def name(self) -> str:
        return "min_gru" if self.candidate == "identity" else f"min_gru_{self.candidate}"

    @property
    def native(self) -> int:
        return NATIVE[self.candidate]

    def check(self, weights: InputWeights) -> None:
        shapes, wide = (weights.w_in.shape, weights.bias.shape), weights.w_in.shape[-1:]
        if len(shapes[0]) != 2 or wide[0] % 2 or shapes[1] != wide or weights.bias.dtype != weights.w_in.dtype:
            raise InputError("weights", f"w_in and bias of shapes {shapes}", "w_in [F, 2H], bias [2H] of one dtype")

    def sizes(self, weights: InputWeights) -> tuple[int, int]:
        return weights.w_in.shape[0], weights.w_in.shape[1] // 2

    def step(self, weights: InputWeights, state: States, x: Array) -> States:
        return self.after(self.gates(weights, self.sums(weights, x, state), state), state)

    def gates_saved(self, dtype: Any) -> int:
        return 0  # a product with few columns finds them again sooner than memory gives them back

    def sums(self, weights: InputWeights, x: Array, state: States) -> tuple[Array, ...]:
        return self.sums_from(weights, self.from_inputs(weights, x), state)

    def from_inputs(self, weights: InputWeights, xs: Array) -> Array:
        return from_inputs(weights, xs)

    def sums_from(self, weights: InputWeights, from_x: Array, state: States) -> tuple[Array, ...]:
        return blocks(from_x, state[0].shape[-1])

    def gates(self, weights: InputWeights, sums: tuple[Array, ...], state: States) -> tuple[Array, ...]:
        return sums

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        (z, n), (h,) = gates, state
        a, b = jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * CANDIDATES[self.candidate](n)
        return ((a * h.astype(a.dtype) + b).astype(h.dtype),)

    def gates_from_state(self, dtype: Any) -> bool:
        return False

    def transposed(self, weights: InputWeights) -> Array:
        return weights.w_in.T

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, None]:
        (z, n), (delta,) = gates, deltas
        of_z, of_n = slopes(self.candidate, z, n, entered[0].astype(z.dtype))
        dz = jnp.concatenate([delta * of_z, delta * of_n], axis=-1).astype(back.dtype)
        return dz, (jax.nn.sigmoid(-z) * delta,), None

    def gradients(
        self, needs_gradient: InputWeights, weights: InputWeights, xs: Array, entered: States, dz: Array, more: None
    ) -> InputWeights:
        return InputWeights(
            dense.product_sum(xs, dz) if needs_gradient.w_in else None,  # pyright: ignore[reportArgumentType]
            dense.total(dz) if needs_gradient.bias else None,  # pyright: ignore[reportArgumentType]
        )

    def input_gradient(self, weights: InputWeights, dz: Array) -> Array:
        return matmul(dz, weights.w_in.T).astype(dz.dtype)

    def terms(self, weights: InputWeights, xs: Array) -> tuple[Array, Array]:
        return terms(self.candidate, from_inputs(weights, xs))
