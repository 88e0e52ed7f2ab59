"""ONNX's RNN, LSTM and GRU: W [ways, G*H, F], R [ways, G*H, H], B [ways, 2*G*H]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.interop.weights.layout import (
    Layer,
    bias_pair,
    check_activation,
    fetch,
    kind_of,
    layers_of,
    reorder,
    sequence_of,
    two_biases,
)
from jrnn.types import InputError, Params

ACTIVATIONS = {"tanh": "tanh", "relu": "relu"}
ORDERS = {"rnn": ("h", "h"), "lstm": ("iofg", "ifgo"), "gru": ("zrn", "rzn")}  # ONNX's, jrnn's


def from_onnx(
    arrays: Mapping[str, Any], *, linear_before_reset: bool = False, activation: str = "tanh"
) -> tuple[Any, Params]:
    """The weights of an ONNX RNN, LSTM or GRU node as `(cell, params)`; onnx is not needed.

    Args:
      arrays: {"W": [ways, G*H, F], "R": [ways, G*H, H], "B": [ways, 2*G*H]}, ways 1 or 2 (direction="bidirectional");
        B may be missing. A node with direction="reverse" is `jrnn.unroll(..., reverse=True)`.
      linear_before_reset: a GRU's attribute (ONNX's default is 0): True is `reset_after=True`.
      activation: an RNN's, "tanh" or "relu".
    Raises:
      InputError: peepholes (P), or an array that is missing or does not fit.
    """
    named = check_activation(activation.lower() if isinstance(activation, str) else activation, ACTIVATIONS)
    w_rec = fetch(arrays, "R", (None, None, None))
    ways, width, hidden = w_rec.shape
    if ways not in (1, 2):
        raise InputError("R", f"shape {w_rec.shape}", "[1 or 2 directions, G*H, H]")
    if "P" in arrays:
        raise InputError("P", f"shape {np.shape(arrays['P'])}", "no peepholes: jrnn.lstm has none")
    if further := arrays.keys() - {"W", "R", "B"}:
        needed = "W, R and B; initial states are `initial_state` of jrnn.unroll, and load_onnx reads a whole node"
        raise InputError("arrays", f"{sorted(map(str, further))} too", needed)
    kind = kind_of("R", w_rec, hidden, axis=1)
    w_in = fetch(arrays, "W", (ways, width, None))
    both = fetch(arrays, "B", (ways, 2 * width)) if "B" in arrays else np.zeros((ways, 2 * width), w_rec.dtype)
    layers = []
    for way in range(ways):
        given, wanted = ORDERS[kind]
        biases = [reorder(bias, given, wanted) for bias in np.split(both[way], 2)]
        w, r = (reorder(a[way].T, given, wanted) for a in (w_in, w_rec))
        if kind == "gru" and not linear_before_reset:
            layers.append(Layer(kind, w, r, biases[0] + biases[1]))
        else:
            layers.append(Layer(kind, w, r, *two_biases(kind, *biases), named))
    return sequence_of([layers])


def to_onnx(cell: Any, params: Params) -> dict[str, np.ndarray]:
    """W, R and B of the ONNX node that is this cell; the inverse of `from_onnx`.

    The second half of B is zero but for a GRU's b_hn. The node's linear_before_reset and activations must be
    the cell's.

    Raises:
      InputError: a stack: ONNX has one node for each of its layers.
    """
    layers = layers_of(cell, params)
    if len(layers) > 1:
        raise InputError("cell", f"a stack of {len(layers)}", "one layer at a time: cell.cells[i], params[i]")
    if len({layer.kind for layer in layers[0]}) > 1:
        raise InputError("cell", "directions of different kinds", "the same cell in both")
    nodes: dict[str, list[np.ndarray]] = {"W": [], "R": [], "B": []}
    for layer in layers[0]:
        if layer.kind == "rnn":
            check_activation(layer.activation, ACTIVATIONS)
        wanted, given = ORDERS[layer.kind]
        nodes["W"].append(reorder(layer.w_in, given, wanted).T)
        nodes["R"].append(reorder(layer.w_rec, given, wanted).T)
        nodes["B"].append(np.concatenate([reorder(bias, given, wanted) for bias in bias_pair(layer)]))
    return {name: np.stack(ways) for name, ways in nodes.items()}
