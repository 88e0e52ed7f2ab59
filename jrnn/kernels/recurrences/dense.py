"""What recurrences with products x W_in and h W_rec share: their weights, and the gradients of the products."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jrnn.types import Array, InputError, Shape, wide_dtype

WIDE = 128
"""The number of features from which on the inputs and the state have a product each."""


class Dense(NamedTuple):
    """The weights, with a leading axis of groups E where a whole call is meant."""

    w_in: Array
    """[F, G H]."""
    w_rec: Array
    """[H, G H]; of a diagonal recurrence [H]."""
    bias: Array
    """[G H]."""
    bias_rec: Array | None = None
    """[H], beside h U_n, of the GRU with the reset after the product."""


def matmul(x: Array, w: Array) -> Array:
    """x @ w, accumulated and returned in float32 for 16-bit operands."""
    return jnp.matmul(x, w, preferred_element_type=wide_dtype(w.dtype))


def add_bias(z: Array, bias: Array) -> Array:
    """z [*B, G] + bias [G], in z's dtype; the broadcast is explicit so that strict rank promotion passes."""
    return z + jnp.broadcast_to(bias.astype(z.dtype), z.shape)


def from_inputs(weights: Any, x: Array) -> Array:
    """x W_in + b [..., G H]."""
    return add_bias(matmul(x.astype(weights.w_in.dtype), weights.w_in), weights.bias)


def from_both(weights: Dense, x: Array, h: Array, gates: slice = slice(None)) -> Array:
    """x W_in + b + h W_rec for some columns, as one product, whose weights XLA joins once, before the loop.

    Wide inputs take two products: joining them with h would copy more than it saves.
    """
    w_in, w_rec, bias = weights.w_in[:, gates], weights.w_rec[:, gates], weights.bias[gates]
    if x.shape[-1] >= WIDE:
        return add_bias(matmul(x, w_in), bias) + matmul(h, w_rec)
    both = jnp.concatenate([x.astype(h.dtype), h], axis=-1)
    return add_bias(matmul(both, jnp.concatenate([w_in, w_rec])), bias)


def blocks(array: Array, units: int) -> tuple[Array, ...]:
    """[..., H] each of an array [..., n H]."""
    return tuple(array[..., i : i + units] for i in range(0, array.shape[-1], units))


def sizes(weights: Dense) -> tuple[int, int]:
    """(F, H)."""
    return weights.w_in.shape[0], weights.w_rec.shape[0]


def check(weights: Dense, name: str, gates: int, *, bias_rec: bool = False, diagonal: bool = False) -> None:
    """Raises InputError unless the arrays are there, fit each other and have one dtype."""
    if bias_rec != (weights.bias_rec is not None):
        need = "[H], as the reset comes after the product" if bias_rec else f"None, as a {name} has no such bias"
        raise InputError("weights.bias_rec", "None" if weights.bias_rec is None else "an array", need)
    units, features = weights.w_rec.shape[:1], weights.w_in.shape[:1]
    if not (units and features):
        raise InputError("weights", "a number for a matrix", "w_in [F, G H], w_rec [H, G H], bias [G H]")
    wide = (gates * units[0],)
    shapes: dict[str, Shape] = {
        "w_rec": units if diagonal else units + wide,
        "w_in": features + wide,
        "bias": wide,
        "bias_rec": units,
    }
    for field, shape in shapes.items():
        array = getattr(weights, field)
        if array is not None and (array.shape, array.dtype) != (shape, weights.w_rec.dtype):
            need = f"{weights.w_rec.dtype}{list(shape)}, to go with w_rec {list(weights.w_rec.shape)}"
            raise InputError(f"weights.{field}", f"{array.dtype}{list(array.shape)}", need)


def product_sum(left: Array, right: Array) -> Array:
    """The sum over time and sequences of left^T right: [T, B, n], [T, B, m] -> [n, m], in the dtype of `right`."""
    over = tuple(range(left.ndim - 1))
    product = jax.lax.dot_general(
        left,
        right,
        ((over, over), ((), ())),
        preferred_element_type=wide_dtype(right.dtype),
        out_sharding=product_sharding(jax.typeof(left).sharding, jax.typeof(right).sharding),
    )
    return product.astype(right.dtype)


def total(array: Array) -> Array:
    """The sum over time and sequences, [T, B, n] -> [n]."""
    return jnp.sum(array, axis=(0, 1), dtype=wide_dtype(array.dtype)).astype(array.dtype)


def product_sharding(left: Any, right: Any) -> Any:
    """The sharding of a product summed over all but the last axes; None where types do not say how arrays are split."""
    mesh = left.mesh if AxisType.Explicit in left.mesh.axis_types else right.mesh
    if AxisType.Explicit not in mesh.axis_types:
        return None
    return NamedSharding(mesh, PartitionSpec(left.spec[-1], right.spec[-1]))


def gradients(needs_gradient: Dense, xs: Array, h: Array, dz: Array, dz_rec: Array | None = None) -> Dense:
    """The gradients of the weights in z = x W_in + b + h W_rec, from dz [T, B, G H] and the h [T, B, H] that entered.

    Args:
      needs_gradient: a `Dense` of bool; where it is False the gradient is None.
      dz_rec: the gradient of h W_rec, where it differs from `dz`.
    """
    return Dense(
        product_sum(xs, dz) if needs_gradient.w_in else None,  # pyright: ignore[reportArgumentType]
        product_sum(h, dz if dz_rec is None else dz_rec) if needs_gradient.w_rec else None,  # pyright: ignore[reportArgumentType]
        total(dz) if needs_gradient.bias else None,  # pyright: ignore[reportArgumentType]
    )


class DenseInputs:
    """A recurrence that reads x W_in + b."""

    weights: type = Dense

    def sizes(self, weights: Dense) -> tuple[int, int]:
        return sizes(weights)

    def from_inputs(self, weights: Dense, xs: Array) -> Array:
        return from_inputs(weights, xs)

    def transposed(self, weights: Dense) -> Array:
        return weights.w_rec.T

    def input_gradient(self, weights: Dense, dz: Array) -> Array:
        return matmul(dz, weights.w_in.T).astype(dz.dtype)
