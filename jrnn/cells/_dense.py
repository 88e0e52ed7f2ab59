"""The dense readout for heads."""

from __future__ import annotations

from typing import Any

from jax import numpy as jnp

from jrnn.cells._base import add_bias, check_dtype, check_size, matmul, static_cell
from jrnn.cells.initializers import WEIGHTS, named
from jrnn.types import Array, Params


@static_cell
class Dense:
    """See `dense`."""

    features: int
    w: Any
    dtype: Any

    def init(self, key: Array, input_size: int) -> dict[str, Array]:
        dtype = jnp.zeros((), self.dtype).dtype
        return {"w": self.w(key, (input_size, self.features), dtype), "bias": jnp.zeros(self.features, dtype)}

    def __call__(self, params: Params, y: Array) -> Array:
        return add_bias(matmul(y.astype(params["w"].dtype), params["w"]), params["bias"])


def dense(features: int, *, w: Any = "lecun", dtype: Any = None) -> Dense:
    """An affine readout y @ w + bias: [..., K] -> [..., features]; `head.init(key, K)`, then `head(params, y)`.

    Parameters: w [K, features], bias [features]. 16-bit parameters give float32 outputs (logits are not rounded).
    """
    return Dense(check_size("features", features), named("w", w, WEIGHTS), check_dtype(dtype))
