"""The cure `open_gates` on weights in other libraries' layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import cures
from jrnn.cells import bare_cells, check_key
from jrnn.cures.gate_opening import check_lag
from jrnn.interop.weights.flax_layout import from_linen, from_nnx, to_linen, to_nnx
from jrnn.interop.weights.torch_layout import NAME, from_torch
from jrnn.types import Array, InputError

NEEDED = "weights with a flax LSTMCell, OptimizedLSTMCell or GRUCell, or PyTorch's nn.LSTM or nn.GRU, in them"
FLAX = ({"hi", "hf", "hg", "ho"}, {"hr", "hz", "hn"}, {"dense_h", "dense_i"})


def open_gates(weights: Mapping[str, Any], lag: float, *, key: Array) -> dict[str, Any]:
    """`jrnn.cures.open_gates` on the weights of a Flax or PyTorch model: every LSTM and GRU in them is opened.

    b <- max(b, ln U[1, lag - 1]) for b_f of an LSTM and b_z of a GRU; PyTorch adds two biases, of which b_ih is raised.

    Args:
      weights: linen parameters, an nnx pure dict (`nnx.to_pure_dict(nnx.state(model, nnx.Param))`), nested as the model
        is; or a PyTorch `state_dict` of arrays or tensors.
      lag: steps, above 2.
      key: draws the biases.
    Returns:
      Dicts like `weights`, the biases with their own dtypes (and tensors as tensors); all else are the same objects.
    Raises:
      InputError: there is no LSTM and no GRU in them, a PyTorch module has no biases, or lag is no number above 2.
    """
    check_lag(lag)
    check_key(key)
    if not isinstance(weights, Mapping):
        raise InputError("weights", f"a {type(weights).__name__}", NEEDED)
    opened: list[int] = []
    torch = any(isinstance(name, str) and NAME.fullmatch(name) for name in weights)
    made = opened_torch(weights, lag, key, opened) if torch else opened_flax(weights, lag, key, opened)
    if not opened:
        raise InputError("weights", f"the names {sorted(map(str, weights))[:8]}", NEEDED)
    return made


def opened_flax(weights: Mapping[str, Any], lag: float, key: Array, opened: list[int]) -> dict[str, Any]:
    """Every cell in a tree; `opened` counts them."""
    if not any(names <= weights.keys() for names in FLAX):
        return {k: opened_flax(v, lag, key, opened) if isinstance(v, Mapping) else v for k, v in weights.items()}
    nnx = "dense_h" in weights or "if_" in weights
    cell, params = (from_nnx if nnx else from_linen)(weights)
    if not has_gates(cell):
        return dict(weights)
    params = cures.open_gates(cell, params, lag, key=jax.random.fold_in(key, len(opened)))
    opened.append(1)
    new = to_nnx(cell, params, optimized="dense_h" in weights) if nnx else to_linen(cell, params)
    made = {name: dict(dense) for name, dense in weights.items()}
    for name, dense in new.items():
        if "bias" in dense and "bias" in made[name]:
            made[name]["bias"] = like(made[name]["bias"], dense["bias"])
    return made


def opened_torch(weights: Mapping[str, Any], lag: float, key: Array, opened: list[int]) -> dict[str, Any]:
    """Every recurrent module of a state_dict."""
    made = dict(weights)
    matches = [match for name in weights if isinstance(name, str) and (match := NAME.fullmatch(name))]
    for prefix in sorted({match["prefix"] for match in matches}):
        cell, params = from_torch(weights, prefix=prefix)
        if not has_gates(cell):
            continue
        new = cures.open_gates(cell, params, lag, key=jax.random.fold_in(key, len(opened)))
        opened.append(1)
        own = [match for match in matches if match["prefix"] == prefix]
        own.sort(key=lambda match: (int((match["layer"] or "_l0")[2:]), match["way"] or ""))
        layers = zip(own, bare_cells(cell, params), bare_cells(cell, new), strict=True)
        for match, (_, before), (_, after) in layers:
            name = f"{prefix}bias_ih{match['layer'] or ''}{match['way'] or ''}"
            if name not in weights:
                raise InputError("weights", f"no {name!r}", "a module with biases (bias=True): they are what is raised")
            old = weights[name]
            rise = np.asarray(after["bias"], np.float64) - np.asarray(before["bias"], np.float64)
            made[name] = like(old, np.asarray(numbers(old), np.float64) + rise)
    return made


def has_gates(cell: Any) -> bool:
    """Whether it is an LSTM or a GRU, in layers and directions."""
    return all(getattr(bare.gates, "keeps", None) is not None for bare, _ in bare_cells(cell, shapes(cell)))


def numbers(array: Any) -> Any:
    """A tensor as NumPy takes it."""
    return array.detach().cpu().double() if hasattr(array, "detach") else array


def like(old: Any, new: Any) -> Any:
    """New values as the kind of array that the old ones were."""
    if hasattr(old, "new_tensor"):
        return old.new_tensor(np.asarray(new))
    return jnp.asarray(new).astype(old.dtype) if isinstance(old, jax.Array) else np.asarray(new).astype(old.dtype)


def shapes(cell: Any) -> Any:
    """The cell's parameters, nothing computed."""
    return jax.eval_shape(lambda key: cell.init(key, 1), jax.random.key(0))
