"""Trained networks that ordinary packages carry, to look into: the extra `trained` installs the packages.

    g2p_en       letters to phonemes, English: a GRU encoder and a GRU decoder, 256 units each (Apache-2.0)
    g2pm         which reading of a Chinese character: a bidirectional LSTM, 32 units each way (Apache-2.0)
    silero_vad   is somebody speaking: an LSTM of 128 units over frames of 32 ms (MIT)

Files are read where they lie; the packages are not imported, so what else they need does not have to be there. An
extra cannot say so: silero-vad, which would bring PyTorch, is `pip install --no-deps silero-vad==6.2.3`.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.extras import package_file, require
from jrnn.interop.weights.onnx_file import load_onnx, read_model
from jrnn.interop.weights.torch_layout import from_torch
from jrnn.types import Array, InputError, Params


class Trained(NamedTuple):
    """A trained recurrent layer between what feeds it and what reads it."""

    cell: Any
    """The cell; a `Bidirectional` for `g2pm`."""
    params: Params
    """Its parameters, float32."""
    embedding: Array | None
    """[symbols, F]: the input x_t of each symbol; None where inputs are not symbols."""
    head: Callable[[Array], Array]
    """y_t [..., H] -> logits [..., K], float32."""
    symbols: dict[str, int] | None = None
    """The row of `embedding` for each letter or character; None for the decoder and for silero-vad."""


def g2p_en(part: str = "encoder") -> Trained:
    """The encoder or decoder of g2p-en 2.1.0: a word's letters in, then its phonemes out, <s> first.

    The decoder starts from the encoder's last state, reads <s> (2) and then each phoneme that it said, and ends with
    </s> (3); the encoder reads the letters of a word and "</s>", as `symbols` has them.

    Args:
      part: "encoder" (embedding [29, 256]) or "decoder" (embedding [74, 256]); `head` is the decoder's, for both.
    Raises:
      InputError: another part, or the package is not installed.
    """
    if part not in ("encoder", "decoder"):
        raise InputError("part", repr(part), "'encoder' or 'decoder'")
    with np.load(package_file("g2p_en", "checkpoint20.npz")) as archive:
        arrays = dict(archive)
    short = part[:3]
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    cell, params = from_torch({name: arrays[f"{short}_{theirs}"] for name, theirs in names.items()})
    letters = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
    symbols = {letter: i for i, letter in enumerate(letters)} if part == "encoder" else None
    return Trained(cell, params, jnp.asarray(arrays[f"{short}_emb"]), dense(arrays["fc_w"], arrays["fc_b"]), symbols)


def g2pm() -> Trained:
    """The network of g2pM 0.1.2.5: a sentence's characters in, logits of 876 readings out for each.

    Raises:
      InputError: the package is not installed.
    """
    arrays, symbols = (unpickled(package_file("g2pM", name)) for name in ("np_ckpt.pkl", "char2idx.pkl"))
    cell, params = from_torch(arrays)
    first, second = (dense(arrays[f"logit_layer.{i}.weight"], arrays[f"logit_layer.{i}.bias"]) for i in (0, 2))
    embedding = jnp.asarray(arrays["embedding.weight"])
    return Trained(cell, params, embedding, lambda y: second(jax.nn.relu(first(y))), symbols)


def silero_vad() -> Trained:
    """The LSTM of silero-vad 6.2.3 for 16 kHz, from its .onnx file (its .safetensors is another model).

    x_t [128] is what the convolutions below make of frame t; the head's logit [..., 1] is of the probability of speech.

    Raises:
      InputError: the package, or onnx, is not installed.
    """
    path = package_file("silero_vad", "data/silero_vad_16k_sequence.onnx")
    cell, params, _ = load_onnx(path)
    to_array = require("onnx.numpy_helper").to_array
    arrays = {tensor.name: to_array(tensor) for tensor in read_model(path).graph.initializer}
    last = dense(arrays["output.weight"][..., 0], arrays["output.bias"])
    return Trained(cell, params, None, lambda y: last(jax.nn.relu(y)))


def dense(w: Any, b: Any) -> Callable[[Array], Array]:
    """y -> y w^T + b, w [K, H] as PyTorch has it."""
    w, b = jnp.asarray(w).T, jnp.asarray(b)
    return lambda y: jnp.matmul(y, w, precision="highest") + jnp.expand_dims(b, range(y.ndim - 1))


def unpickled(path: Path) -> Any:
    """What a pickle of arrays, strings and numbers holds."""
    with open(path, "rb") as file:
        return ArraysOnly(file).load()


class ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain values and refuses everything else: no code of a file is run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # pyright: ignore
        if module != "numpy" or name not in ("ndarray", "dtype"):
            raise InputError("np_ckpt.pkl", f"{module}.{name}", "NumPy arrays only")
        return getattr(np, name)
