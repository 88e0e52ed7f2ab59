"""PyTorch's `nn.RNN`, `nn.LSTM`, `nn.GRU` and their cells: {"weight_ih_l0": [G*H, F], ...}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.interop.weights.layout import (
    Layer,
    bias_pair,
    check_activation,
    check_reset,
    fetch,
    kind_of,
    layers_of,
    sequence_of,
    two_biases,
)
from jrnn.types import InputError, Params

NAME = re.compile(r"(?P<prefix>.*?)weight_ih(?P<layer>_l\d+)?(?P<way>_reverse)?")
ACTIVATIONS = {"tanh": "tanh", "relu": "relu"}


def from_torch(
    state_dict: Mapping[str, Any], *, prefix: str | None = None, nonlinearity: str = "tanh"
) -> tuple[Any, Params]:
    """A PyTorch recurrent module's `state_dict` as `(cell, params)`; torch is not needed.

    b_ih and b_hh are summed, but for b_hn of a GRU, which becomes `bias_rec`. Without biases zeros take their place.

    Args:
      state_dict: arrays (or tensors) by name, of an RNN, LSTM or GRU with any number of layers and one or two
        directions, or of an RNNCell, LSTMCell or GRUCell; other entries are let be.
      prefix: what stands before `weight_ih_l0` ("encoder.rnn."); needed where there are several recurrent modules.
      nonlinearity: of an RNN, "tanh" or "relu"; PyTorch does not write it into the state_dict.
    Returns:
      `jrnn.elman`, `lstm` or `gru` of its size, in a `jrnn.Bidirectional` for two directions, in a `jrnn.stack` for
      several layers; and its parameters.
    Raises:
      InputError: no recurrent module, several and no prefix, a projection (proj_size), or an array that does not fit.
    """
    activation = check_activation(nonlinearity, ACTIVATIONS, "nonlinearity")
    if not isinstance(state_dict, Mapping):
        raise InputError("state_dict", type(state_dict).__name__, "a dict of arrays by name")
    matches = [match for name in state_dict if isinstance(name, str) and (match := NAME.fullmatch(name))]
    modules = sorted({match["prefix"] for match in matches})
    if not modules:
        given = f"no entry weight_ih_l0 among {sorted(map(str, state_dict))}"
        raise InputError("state_dict", given, "that of a model with an RNN, LSTM or GRU in it")
    if prefix is None:
        if len(modules) != 1:
            raise InputError(
                "prefix", f"None with recurrent modules named {modules}", "the name of one of them, 'rnn.'"
            )
        prefix = modules[0]
    if prefix not in modules:
        raise InputError("prefix", repr(prefix), f"one of {modules}")
    projected = [name for name in state_dict if str(name).startswith(f"{prefix}weight_hr")]
    if projected:
        raise InputError(projected[0], "a projection of h (proj_size)", "an LSTM without: jrnn.lstm hands on h itself")
    start, own = str(prefix), [match for match in matches if match["prefix"] == prefix]
    layers = sorted({match["layer"] or "" for match in own}, key=lambda name: int(name[2:] or 0))
    if layers not in ([""], [f"_l{i}" for i in range(len(layers))]):
        raise InputError("state_dict", f"layers {layers}", "_l0, _l1, ... without a gap")
    ways = ["", "_reverse"] if any(match["way"] for match in own) else [""]
    return sequence_of([[one(state_dict, start, layer + way, activation) for way in ways] for layer in layers])


def one(arrays: Mapping[str, Any], prefix: str, suffix: str, activation: str) -> Layer:
    """One direction of one layer."""
    name = f"{prefix}weight_hh{suffix}"
    w_rec = fetch(arrays, name, (None, None))
    width, hidden = w_rec.shape
    kind = kind_of(name, w_rec, hidden, axis=0)
    w_in = fetch(arrays, f"{prefix}weight_ih{suffix}", (width, None))
    names = [f"{prefix}bias_{side}{suffix}" for side in ("ih", "hh")]
    if any(name in arrays for name in names):
        bias, bias_rec = two_biases(kind, *(fetch(arrays, name, (width,)) for name in names))
    else:
        bias, bias_rec = two_biases(kind, np.zeros(width, w_rec.dtype), np.zeros(width, w_rec.dtype))
    return Layer(kind, w_in.T, w_rec.T, bias, bias_rec, activation)


def to_torch(cell: Any, params: Params, *, prefix: str = "") -> dict[str, np.ndarray]:
    """The `state_dict` of the PyTorch module that is this cell; the inverse of `from_torch`.

    The bias goes to b_ih, and b_hh is zero but for a GRU's b_hn. Load it with
    `module.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})`.

    Raises:
      InputError: PyTorch has no such module: a GRU with reset_after=False, an activation other than tanh and relu,
        layers of different kinds, sizes or numbers of directions.
    """
    layers = layers_of(cell, params)
    kinds = {(len(ways), layer.kind, layer.hidden, layer.activation) for ways in layers for layer in ways}
    if len(kinds) > 1:
        given = f"layers of {sorted(kinds)}"
        raise InputError("cell", given, "layers that are all alike: (directions, kind, hidden units, activation)")
    arrays = {}
    for i, ways in enumerate(layers):
        for layer, way in zip(ways, ("", "_reverse")):
            check_reset(layer, after=True, library="PyTorch")
            if layer.kind == "rnn":
                check_activation(layer.activation, ACTIVATIONS)
            named = zip(("bias_ih", "bias_hh"), bias_pair(layer), strict=True)
            own = {"weight_ih": layer.w_in.T, "weight_hh": layer.w_rec.T, **dict(named)}
            arrays |= {f"{prefix}{name}_l{i}{way}": np.ascontiguousarray(array) for name, array in own.items()}
    return arrays
