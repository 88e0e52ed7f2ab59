"""Keras 2 and 3: [kernel [F, G*H], recurrent_kernel [H, G*H], bias], as `layer.get_weights()` returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jrnn.interop.weights.layout import (
    Layer,
    bias_pair,
    check_activation,
    check_shape,
    kind_of,
    layers_of,
    real_array,
    reorder,
    sequence_of,
    two_biases,
)
from jrnn.types import InputError, Params

ACTIVATIONS = {"tanh": "tanh", "relu": "relu", "linear": "identity"}
NAMES = ("kernel", "recurrent_kernel", "bias")
ORDERS = {"rnn": ("h", "h"), "lstm": ("ifgo", "ifgo"), "gru": ("zrn", "rzn")}  # Keras's, jrnn's


def from_keras(
    weights: Sequence[Any],
    *,
    activation: str = "tanh",
    recurrent_activation: str | None = None,
    reset_after: bool | None = None,
) -> tuple[Any, Params]:
    """The weights of a Keras SimpleRNN, LSTM or GRU, or of a Bidirectional of one, as `(cell, params)`.

    Which layer it is follows from the shapes. A bias of two rows is a GRU's with reset_after; a flat one that is twice
    as long as the kernel is wide comes from CuDNNLSTM or CuDNNGRU, whose kernels Keras keeps transposed.

    Args:
      weights: `layer.get_weights()`: kernel, recurrent kernel, and the bias if there is one; six (four) arrays for a
        Bidirectional, forward first (its outputs concatenated: merge_mode="concat").
      activation: of the layer: "tanh"; for a SimpleRNN "relu" and "linear" too.
      recurrent_activation: of an LSTM or GRU, "sigmoid", as `layer.recurrent_activation` says: weights do not. By
        default Keras made layers with hard_sigmoid before 2.3, with sigmoid since (tf.keras since 2.0); hard_sigmoid is
        another function, so it is refused. cuDNN's layers have sigmoid alone, and a SimpleRNN none.
      reset_after: only for a GRU without bias, which does not show it.
    Raises:
      InputError: an activation jrnn's cells do not have, or none said; a number of arrays or a shape that does not fit.
    """
    if recurrent_activation not in (None, "sigmoid"):
        needed = "'sigmoid': gates with another function are another network (write it with jrnn.from_functions)"
        raise InputError("recurrent_activation", repr(recurrent_activation), needed)
    named = check_activation(activation, ACTIVATIONS)
    if not isinstance(weights, list | tuple) or len(weights) not in (2, 3, 4, 6):
        given = f"{len(weights)} arrays" if isinstance(weights, list | tuple) else f"a {type(weights).__name__}"
        raise InputError("weights", given, "2 or 3 arrays (one direction), 4 or 6 (two), as get_weights()")
    each = len(weights) if len(weights) < 4 else len(weights) // 2
    arrays = [real_array(NAMES[i % each], array) for i, array in enumerate(weights)]
    ways = [one(arrays[i : i + each], named, reset_after) for i in range(0, len(arrays), each)]
    gated = [way.kind != "rnn" and not is_cudnn for way, is_cudnn in ways]
    if any(gated) and recurrent_activation is None:
        needed = "what layer.recurrent_activation says: 'sigmoid' ('hard_sigmoid', Keras's before 2.3, is not read)"
        raise InputError("recurrent_activation", "None, and the weights do not say it", needed)
    return sequence_of([[way for way, _ in ways]])


def one(arrays: list[np.ndarray], activation: str, reset_after: bool | None) -> tuple[Layer, bool]:
    """One direction, and whether it is cuDNN's."""
    w_in, w_rec, *biases = arrays
    check_shape("recurrent_kernel", w_rec, (None, None))
    hidden, width = w_rec.shape
    kind = kind_of("recurrent_kernel", w_rec, hidden, axis=1)
    if kind != "rnn" and activation != "tanh":
        raise InputError("activation", repr(activation), f"'tanh': jrnn.{kind} has no other")
    check_shape("kernel", w_in, (None, width))
    bias = biases[0] if biases else np.zeros((2, width) if reset_after else width, w_rec.dtype)
    is_cudnn = bias.shape == (2 * width,)
    if is_cudnn:
        w_in, w_rec, bias = from_cudnn(w_in, w_rec, bias, width // hidden)
    elif bias.shape != (width,):
        check_shape("bias", bias, (2, width))
    given, wanted = ORDERS[kind]
    w_in, w_rec, bias = (reorder(a, given, wanted) for a in (w_in, w_rec, bias))
    if kind == "gru" and not biases and reset_after is None:
        raise InputError("reset_after", "None", "True or False: without a bias the weights do not show it")
    if kind == "gru" and bias.ndim == 1:
        return Layer(kind, w_in, w_rec, bias, None), is_cudnn
    total, bias_rec = two_biases(kind, *bias) if bias.ndim == 2 else (bias, None)
    return Layer(kind, w_in, w_rec, total, bias_rec, activation), is_cudnn


def from_cudnn(w_in: np.ndarray, w_rec: np.ndarray, bias: np.ndarray, gates: int) -> tuple[np.ndarray, ...]:
    """cuDNN's matrices are [H, F] and [H, H] row by row, gate by gate; its biases two, one after the other."""
    size, hidden = w_in.shape[0], w_rec.shape[0]
    blocks = (block.reshape(hidden, size).T for block in np.split(w_in, gates, axis=1))
    squares = (block.T for block in np.split(w_rec, gates, axis=1))
    return np.concatenate(list(blocks), axis=1), np.concatenate(list(squares), axis=1), bias.reshape(2, -1)


def to_keras(cell: Any, params: Params) -> list[np.ndarray]:
    """What `layer.set_weights()` takes for the Keras layer that is this cell; the inverse of `from_keras`.

    A GRU with reset_after gets a bias of two rows, the second zero but for b_hn. The layer's activation and
    reset_after must be the cell's.

    Raises:
      InputError: a stack: Keras has one layer object for each of its layers.
    """
    layers = layers_of(cell, params)
    if len(layers) > 1:
        raise InputError("cell", f"a stack of {len(layers)}", "one layer at a time: cell.cells[i], params[i]")
    arrays = []
    for layer in layers[0]:
        wanted, given = ORDERS[layer.kind]
        bias = np.stack(bias_pair(layer)) if layer.bias_rec is not None else layer.bias
        arrays += [reorder(array, given, wanted) for array in (layer.w_in, layer.w_rec, bias)]
    return arrays
