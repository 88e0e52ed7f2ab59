"""The LSTM, GRU and RNN nodes of a .onnx file, sub-graphs included; needs the extra `onnx`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jrnn.cells import stack
from jrnn.extras import require
from jrnn.interop.weights.files import is_file, one_line
from jrnn.interop.weights.onnx_node import ACTIVATIONS, OnnxRNN, one_rnn
from jrnn.interop.weights.onnx_values import Values
from jrnn.types import InputError


class OnnxNode(NamedTuple):
    """A recurrent node and where it stands."""

    node: Any
    """The NodeProto."""
    graphs: tuple[Any, ...]
    """The GraphProtos that it sees, the outermost first."""


def load_onnx(path: str | Path, name: str | Sequence[str] | None = None) -> OnnxRNN:
    """The weights of a .onnx file's LSTM, GRU or RNN, wherever it stands: branches of If and bodies of loops too.

    Weights may be initializers, constants, or computed from those alone (gates put in another order, dequantised).
    Initial states and sequence_lens that are in the file come back with the cell. Those that the model is given, or
    computes from its inputs, are for `unroll` to be given: h_0 is zero without. xs is [T, *B, F] whatever the `layout`.

    Args:
      path: the file.
      name: the node's, or that of its first output where it has none; needed where there are several. Several names,
        bottom first, make a stack of nodes that feed each other.
    Raises:
      InputError: no such file, no recurrent node, several and no name, weights that are not in the file, or what jrnn's
        cells have not: peepholes, `clip`, `input_forget`, other activations.
    """
    model = read_model(path)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    found = nodes_of(model)
    names = list(name) if isinstance(name, tuple | list) else [name]
    if not names or any((one is not None or len(found) != 1) and one not in [*found] for one in names):
        listed = [f"{one} ({at.node.op_type})" for one, at in found.items()]
        needed = f"one of {listed}" if found else f"a file with an LSTM, GRU or RNN node: {path} has none"
        raise InputError("name", repr(name), needed)
    chosen = [(str(one), found[str(one)]) for one in (one or next(iter(found)) for one in names)]
    made = [one_rnn(one, at.node, Values(at.graphs, opsets)) for one, at in chosen]
    return made[0] if len(made) == 1 else stacked(names, made)


def stacked(names: Sequence[Any], made: Sequence[OnnxRNN]) -> OnnxRNN:
    """Nodes that feed each other as a stack, bottom first."""
    if len({bool(one.options.get("reverse")) for one in made}) > 1:
        raise InputError("name", f"{names}, of different directions", "nodes that all run one way, or all both")
    lengths = [one.options.get("lengths") for one in made]
    if any(not np.array_equal(one, lengths[0]) for one in lengths):  # pyright: ignore
        raise InputError("name", f"{names}, of different sequence_lens", "nodes that read the same sequences")
    options, states = dict(made[0].options), [one.options.get("initial_state") for one in made]
    batches = [len(jax.tree.leaves(state)[0]) for state in states if state is not None]
    if batches:
        options["initial_state"] = tuple(
            one.cell.initial_state(one.params, batches[:1]) if state is None else state
            for one, state in zip(made, states, strict=True)
        )
    return OnnxRNN(stack(*(one.cell for one in made)), tuple(one.params for one in made), options)


def read_model(path: str | Path) -> Any:
    """The ModelProto of a file, or InputError."""
    onnx = require("onnx")
    if not is_file(path):
        raise InputError("path", repr(path) if path is None else str(path), "a .onnx file")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # the decoder, the file system and the checks of external data raise their own
        raise InputError("path", f"{path} ({one_line(error)})", "a .onnx file, its external data beside it") from error
    if not model.HasField("graph"):
        raise InputError("path", f"{path}, in which there is no graph", "a .onnx file")
    return model


def nodes_of(model: Any) -> dict[str, OnnxNode]:
    """Every recurrent node by name; a name that comes again gets its place behind it."""
    found: dict[str, OnnxNode] = {}
    for at in recurrent(model.graph, ()):
        name = str(at.node.name or next(filter(None, at.node.output), at.node.op_type))  # bytes where no UTF-8
        found[name if name not in found else f"{name}#{len(found)}"] = at
    return found


def recurrent(graph: Any, outside: tuple[Any, ...]) -> Iterator[OnnxNode]:
    """The recurrent nodes of a graph and of the graphs in its nodes."""
    graphs = (*outside, graph)
    for node in graph.node:
        if node.op_type in ACTIVATIONS and node.domain in ("", "ai.onnx"):
            yield OnnxNode(node, graphs)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from recurrent(inner, graphs)
