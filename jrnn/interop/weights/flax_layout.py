"""Flax's cells: linen {"ii": {"kernel": ...}, ...}, nnx {"dense_i": {"kernel": ...}, ...} or linen's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.interop.weights.layout import (
    KINDS,
    Layer,
    cell_of,
    check_activation,
    check_reset,
    fetch,
    kind_of,
    layer_of,
)
from jrnn.types import InputError, Params

ACTIVATIONS = {"tanh": "tanh", "relu": "relu", "identity": "identity"}
GATES = {"rnn": ("",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}


def from_linen(params: Mapping[str, Any], *, activation: str = "tanh") -> tuple[Any, Params]:
    """The parameters of linen's SimpleCell, LSTMCell, OptimizedLSTMCell or GRUCell as `(cell, params)`.

    Args:
      params: the cell's own, {"ii": {"kernel": [F, H]}, "hi": {"kernel": [H, H], "bias": [H]}, ...}.
      activation: of a SimpleCell (residual=False): "tanh", "relu" or "identity".
    Raises:
      InputError: names of no such cell, or an array that does not fit.
    """
    return from_dense(params, {}, activation)


def from_nnx(params: Mapping[str, Any], *, activation: str = "tanh") -> tuple[Any, Params]:
    """The parameters of nnx's SimpleCell, LSTMCell, OptimizedLSTMCell or GRUCell as `(cell, params)`.

    Args:
      params: `nnx.to_pure_dict(nnx.state(cell, nnx.Param))`.
      activation: of a SimpleCell (residual=False): "tanh", "relu" or "identity".
    Returns:
      The cell, and its parameters; a GRU's `bias_rec` is zero, for nnx.GRUCell has no b_hn.
    Raises:
      InputError: names of no such cell, or an array that does not fit.
    """
    if not isinstance(params, Mapping) or "dense_h" not in params:
        return from_dense(params, {"if": "if_"}, activation)
    arrays = flat(params)
    name = "dense_h.kernel"
    w_rec = fetch(arrays, name, (None, None))
    hidden, width = w_rec.shape
    kind = kind_of(name, w_rec, hidden, axis=1)
    w_in = fetch(arrays, "dense_i.kernel", (None, width))
    bias = fetch(arrays, "dense_h.bias" if kind == "lstm" else "dense_i.bias", (width,))
    bias_rec = np.zeros(hidden, bias.dtype) if kind == "gru" else None
    return cell_of(Layer(kind, w_in, w_rec, bias, bias_rec, check_activation(activation, ACTIVATIONS)))


def from_dense(params: Any, renamed: dict[str, str], activation: str) -> tuple[Any, Params]:
    """One dense layer a gate, for the input and for the state."""
    arrays, activation = flat(params), check_activation(activation, ACTIVATIONS)
    states = {name.partition(".")[0] for name in arrays if name.startswith("h")}
    kind = KINDS.get(len(states), "")
    if not kind or states != {f"h{gate}" for gate in GATES[kind]}:
        needed = "those of a SimpleCell (i, h), GRUCell (ir, ..., hn) or LSTMCell (ii, ..., ho): the cell's own level"
        raise InputError("params", f"names {sorted(arrays)}", needed)
    hidden = fetch(arrays, f"h{GATES[kind][0]}.kernel", (None, None)).shape[1]

    def gathered(side: str, leaf: str, shape: tuple[int | None, ...]) -> np.ndarray:
        names = [f"{side}{gate}" for gate in GATES[kind]]
        blocks = [fetch(arrays, f"{renamed.get(name, name)}.{leaf}", shape) for name in names]
        return np.concatenate(blocks, axis=-1)

    bias = gathered("h" if kind == "lstm" else "i", "bias", (hidden,))
    bias_rec = fetch(arrays, "hn.bias", (hidden,)) if kind == "gru" else None
    w_in, w_rec = gathered("i", "kernel", (None, hidden)), gathered("h", "kernel", (hidden, hidden))
    return cell_of(Layer(kind, w_in, w_rec, bias, bias_rec, activation))


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{"ii": {"kernel": w}} -> {"ii.kernel": w}."""
    if not isinstance(tree, Mapping):
        raise InputError("params", type(tree).__name__, "a dict of dicts of arrays")
    arrays = {}
    for name, value in tree.items():
        arrays |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return arrays


def to_linen(cell: Any, params: Params) -> dict[str, dict[str, np.ndarray]]:
    """The parameters of the linen cell that is this one; the inverse of `from_linen`.

    Raises:
      InputError: a cell linen has not, such as a GRU with reset_after=False.
    """
    layer = layer_of(cell, params)
    check_reset(layer, after=True, library="linen")
    return to_dense(layer, {})


def to_nnx(cell: Any, params: Params, *, optimized: bool = True) -> dict[str, dict[str, np.ndarray]]:
    """The parameters of the nnx cell that is this one, a pure dict; the inverse of `from_nnx`.

    Args:
      cell, params: an Elman cell, an LSTM, or a GRU whose `bias_rec` is zero.
      optimized: for an LSTM, the names of OptimizedLSTMCell; False: those of LSTMCell.
    Raises:
      InputError: a cell nnx has not; a GRU with a non-zero b_hn, since nnx.GRUCell has no such bias.
    """
    layer = layer_of(cell, params)
    check_reset(layer, after=True, library="nnx")
    if layer.bias_rec is not None and np.any(layer.bias_rec):
        size = np.max(np.abs(layer.bias_rec.astype(np.float64)))
        needed = "zeros: nnx.GRUCell has no b_hn, and no other weight can stand for it (linen.GRUCell has one)"
        raise InputError("params['bias_rec']", f"values up to {size:.3g}", needed)
    if layer.kind == "lstm" and not optimized:
        return to_dense(layer, {"if": "if_"})
    dense: dict[str, dict[str, np.ndarray]] = {"dense_i": {"kernel": layer.w_in}, "dense_h": {"kernel": layer.w_rec}}
    dense["dense_h" if layer.kind == "lstm" else "dense_i"]["bias"] = layer.bias
    return dense


def to_dense(layer: Layer, renamed: dict[str, str]) -> dict[str, dict[str, np.ndarray]]:
    """The inverse of `from_dense`."""
    gates = GATES[layer.kind]
    dense: dict[str, dict[str, np.ndarray]] = {}
    blocks = [np.split(array, len(gates), axis=-1) for array in (layer.w_in, layer.w_rec, layer.bias)]
    for gate, w_in, w_rec, bias in zip(gates, *blocks, strict=True):
        into, state = (str(renamed.get(side + gate, side + gate)) for side in ("i", "h"))
        dense |= {into: {"kernel": w_in}, state: {"kernel": w_rec}}
        dense[state if layer.kind == "lstm" else into]["bias"] = bias
    if layer.bias_rec is not None:
        dense["hn"]["bias"] = layer.bias_rec
    return dense
