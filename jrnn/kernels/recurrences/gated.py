"""The gated linear recurrence, h' = a h + b elementwise, whose a_t and b_t are its inputs: real or complex numbers.

It has no products and no weights. What makes a and b of a cell's inputs stands outside the loop, for all steps at once.
With delta = dL/dh': dL/da = delta h, dL/db = delta, dL/dh = a delta; of complex numbers conj(h) delta, conj(a) delta.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.recurrences.base import States
from jrnn.kernels.recurrences.dense import blocks
from jrnn.types import Array, InputError, wide_dtype


class Units(NamedTuple):
    """No weights: what says how many units there are, and in which dtype the state is."""

    w_rec: Array
    """[0, H], without elements."""


class GatedKernel(NamedTuple):
    """What `kernel(params)` of a cell on this recurrence returns."""

    kind: str
    """"gated" or "complex"."""
    w_rec: Array
    """[0, H], without elements; of the state's dtype."""


def gated_kernel(kind: str, units: int, dtype: Any) -> GatedKernel:
    """The kernel of a cell with so many units."""
    return GatedKernel(kind, jnp.zeros((0, units), dtype))


@dataclass(frozen=True)
class Gated:
    """See the module: xs [T, B, 2H] holds a and b side by side."""

    name = "gated"
    parts = ("h",)
    weights = Units
    native = 6
    elementwise = True
    wide_inputs = True  # 1 - a is 1/200 where the memory has 200 steps, which 16 bits do not resolve

    def check(self, weights: Units) -> None:
        if weights.w_rec.ndim != 2 or weights.w_rec.shape[0]:
            raise InputError("weights.w_rec", f"shape {weights.w_rec.shape}", "[0, H]: this recurrence has no weights")

    def sizes(self, weights: Units) -> tuple[int, int]:
        units = weights.w_rec.shape[1]
        return 2 * len(self.parts) * units, units

    def step(self, weights: Units, state: States, x: Array) -> States:
        return self.after(blocks(x, state[0].shape[-1]), state)

    def gates_saved(self, dtype: Any) -> int:
        return 0

    def sums(self, weights: Units, x: Array, state: States) -> tuple[Array, ...]:
        return self.sums_from(weights, self.from_inputs(weights, x), state)

    def from_inputs(self, weights: Units, xs: Array) -> Array:
        return xs.astype(wide_dtype(xs.dtype))

    def sums_from(self, weights: Units, from_x: Array, state: States) -> tuple[Array, ...]:
        return blocks(from_x, state[0].shape[-1])

    def gates(self, weights: Units, sums: tuple[Array, ...], state: States) -> tuple[Array, ...]:
        return sums

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        (a, b), (h,) = gates, state
        return ((a * h.astype(a.dtype) + b).astype(h.dtype),)

    def gates_from_state(self, dtype: Any) -> bool:
        return False

    def transposed(self, weights: Units) -> Array:
        return weights.w_rec

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, None]:
        (a, _), (delta,) = gates, deltas
        return jnp.concatenate([delta * entered[0].astype(a.dtype), delta], axis=-1), (a * delta,), None

    def gradients(
        self, needs_gradient: Units, weights: Units, xs: Array, entered: States, dz: Array, more: None
    ) -> Units:
        return Units(weights.w_rec if needs_gradient.w_rec else None)  # pyright: ignore[reportArgumentType]

    def input_gradient(self, weights: Units, dz: Array) -> Array:
        return dz

    def terms(self, weights: Units, xs: Array) -> tuple[Array, Array]:
        a, b = jnp.split(xs.astype(wide_dtype(xs.dtype)), 2, axis=-1)
        return a, b


@dataclass(frozen=True)
class Complex(Gated):
    """h = re + i im: xs [T, B, 4H] holds re a, im a, re b and im b side by side."""

    name = "complex"
    parts = ("re", "im")
    elementwise = True
    native = 7

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        re_a, im_a, re_b, im_b = gates
        re, im = (part.astype(re_a.dtype) for part in state)
        new = re_a * re - im_a * im + re_b, im_a * re + re_a * im + im_b
        return tuple(part.astype(state[0].dtype) for part in new)

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, None]:
        (re_a, im_a, *_), (d_re, d_im) = gates, deltas
        re, im = (part.astype(re_a.dtype) for part in entered)
        of_a = d_re * re + d_im * im, d_im * re - d_re * im
        before = re_a * d_re + im_a * d_im, re_a * d_im - im_a * d_re
        return jnp.concatenate([*of_a, d_re, d_im], axis=-1), before, None

    def terms(self, weights: Units, xs: Array) -> tuple[Array, Array]:
        re_a, im_a, re_b, im_b = jnp.split(xs.astype(wide_dtype(xs.dtype)), 4, axis=-1)
        return jax.lax.complex(re_a, im_a), jax.lax.complex(re_b, im_b)
