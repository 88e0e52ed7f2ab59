"""jrnn's weights in the layouts of the other JAX libraries, by functions that can be differentiated.

Their vector-Jacobian products bring gradients back into jrnn's layout, so there is no second set of functions.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

LINEN = {
    "elman": {"w_in": ("i",), "w_rec": ("h",), "bias": ("i",)},
    "lstm": {
        "w_in": ("ii", "if", "ig", "io"),
        "w_rec": ("hi", "hf", "hg", "ho"),
        "bias": ("hi", "hf", "hg", "ho"),
    },
    "gru": {"w_in": ("ir", "iz", "in"), "w_rec": ("hr", "hz", "hn"), "bias": ("ir", "iz", "in")},
}
"""The layers that carry each weight, one a gate."""


def to_linen(cell: str, weights: dict[str, Any]) -> dict[str, Any]:
    """The parameters of linen's SimpleCell, OptimizedLSTMCell or GRUCell."""
    params: dict[str, Any] = {}
    for name, layers in LINEN[cell].items():
        for layer, block in zip(layers, jnp.split(weights[name], len(layers), axis=-1), strict=True):
            params.setdefault(layer, {})["bias" if name == "bias" else "kernel"] = block
    if cell == "gru":
        params["hn"]["bias"] = weights["bias_rec"]
    return params


def to_nnx(cell: str, weights: dict[str, Any]) -> dict[str, Any]:
    """The parameters of nnx's SimpleCell, OptimizedLSTMCell or GRUCell, which has no recurrent bias."""
    params = {"dense_i": {"kernel": weights["w_in"]}, "dense_h": {"kernel": weights["w_rec"]}}
    params["dense_h" if cell == "lstm" else "dense_i"]["bias"] = weights["bias"]
    return params


def to_equinox(weights: dict[str, Any]) -> tuple[Any, ...]:
    """weight_ih, weight_hh, bias and, of a GRUCell, bias_n."""
    recurrent = (weights["bias_rec"],) if "bias_rec" in weights else ()
    return weights["w_in"].T, weights["w_rec"].T, weights["bias"], *recurrent


def to_haiku(cell: str, weights: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of Haiku's VanillaRNN (one bias), LSTM (i, g, f + 1, o) or GRU (z takes the new; z, r, n)."""
    w_in, w_rec, bias = (weights[name] for name in ("w_in", "w_rec", "bias"))
    if cell == "elman relu":
        return {"vanilla_rnn/linear": {"w": w_in, "b": bias}, "vanilla_rnn/linear_1": {"w": w_rec}}

    def blocks(a: Any, signs_and_order: tuple[tuple[int, int], ...]) -> Any:
        parts = jnp.split(a, len(signs_and_order), axis=-1)
        return jnp.concatenate([sign * parts[i] for sign, i in signs_and_order], axis=-1)

    if cell == "lstm":
        order = ((1, 0), (1, 2), (1, 1), (1, 3))
        forget = jnp.repeat(jnp.array([0, 0, 1, 0], bias.dtype), len(bias) // 4)
        w = blocks(jnp.concatenate([w_in, w_rec]), order)
        return {"lstm/linear": {"w": w, "b": blocks(bias, order) - forget}}
    order = ((-1, 1), (1, 0), (1, 2))
    return {"gru": {"w_i": blocks(w_in, order), "w_h": blocks(w_rec, order), "b": blocks(bias, order)}}
