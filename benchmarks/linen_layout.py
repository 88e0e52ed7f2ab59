"""jrnn's weights as flax.linen's, which has one kernel a gate, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

INPUT_NAMES = {"elman": ("i",), "lstm": ("ii", "if", "ig", "io"), "gru": ("ir", "iz", "in")}
RECURRENT_NAMES = {"elman": ("h",), "lstm": ("hi", "hf", "hg", "ho"), "gru": ("hr", "hz", "hn")}
BIAS_NAMES = {"elman": ("i",), "lstm": ("hi", "hf", "hg", "ho"), "gru": ("ir", "iz", "in")}
"""The layers that carry the bias of each gate."""


def to_linen(cell: str, weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """The parameters of linen's SimpleCell, OptimizedLSTMCell or GRUCell."""
    params: dict[str, Any] = {}
    parts = (
        ("w_in", "kernel", INPUT_NAMES[cell]),
        ("w_rec", "kernel", RECURRENT_NAMES[cell]),
        ("bias", "bias", BIAS_NAMES[cell]),
    )
    for name, leaf, layers in parts:
        for layer, block in zip(layers, np.split(weights[name], len(layers), axis=-1), strict=True):
            params.setdefault(layer, {})[leaf] = block
    if cell == "gru":
        params["hn"]["bias"] = weights["bias_rec"]
    return params


def from_linen(cell: str, params: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of `to_linen`, for gradients."""
    weights = {
        "w_in": np.concatenate([params[layer]["kernel"] for layer in INPUT_NAMES[cell]], axis=-1),
        "w_rec": np.concatenate([params[layer]["kernel"] for layer in RECURRENT_NAMES[cell]], axis=-1),
        "bias": np.concatenate([params[layer]["bias"] for layer in BIAS_NAMES[cell]], axis=-1),
    }
    if cell == "gru":
        weights["bias_rec"] = np.asarray(params["hn"]["bias"])
    return weights
