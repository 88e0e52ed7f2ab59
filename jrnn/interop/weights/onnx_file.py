"""The LSTM, GRU and RNN nodes of a .onnx file, sub-graphs included; needs the extra `onnx`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jrnn.cells import stack
from jrnn.extras import require
from jrnn.interop.weights.files import error_text, is_file
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
    nodes = nodes_of(model)
    names = list(name) if isinstance(name, tuple | list) else [name]
    if not names or any((each is not None or len(nodes) != 1) and each not in [*nodes] for each in names):
        listed = [f"{each} ({at.node.op_type})" for each, at in nodes.items()]
        needed = f"one of {listed}" if nodes else f"a file with an LSTM, GRU or RNN node: {path} has none"
        raise InputError("name", repr(name), needed)
    chosen = [(str(each), nodes[str(each)]) for each in (each or next(iter(nodes)) for each in names)]
    rnns = [one_rnn(each, at.node, Values(at.graphs, opsets)) for each, at in chosen]
    return rnns[0] if len(rnns) == 1 else stacked(names, rnns)


def stacked(names: Sequence[Any], rnns: Sequence[OnnxRNN]) -> OnnxRNN:
    """Nodes that feed each other as a stack, bottom first."""
    if len({bool(rnn.options.get("reverse")) for rnn in rnns}) > 1:
        raise InputError("name", f"{names}, of different directions", "nodes that all run one way, or all both")
    lengths = [rnn.options.get("lengths") for rnn in rnns]
    if any(not np.array_equal(rnn, lengths[0]) for rnn in lengths):  # pyright: ignore
        raise InputError("name", f"{names}, of different sequence_lens", "nodes that read the same sequences")
    options, states = dict(rnns[0].options), [rnn.options.get("initial_state") for rnn in rnns]
    batches = [len(jax.tree.leaves(state)[0]) for state in states if state is not None]
    if batches:
        options["initial_state"] = tuple(
            rnn.cell.initial_state(rnn.params, batches[:1]) if state is None else state
            for rnn, state in zip(rnns, states, strict=True)
        )
    return OnnxRNN(stack(*(rnn.cell for rnn in rnns)), tuple(rnn.params for rnn in rnns), options)


def read_model(path: str | Path) -> Any:
    """The ModelProto of a file, or InputError."""
    onnx = require("onnx")
    if not is_file(path):
        raise InputError("path", repr(path) if path is None else str(path), "a .onnx file")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # the decoder, the file system and the checks of external data raise their own
        raise InputError(
            "path", f"{path} ({error_text(error)})", "a .onnx file, its external data beside it"
        ) from error
    if not model.HasField("graph"):
        raise InputError("path", f"{path}, in which there is no graph", "a .onnx file")
    return model


def nodes_of(model: Any) -> dict[str, OnnxNode]:
    """Every recurrent node by its name; a name that is there already gets its number as a suffix."""
    nodes: dict[str, OnnxNode] = {}
    for at in recurrent(model.graph, ()):
        name = str(at.node.name or next(filter(None, at.node.output), at.node.op_type))  # bytes where no UTF-8
        nodes[name if name not in nodes else f"{name}#{len(nodes)}"] = at
    return nodes


def recurrent(graph: Any, outside: tuple[Any, ...]) -> Iterator[OnnxNode]:
    """The recurrent nodes of a graph and of the graphs in its nodes."""
    graphs = (*outside, graph)
    for node in graph.node:
        if node.op_type in ACTIVATIONS and node.domain in ("", "ai.onnx"):
            yield OnnxNode(node, graphs)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from recurrent(inner, graphs)
