"""What the cells share: the static-dataclass decorator, parameter construction and the one affine map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import initializers
from jrnn.types import Array, InputError, Params, wide_dtype

C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True)
def static_cell(cls: C) -> C:
    """A frozen dataclass that `jax.jit` treats as static: equal descriptions share one trace."""
    return jax.tree_util.register_static(dataclass(frozen=True)(cls))


def check_size(name: str, value: object) -> int:
    """A size as a plain positive int, or InputError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(name, repr(value), "a positive integer")
    return int(value)


def check_dtype(dtype: Any) -> Any:
    """A canonical floating dtype (so that equal cells compare equal), or None for JAX's default."""
    if dtype is None:
        return None
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError("dtype", dtype, "a floating dtype (float32, float64, bfloat16, float16)")
    return jnp.dtype(dtype)


def gated_params(
    key: Array,
    input_size: int | None,
    hidden: int,
    gates: tuple[str, ...],
    dtype: Any,
    w_in: str | Callable,
    w_rec: str | Callable,
    bias: str | Callable,
) -> dict[str, Array]:
    """w_in [F, gates*H], w_rec [H, gates*H], bias [gates*H]; each gate's block is drawn on its own."""
    size = input_size or 0
    dtype = jnp.zeros((), dtype).dtype
    k_in, k_rec, k_bias = jax.random.split(key, 3)
    return {
        "w_in": initializers.weight_blocks(w_in, k_in, (size, hidden), len(gates), dtype),
        "w_rec": initializers.weight_blocks(w_rec, k_rec, (hidden, hidden), len(gates), dtype),
        "bias": initializers.bias_blocks(bias, k_bias, gates, hidden, dtype),
    }


def matmul(x: Array, w: Array) -> Array:
    """x @ w, accumulated and returned in float32 for 16-bit operands."""
    return jnp.matmul(x, w, preferred_element_type=wide_dtype(w.dtype))


def add_bias(z: Array, bias: Array) -> Array:
    """z [*B, G] + bias [G], in z's dtype; the broadcast is explicit so that strict rank promotion passes."""
    return z + jnp.broadcast_to(bias.astype(z.dtype), z.shape)


def from_input(params: Params, x: Any, like: Array) -> Array:
    """x @ w_in + bias in the accumulation dtype; without input (x is None) the bias alone, shaped like `like` [*B, .]."""
    w_in, bias = params["w_in"], params["bias"]
    if x is None:
        zero = jnp.zeros((*like.shape[:-1], bias.shape[-1]), wide_dtype(bias.dtype))
        return add_bias(zero, bias)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(
            "xs", f"dtype {x.dtype}", "floating-point inputs for this cell (cast them, or one-hot encode tokens)"
        )
    if x.ndim < 1 or x.shape[-1] != w_in.shape[0]:
        raise InputError(
            "xs", f"inputs of shape {x.shape} a step", f"{w_in.shape[0]} features on the last axis, as `init` was told"
        )
    return add_bias(matmul(x.astype(w_in.dtype), w_in), bias)
