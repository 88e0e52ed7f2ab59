"""Equinox's LSTMCell and GRUCell: weight_ih [G*H, F], weight_hh [G*H, H], bias [G*H], bias_n [H]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.interop.weights.layout import Layer, cell_of, check_reset, fetch, kind_of, layer_of
from jrnn.types import InputError, Params

NAMES = ("weight_ih", "weight_hh", "bias", "bias_n")


def from_equinox(arrays: Any) -> tuple[Any, Params]:
    """The weights of an `equinox.nn.LSTMCell` or `GRUCell` as `(cell, params)`.

    Args:
      arrays: {"weight_ih": ..., "weight_hh": ..., "bias": ..., "bias_n": ...}, or the cell itself. Biases that are not
        there (use_bias=False) become zeros.
    Raises:
      InputError: an array that is missing or does not fit.
    """
    if not isinstance(arrays, Mapping):
        arrays = {name: getattr(arrays, name) for name in NAMES if getattr(arrays, name, None) is not None}
    w_rec = fetch(arrays, "weight_hh", (None, None))
    width, hidden = w_rec.shape
    kind = kind_of("weight_hh", w_rec, hidden, axis=0)
    if kind == "rnn":
        raise InputError("weight_hh", f"shape {w_rec.shape}", "3 or 4 gates: Equinox has a GRUCell and an LSTMCell")

    def bias(name: str, size: int) -> np.ndarray:
        return fetch(arrays, name, (size,)) if "bias" in arrays else np.zeros(size, w_rec.dtype)

    w_in = fetch(arrays, "weight_ih", (width, None))
    return cell_of(Layer(kind, w_in.T, w_rec.T, bias("bias", width), bias("bias_n", hidden) if kind == "gru" else None))


def to_equinox(cell: Any, params: Params) -> dict[str, np.ndarray]:
    """The arrays of the Equinox cell that is this one, for `equinox.tree_at`; the inverse of `from_equinox`.

    Raises:
      InputError: a cell Equinox has not: an Elman cell, a GRU with reset_after=False.
    """
    layer = layer_of(cell, params, ("lstm", "gru"))
    check_reset(layer, after=True, library="Equinox")
    arrays = {"weight_ih": layer.w_in.T, "weight_hh": layer.w_rec.T, "bias": layer.bias}
    return arrays if layer.bias_rec is None else arrays | {"bias_n": layer.bias_rec}
