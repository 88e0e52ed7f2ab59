"""What `jrnn diagnose --model` takes besides jrnn's own folders: weights in a file, and a function of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jrnn.cells import Bidirectional, Elman, Stack, Wrapper, is_causal, output_size
from jrnn.interop.flax_calls import flip
from jrnn.interop.flax_models import FlaxModel, error_at, made_by
from jrnn.interop.weights import from_torch, load_npz, load_onnx, load_safetensors
from jrnn.interop.weights.files import is_file
from jrnn.interop.weights.layout import fetch
from jrnn.types import InputError, Params

FORMS = "PATH.safetensors or PATH.npz (a PyTorch state_dict), PATH.onnx, or package.module:function"
READ = (".safetensors", ".npz", ".onnx")
TORCH = '; in PyTorch: numpy.savez("model.npz", **{k: v.numpy() for k, v in %s.items()})'
FROM_KERAS = "jrnn.interop.weights.from_keras(layer.get_weights(), recurrent_activation=...)"
KERAS = f"; in Keras: a function that returns {FROM_KERAS} of its recurrent layer"
ELSEWHERE = {  # endings of files that cannot be read, and what to do instead
    ".pt": TORCH % "model.state_dict()",
    ".pth": TORCH % "model.state_dict()",
    ".bin": TORCH % "torch.load(path, weights_only=True)",
    ".ckpt": TORCH % 'torch.load(path, weights_only=True)["state_dict"]',
    ".h5": KERAS,
    ".keras": KERAS,
    ".pkl": "; a pickle runs the code in it: a function of yours that loads it and returns one of these",
    ".msgpack": "; in Flax: a function that returns (module, flax.serialization.msgpack_restore(its bytes))",
}


@dataclass(frozen=True)
class Network:
    """A recurrent network that jrnn did not train, perhaps with the readout that followed it."""

    cell: Any
    params: Params
    head: Params = None
    """{"w": [H, K], "bias": [K]} of the dense layer that reads the outputs; None where there is none."""
    reverse: bool = False
    """It reads sequences from their end: what is done with it is done on sequences turned round."""
    note: str = ""
    """What had to be taken for granted."""

    def fed(self, dataset: Any) -> Any:
        """The data set as the network reads it.

        Raises:
          InputError: its features are not as many as the network takes, or its targets as many as the head gives.
        """
        features = dataset.x.shape[2]
        takes = input_size_of(self.cell, self.params)
        if takes not in (None, features):
            raise InputError("data", f"{dataset.name}, with {features} features", f"{takes} features for this model")
        x = jax.ShapeDtypeStruct((features,), np.float32)
        try:
            jax.eval_shape(lambda p, x: self.cell.step(p, self.cell.initial_state(p, ()), x), self.params, x)
        except (Exception, SystemExit) as error:  # the user's cell may raise anything
            given = f"{dataset.name}, with {features} features ({error_at(error)})"
            raise InputError("data", given, "what this model's step takes") from error
        if self.head is not None and self.head["w"].shape[1] != dataset.outputs:
            given = f"{dataset.name} ({dataset.task}, {dataset.outputs} outputs)"
            raise InputError("data", given, f"{self.head['w'].shape[1]} outputs, as the head has")
        if not self.reverse:
            return dataset
        if dataset.warmup:
            given = (
                f"{dataset.name}, whose first {dataset.warmup} steps are not scored, for a network that reads backward"
            )
            raise InputError("data", given, "data that are scored at every step, or --direction forward")
        turned = {"x": np.asarray(flip(dataset.x, dataset.lengths, 1))}
        if dataset.task.endswith("_each"):
            turned["y"] = np.asarray(flip(dataset.y, dataset.lengths, 1))
        return replace(dataset, **turned)


def network_of(
    model: str, *, rnn: Sequence[str] | None = None, head: str | None = None, direction: str | None = None
) -> Network | FlaxModel:
    """The network that --model names.

    Args:
      model: PATH.safetensors or PATH.npz with a PyTorch state_dict, PATH.onnx, or "package.module:function".
      rnn: which recurrent layer, where there are several: the prefix of its names in a state_dict, a node of a .onnx
        file (several make a stack, bottom first), or the path of the RNN in a Flax model.
      head: the prefix of the linear layer in a state_dict that reads the outputs for the data's task.
      direction: "forward" or "backward", of a bidirectional layer.
    Raises:
      InputError: a file or function that cannot be read, several recurrent layers and no name, or an option that this
        kind of model has no use for.
    """
    ending = Path(model).suffix.lower()
    if ":" in model and not is_file(model):
        refuse("head", head, "none: a Flax model brings its readout, and (cell, params) have none")
        network = made_by(model, one_name(rnn, model))
        if isinstance(network, FlaxModel):
            refuse("direction", direction, "none: --rnn names the RNN of one direction")
            return network
        return one_way(Network(*network), direction)
    if ending not in READ:
        raise InputError("model", repr(model), f"{FORMS}{ELSEWHERE.get(ending, '')}")
    if ending == ".onnx":
        refuse("head", head, "none: of a .onnx file only the recurrent nodes are read")
        cell, params, options = load_onnx(model, None if rnn is None else rnn[0] if len(rnn) == 1 else rnn)
        if further := options.keys() - {"reverse"}:
            given = f"{model}, which holds {' and '.join(sorted(further))} for a batch of its own"
            raise InputError("model", given, "one for any batch; jrnn.interop.weights.load_onnx reads this one")
        return one_way(Network(cell, params, None, bool(options.get("reverse"))), direction)
    arrays = load_npz(model) if ending == ".npz" else load_safetensors(model)
    prefix = one_name(rnn, model)
    if prefix is not None and any(name.startswith(f"{prefix}.weight_ih") for name in arrays):
        prefix += "."
    cell, params = from_torch(arrays, prefix=prefix)
    known = one_way(Network(cell, params), direction)
    if any(isinstance(layer, Elman) for layer in getattr(known.cell, "cells", (known.cell,))):
        known = replace(known, note="A state_dict does not say an RNN's nonlinearity: tanh is taken for granted.")
    if head is None:
        return known
    width = output_size(known.cell, input_size_of(known.cell, known.params), known.params)
    w = fetch(arrays, f"{head.rstrip('.')}.weight", (None, width))
    name = f"{head.rstrip('.')}.bias"
    bias = fetch(arrays, name, (len(w),)) if name in arrays else np.zeros(len(w), w.dtype)
    return replace(known, head={"w": w.T, "bias": bias})


def one_name(rnn: Sequence[str] | None, model: str) -> str | None:
    """The one name given, or None."""
    if rnn is not None and len(rnn) > 1:
        raise InputError("rnn", f"{list(rnn)} with {model}", "one name: only nodes of a .onnx file make a stack")
    return rnn[0] if rnn else None


def refuse(option: str, given: Any, needed: str) -> None:
    """InputError if the option was given."""
    if given is not None:
        raise InputError(option, repr(given), needed)


def one_way(network: Network, direction: str | None) -> Network:
    """The direction of a bidirectional layer, or the network itself."""
    cell = network.cell
    if not isinstance(cell, Bidirectional):
        if not is_causal(cell) or (isinstance(cell, Stack) and any(not is_causal(layer) for layer in cell.cells)):
            needed = "layers that read one way: what a bidirectional layer above reads comes from both ends"
            raise InputError("model", "a stack of bidirectional layers", needed)
        refuse("direction", direction, "none: this model reads one way")
        return network
    if direction not in ("forward", "backward"):
        raise InputError("direction", repr(direction), "forward or backward: the model is bidirectional")
    backward = direction == "backward"
    chosen = cell.backward if backward else cell.forward
    return replace(network, cell=chosen, params=network.params[direction], reverse=backward)


def input_size_of(cell: Any, params: Params) -> int | None:
    """F where it can be told from the parameters."""
    if isinstance(cell, Stack):
        return input_size_of(cell.cells[0], params[0])
    if isinstance(cell, Wrapper):
        return input_size_of(cell.cell, cell.inner(params))
    if isinstance(params, Mapping) and np.ndim(params.get("w_in", 0)) == 2:
        return params["w_in"].shape[0]
    return None
