"""The dense readout for heads."""

from __future__ import annotations

from typing import Any

from jax import numpy as jnp

from jrnn.cells._base import (
    add_bias,
    check_dtype,
    check_floating,
    check_input_size,
    check_key,
    check_size,
    entry,
    made_dtype,
    matmul,
    static_cell,
)
from jrnn.cells.initializers import WEIGHTS, named, pytorch_linear, weight_blocks
from jrnn.types import Array, InputError, Params

HEADS = WEIGHTS | {"pytorch": pytorch_linear()}  # torch.nn.Linear goes by the fan-in, its recurrent layers by H


@static_cell
class Dense:
    """See `dense`."""

    features: int
    w: Any
    dtype: Any

    def init(self, key: Array, input_size: int) -> dict[str, Array]:
        check_key(key)
        if input_size is None:
            raise InputError("input_size", "None", "the number K of features that it reads")
        dtype = made_dtype(self.dtype)
        w = weight_blocks(self.w, key, (check_input_size(input_size), self.features), 1, dtype)
        return {"w": w, "bias": jnp.zeros(self.features, dtype)}

    def __call__(self, params: Params, y: Array) -> Array:
        y, size = check_floating("y", y), jnp.shape(entry(params, "w", "bias"))[0]
        if y.ndim < 1 or y.shape[-1] != size:
            raise InputError("y", f"shape {y.shape}", f"{size} features on the last axis, as `init` was told")
        return add_bias(matmul(y.astype(params["w"].dtype), params["w"]), params["bias"])


def dense(features: int, *, w: Any = "lecun", dtype: Any = None) -> Dense:
    """An affine readout y @ w + bias: [..., K] -> [..., features]; `head.init(key, K)`, then `head(params, y)`.

    Parameters: w [K, features], bias [features] (zeros). 16-bit parameters give float32 outputs (logits are not
    rounded). `w` is an initialiser, by name or function; "pytorch" is that of torch.nn.Linear.
    """
    return Dense(check_size("features", features), named("w", w, HEADS), check_dtype(dtype))
