"""The leaky Elman network's recurrence, h' = sigmoid(-theta) h + sigmoid(theta) phi(x W_in + b + h W_rec)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.recurrences import dense
from jrnn.kernels.recurrences.base import States
from jrnn.kernels.recurrences.dense import Dense, DenseInputs, matmul, total
from jrnn.kernels.recurrences.elman import ACTIVATIONS, Elman
from jrnn.types import Array, InputError, wide_dtype


class LeakyDense(NamedTuple):
    """The weights, with a leading axis of groups E where a whole call is meant."""

    w_in: Array
    """[F, H]."""
    w_rec: Array
    """[H, H]."""
    bias: Array
    """[H]."""
    theta: Array
    """[H]."""


def shares(theta: Array, like: Array) -> tuple[Array, Array]:
    """(sigmoid(-theta), sigmoid(theta)), of the old state and of what is new, spread over `like` [..., *theta's]."""
    wide = theta.astype(wide_dtype(like.dtype))
    return jnp.broadcast_to(jax.nn.sigmoid(-wide), like.shape), jnp.broadcast_to(jax.nn.sigmoid(wide), like.shape)


def mixed(theta: Array, h: Array, new: Array) -> Array:
    """sigmoid(-theta) h + sigmoid(theta) new: with theta = inf exactly `new`, where h is finite."""
    of_old, of_new = shares(theta, h)
    return (of_old * h.astype(of_old.dtype) + of_new * new.astype(of_old.dtype)).astype(h.dtype)


@dataclass(frozen=True)
class LeakyElman(DenseInputs):
    """See the module; `activation` is one of `elman.ACTIVATIONS`."""

    activation: str

    weights = LeakyDense
    parts = ("h",)
    elementwise = True

    @property
    def name(self) -> str:
        return f"leaky_{self.activation}"

    @property
    def bare(self) -> Elman:
        return Elman(self.activation)

    @property
    def native(self) -> int:
        """The bare network's: theta tells them apart."""
        return self.bare.native

    def check(self, weights: LeakyDense) -> None:
        dense.check(within(weights), self.name, 1)
        if (weights.theta.shape, weights.theta.dtype) != (weights.bias.shape, weights.bias.dtype):
            need = f"{weights.bias.dtype}{list(weights.bias.shape)}, one a unit"
            raise InputError("weights.theta", f"{weights.theta.dtype}{list(weights.theta.shape)}", need)

    def step(self, weights: LeakyDense, state: States, x: Array) -> States:
        sums = dense.from_inputs(within(weights), x) + matmul(state[0], weights.w_rec)
        return (mixed(weights.theta, state[0], ACTIVATIONS[self.activation](sums)),)

    def gates_saved(self, dtype: Any) -> int:
        return 1

    def sums(self, weights: LeakyDense, x: Array, state: States) -> tuple[Array, ...]:
        return self.bare.sums(within(weights), x, state)

    def sums_from(self, weights: LeakyDense, from_x: Array, state: States) -> tuple[Array, ...]:
        return self.bare.sums_from(within(weights), from_x, state)

    def gates(self, weights: LeakyDense, sums: tuple[Array, ...], state: States) -> tuple[Array, ...]:
        """What is new, and the shares of the old state and of it."""
        return ACTIVATIONS[self.activation](sums[0]), *shares(weights.theta, sums[0])

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        new, of_old, of_new = gates
        return ((of_old * state[0].astype(of_old.dtype) + of_new * new).astype(state[0].dtype),)

    def gates_from_state(self, dtype: Any) -> bool:
        return False

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, Array]:
        """The third result is the gradient of theta at this step."""
        (new, of_old, of_new), dh = gates, deltas[0]
        dz, (before,), _ = self.bare.slope(back, gates, entered, (dh * of_new,))
        return dz, (before + dh * of_old,), dh * (new - entered[0].astype(new.dtype)) * of_old * of_new

    def gradients(
        self, needs_gradient: LeakyDense, weights: LeakyDense, xs: Array, entered: States, dz: Array, more: Array
    ) -> LeakyDense:
        of_theta: Any = total(more).astype(dz.dtype) if needs_gradient.theta else None
        return LeakyDense(*dense.gradients(within(needs_gradient), xs, entered[0], dz)[:3], of_theta)


def within(weights: LeakyDense) -> Dense:
    """The bare network's weights."""
    return Dense(weights.w_in, weights.w_rec, weights.bias)
