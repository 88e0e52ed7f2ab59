"""The LSTM, GRU and RNN nodes of a .onnx file, sub-graphs included; needs the extra `onnx`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jrnn.cells import stack
from jrnn.interop.extras import require
from jrnn.interop.weights.layout import fetch
from jrnn.interop.weights.onnx_layout import from_onnx
from jrnn.types import InputError, Params

PLACES = {"W": 1, "R": 2, "B": 3, "P": 7}  # among a node's inputs
ACTIVATIONS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


class OnnxRNN(NamedTuple):
    """The recurrent part of a .onnx file; `jrnn.unroll(cell, params, xs, **options)` runs it."""

    cell: Any
    """The node's cell; a `Bidirectional`, or a stack where several nodes were named."""
    params: Params
    options: dict[str, Any]
    """{"reverse": True} where the node's direction is "reverse", else {}."""


class OnnxNode(NamedTuple):
    """A recurrent node and where it stands."""

    node: Any
    """The NodeProto."""
    graphs: tuple[Any, ...]
    """The GraphProtos that it sees, the outermost first."""


def load_onnx(path: str | Path, name: str | Sequence[str] | None = None) -> OnnxRNN:
    """The weights of a .onnx file's LSTM, GRU or RNN, wherever it stands: branches of If and bodies of loops too.

    Weights may be initializers, constants, or computed from those alone (gates put in another order, dequantised).
    xs is [T, *B, F] whatever the node's `layout`, and h_0 zero unless `unroll` is given one.

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
    names = [name] if name is None or isinstance(name, str) else list(name)
    if not names or any(one not in found and (one is not None or len(found) != 1) for one in names):
        listed = [f"{one} ({at.node.op_type})" for one, at in found.items()]
        needed = f"one of {listed}" if found else f"a file with an LSTM, GRU or RNN node: {path} has none"
        raise InputError("name", repr(name), needed)
    made = [one_rnn(str(one), found[one], opsets) for one in (one or next(iter(found)) for one in names)]
    if len(made) == 1:
        return made[0]
    if len({bool(one.options) for one in made}) > 1:
        raise InputError("name", f"{names}, of different directions", "nodes that all run one way, or all both")
    return OnnxRNN(stack(*(one.cell for one in made)), tuple(one.params for one in made), made[0].options)


def read_model(path: str | Path) -> Any:
    """The ModelProto of a file, or InputError."""
    onnx, decoding = require("onnx"), require("google.protobuf.message")
    if not Path(path).is_file():
        raise InputError("path", str(path), "a .onnx file")
    try:
        return onnx.load(str(path))
    except (decoding.DecodeError, onnx.checker.ValidationError, OSError) as error:
        raise InputError("path", f"{path} ({error})", "a .onnx file, its external data beside it") from error


def nodes_of(model: Any) -> dict[str, OnnxNode]:
    """Every recurrent node by name; a name that comes again gets its place behind it."""
    found: dict[str, OnnxNode] = {}
    for at in recurrent(model.graph, ()):
        name = at.node.name or next(filter(None, at.node.output))
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


def one_rnn(name: str, at: OnnxNode, opsets: dict[str, int]) -> OnnxRNN:
    """A node as a cell."""
    helper, op = require("onnx.helper"), at.node.op_type
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in at.node.attribute}
    for attribute in ("clip", "input_forget"):
        if given.get(attribute):
            raise InputError(f"{attribute} of {name}", given[attribute], f"none: jrnn.{op.lower()} has no such thing")
    direction = given.get("direction", b"forward").decode()
    ways = 2 if direction == "bidirectional" else 1
    default = ACTIVATIONS[op] * ways
    functions = tuple(one.decode().lower() for one in given.get("activations", ())) or default
    if functions != default and (op != "RNN" or functions != ("relu",) * ways):
        needed = f"{list(default)}{' or relu' if op == 'RNN' else ''}: jrnn has no others"
        raise InputError(f"activations of {name}", list(functions), needed)
    arrays = {}
    for letter, place in PLACES.items():
        if place < len(at.node.input) and at.node.input[place]:
            arrays[letter] = constant(at.node.input[place], at.graphs, opsets, f"{letter} of {name}")
    fetch(arrays, "R", (ways, None, given.get("hidden_size")))
    after = bool(given.get("linear_before_reset", 0))
    cell, params = from_onnx(arrays, linear_before_reset=after, activation=functions[0] if op == "RNN" else "tanh")
    return OnnxRNN(cell, params, {"reverse": True} if direction == "reverse" else {})


def constant(name: str, graphs: tuple[Any, ...], opsets: dict[str, int], what: str) -> np.ndarray:
    """The value of a name that needs none of the model's inputs, by ONNX's own evaluator.

    Raises:
      InputError: it depends on an input of the model.
    """
    helper = require("onnx.helper")
    for depth, graph in reversed(list(enumerate(graphs))):
        for tensor in graph.initializer:
            if tensor.name == name:
                return require("onnx.numpy_helper").to_array(tensor)
        for node in graph.node:
            if name in node.output and not any(attribute.HasField("g") for attribute in node.attribute):
                inputs = {one: constant(one, graphs[: depth + 1], opsets, what) for one in node.input if one}
                ends = [[helper.make_empty_tensor_value_info(one) for one in names] for names in (inputs, [name])]
                program = require("onnx.reference").ReferenceEvaluator(
                    helper.make_graph([node], "one", *ends), opsets=opsets
                )
                return np.asarray(program.run(None, inputs)[0])
    raise InputError(
        what, f"computed from {name!r}, which depends on the model's inputs", "weights that are in the file"
    )
