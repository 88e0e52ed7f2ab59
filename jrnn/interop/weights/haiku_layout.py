"""Haiku's VanillaRNN, LSTM and GRU: {"lstm/linear": {"w": [F + H, 4H], "b": [4H]}} and its like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.interop.weights.layout import Layer, cell_of, check_reset, check_shape, fetch, layer_of, reorder
from jrnn.types import InputError, Params


def from_haiku(params: Mapping[str, Mapping[str, Any]], *, name: str | None = None) -> tuple[Any, Params]:
    """The parameters of a Haiku LSTM, GRU or VanillaRNN as `(cell, params)`.

    LSTM: gates i, g, f, o, and sigmoid(f + 1): the 1 goes into the bias. GRU: r before the matmul (reset_after=False),
    and z takes the new, h' = (1 - z) h + z a: z's weights change sign. VanillaRNN: relu.

    Args:
      params: by module name, as Haiku holds them.
      name: the core's module name, "lstm" or "net/~/lstm"; needed where there are several.
    Raises:
      InputError: no core of that name, several and no name, or an array that does not fit.
    """
    if not isinstance(params, Mapping) or not all(isinstance(value, Mapping) for value in params.values()):
        raise InputError("params", type(params).__name__, '{"lstm/linear": {"w": ..., "b": ...}}')
    arrays = {f"{module}/{leaf}": value for module, own in params.items() for leaf, value in own.items()}
    cores = sorted({core for module, own in params.items() if (core := core_of(params, module, own)) is not None})
    if name is None and len(cores) == 1:
        name = cores[0]
    if name not in cores:
        raise InputError("name", repr(name), f"one of the recurrent cores {cores}")
    if f"{name}/w_h" in arrays:
        return cell_of(gru(arrays, name))
    if f"{name}/linear_1" in params:
        return cell_of(vanilla(arrays, name))
    width = len(fetch(arrays, f"{name}/linear/b", (None,)))
    w = fetch(arrays, f"{name}/linear/w", (None, width))
    if width % 4 or len(w) < width // 4:
        raise InputError(f"{name}/linear/w", f"shape {w.shape}", "[F + H, 4H]")
    w, b = (reorder(a, "igfo", "ifgo") for a in (w, fetch(arrays, f"{name}/linear/b", (width,))))
    hidden = width // 4
    b[hidden : 2 * hidden] += 1
    return cell_of(Layer("lstm", w[:-hidden], w[-hidden:], b))


def core_of(params: Mapping, module: str, own: Mapping) -> str | None:
    """The recurrent core that a module of parameters belongs to, if any."""
    above, _, last = module.rpartition("/")
    if "w_h" in own:
        return module
    if last != "linear" or not above or "b" not in own:
        return None
    if f"{above}/linear_1" in params:
        return above
    rows, width = fetch(own, "w", (None, None)).shape
    return above if width % 4 == 0 and rows > width // 4 else None


def gru(arrays: Mapping[str, Any], name: str) -> Layer:
    """z, r, a -> r, z, n, with z -> 1 - z."""
    w_rec = fetch(arrays, f"{name}/w_h", (None, None))
    hidden, width = w_rec.shape
    check_shape(f"{name}/w_h", w_rec, (hidden, 3 * hidden))
    w_in, bias = fetch(arrays, f"{name}/w_i", (None, width)), fetch(arrays, f"{name}/b", (width,))
    w_in, w_rec, bias = (swapped(reorder(a, "zrn", "rzn")) for a in (w_in, w_rec, bias))
    return Layer("gru", w_in, w_rec, bias)


def swapped(array: np.ndarray) -> np.ndarray:
    """z's block (the second of r, z, n) with its sign changed: 1 - sigmoid(u) = sigmoid(-u)."""
    r, z, n = np.split(array, 3, axis=-1)
    return np.concatenate([r, -z, n], axis=-1)


def vanilla(arrays: Mapping[str, Any], name: str) -> Layer:
    """Two linear layers, whose biases add; the second has one with double_bias."""
    bias = fetch(arrays, f"{name}/linear/b", (None,))
    hidden = len(bias)
    w_in = fetch(arrays, f"{name}/linear/w", (None, hidden))
    w_rec = fetch(arrays, f"{name}/linear_1/w", (hidden, hidden))
    if f"{name}/linear_1/b" in arrays:
        bias = bias + fetch(arrays, f"{name}/linear_1/b", (hidden,))
    return Layer("rnn", w_in, w_rec, bias, None, "relu")


def to_haiku(cell: Any, params: Params, *, name: str | None = None) -> dict[str, dict[str, np.ndarray]]:
    """The parameters of the Haiku core that is this cell; the inverse of `from_haiku`.

    Exact but for an LSTM's forget bias, from which the 1 is taken that Haiku adds.

    Args:
      name: the core's module name; by default Haiku's own, "lstm", "gru" or "vanilla_rnn".
    Raises:
      InputError: a cell Haiku has not: a GRU with reset_after=True, an Elman cell that is not relu.
    """
    layer = layer_of(cell, params)
    check_reset(layer, after=False, library="Haiku")
    if layer.kind == "lstm":
        hidden = layer.hidden
        bias = layer.bias.copy()
        bias[hidden : 2 * hidden] -= 1
        w = np.concatenate([layer.w_in, layer.w_rec])
        return {f"{name or 'lstm'}/linear": {"w": reorder(w, "ifgo", "igfo"), "b": reorder(bias, "ifgo", "igfo")}}
    if layer.kind == "gru":
        own = (reorder(swapped(a), "rzn", "zrn") for a in (layer.w_in, layer.w_rec, layer.bias))
        return {name or "gru": dict(zip(("w_i", "w_h", "b"), own, strict=True))}
    if layer.activation != "relu":
        raise InputError("cell", f"an Elman cell with {layer.activation}", "relu, the only one VanillaRNN has")
    name = name or "vanilla_rnn"
    zeros = np.zeros_like(layer.bias)
    return {
        f"{name}/linear": {"w": layer.w_in, "b": layer.bias},
        f"{name}/linear_1": {"w": layer.w_rec, "b": zeros},
    }
