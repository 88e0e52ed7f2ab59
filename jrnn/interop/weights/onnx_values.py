"""What a name in a .onnx graph holds, as far as the file says it: by ONNX's own evaluator, node after node."""

import math
from typing import Any, NamedTuple

import numpy as np

from jrnn.extras import require
from jrnn.interop.weights.files import error_text
from jrnn.types import InputError

MOST = 2**30  # numbers in one computed array; a few bytes of a file can ask for any number
OF_INPUTS, SHAPES, RANDOM = "the model's inputs", "the shapes of the model's inputs", "random numbers"
DRAWS = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
# operators that only move numbers about: where all numbers are one, its shape need not be known
MOVES = set("Cast Expand Flatten Gather Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split())


class Held(NamedTuple):
    """A value that the file says."""

    array: np.ndarray
    whole: bool = True
    """False: it is stretched to a shape that depends on the model's inputs."""


class Values:
    """The values of the names that a node can see.

    Args:
      graphs: the GraphProtos around the node, the outermost first.
      opsets: {domain: version}.
    """

    def __init__(self, graphs: tuple[Any, ...], opsets: dict[str, int]):
        self.opsets, self.known, self.makers, self.tensors = opsets, {}, {}, {}
        self.given = {each.name for graph in graphs for each in graph.input}
        for graph in graphs:
            self.makers |= {name: node for node in graph.node for name in node.output}
            self.tensors |= {tensor.name: tensor for tensor in graph.initializer}

    def of(self, name: str, what: str) -> Held | str:
        """The value of a name, or what it depends on: OF_INPUTS, SHAPES or RANDOM.

        Raises:
          InputError: it cannot be computed; `what` is the error's argument.
        """
        waiting, begun = [name], set()
        while waiting:
            top = waiting[-1]
            if top not in self.known:
                missing = [each for each in self.needs(top, what) if each not in self.known]
                if missing and top in begun:
                    raise InputError(what, f"{top!r}, which is computed from itself", "a graph without cycles")
                if missing:
                    begun.add(top)
                    waiting += missing
                    continue
                self.known[top] = self.made(top, what)
            waiting.pop()
        return self.known[name]

    def needs(self, name: str, what: str) -> list[str]:
        """The names that this one is computed from."""
        if name in self.tensors or name in self.given:
            return []
        if name not in self.makers:
            raise InputError(
                what, f"{name!r}, which nothing in the file makes", "a complete model, without sparse initializers"
            )
        return [each for each in self.makers[name].input if each]

    def made(self, name: str, what: str) -> Held | str:
        """The value of a name whose inputs are known."""
        if name in self.tensors:
            return Held(array_of(self.tensors[name], what))
        if name in self.given:
            return OF_INPUTS
        node = self.makers[name]
        inputs = {each: self.known[each] for each in node.input if each}
        if node.op_type in DRAWS:
            return RANDOM
        if any(attribute.HasField("g") for attribute in node.attribute):
            return OF_INPUTS  # a branch or a loop
        first = next(iter(inputs.values()), None)
        if node.op_type == "Identity" and first is not None:
            return first
        if all(isinstance(each, Held) and each.whole for each in inputs.values()):
            return self.evaluated(node, name, {key: each.array for key, each in inputs.items()}, what)  # pyright: ignore
        return stretched(node, first, what) or unknown(node, [*inputs.values()])

    def evaluated(self, node: Any, name: str, inputs: dict[str, np.ndarray], what: str) -> Held:
        """One output of a node by ONNX's reference evaluator, which may raise anything."""
        helper, given = require("onnx.helper"), list(inputs.values())
        try:
            if (size := size_of(node.op_type, given)) > MOST:
                raise MemoryError(f"{size:.3g} numbers")
            ends = [[helper.make_empty_tensor_value_info(each) for each in names] for names in (inputs, [name])]
            graph = helper.make_graph([node], "one", *ends)
            program = require("onnx.reference").ReferenceEvaluator(graph, opsets=self.opsets)
            return Held(np.asarray(program.run(None, inputs)[0]))
        except Exception as error:
            given = f"{name!r}, which {node.op_type} does not make ({error_text(error)})"
            raise InputError(what, given, "weights that are in the file") from error


def size_of(op: str, inputs: list[np.ndarray]) -> int:
    """The number of elements that an operator makes which turns few elements into many; 0 for all others."""
    if op == "ConstantOfShape":
        return math.prod(int(n) for n in inputs[0])
    if op in ("Expand", "Tile"):
        return (inputs[0].size if op == "Tile" else 1) * math.prod(int(n) for n in inputs[1])
    return 0


def stretched(node: Any, first: Held | str | None, what: str) -> Held | None:
    """The result of a node where only its shape is unknown; None for other nodes."""
    if node.op_type == "ConstantOfShape":
        values = [array_of(each.t, what) for each in node.attribute if each.name == "value"]
        return Held((values[0] if values else np.zeros(1, np.float32)).reshape(()), whole=False)
    if isinstance(first, Held) and node.op_type == "Expand" and first.whole:
        return Held(first.array, whole=False)
    if isinstance(first, Held) and node.op_type in MOVES and first.array.size == 1:
        return Held(first.array.reshape(()), whole=False)
    return None


def unknown(node: Any, inputs: list[Held | str]) -> str:
    """The reason why a node's result is not in the file."""
    of = {each for each in inputs if isinstance(each, str)}
    if RANDOM in of or OF_INPUTS not in of:
        return RANDOM if RANDOM in of else SHAPES
    return SHAPES if node.op_type in ("Shape", "Size") else OF_INPUTS


def array_of(tensor: Any, what: str) -> np.ndarray:
    """A TensorProto as NumPy; InputError where its data are short, or of a type that is none."""
    try:
        return require("onnx.numpy_helper").to_array(tensor)
    except Exception as error:  # onnx raises whatever comes
        given = f"the tensor {tensor.name!r} with dims {list(tensor.dims)} ({error_text(error)})"
        raise InputError(what, given, "a tensor whose data are in the file") from error
