"""One RNN, GRU or LSTM node of a .onnx file: each input and attribute of any opset is used, or refused by name."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jrnn.cells import Bidirectional, BidirectionalState, learnable_initial_state
from jrnn.extras import require
from jrnn.interop.weights.layout import GATES, check_shape, fetch, real_array
from jrnn.interop.weights.onnx_layout import from_onnx
from jrnn.interop.weights.onnx_values import OF_INPUTS, SHAPES, Held, Values
from jrnn.types import InputError, Params, State

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")  # the last two of an LSTM only
ALL = ("RNN", "GRU", "LSTM")
ATTRIBUTES = {  # their types, and whose they are
    "activations": ("STRINGS", ALL),
    "activation_alpha": ("FLOATS", ALL),
    "activation_beta": ("FLOATS", ALL),
    "clip": ("FLOAT", ALL),
    "direction": ("STRING", ALL),
    "hidden_size": ("INT", ALL),
    "input_forget": ("INT", ("LSTM",)),
    "layout": ("INT", ALL),
    "linear_before_reset": ("INT", ("GRU",)),
    "output_sequence": ("INT", ALL),  # of opset 1: which outputs are written
}
WAYS = {"forward": 1, "reverse": 1, "bidirectional": 2}
ACTIVATIONS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


class OnnxRNN(NamedTuple):
    """The recurrent part of a .onnx file; `jrnn.unroll(cell, params, xs, **options)` runs it."""

    cell: Any
    """The node's cell, a `Bidirectional`, or a stack where several nodes were named; in a `learnable_initial_state`
    where the file holds an initial state that is the same for every sequence."""
    params: Params
    options: dict[str, Any]
    """`reverse` True where the direction is "reverse"; `initial_state` where the file holds one for each sequence of a
    batch; `lengths`, its sequence_lens. Without them {}."""


def one_rnn(name: str, node: Any, values: Values) -> OnnxRNN:
    """A node as a cell."""
    op, given = node.op_type, attributes_of(name, node)
    for attribute, neutral in (("activation_alpha", []), ("activation_beta", []), ("clip", None), ("input_forget", 0)):
        if given.get(attribute, neutral) != neutral:
            needed = f"none: jrnn.{'elman' if op == 'RNN' else op.lower()} has no such thing"
            raise InputError(f"{attribute} of {name}", given[attribute], needed)
    direction = text(given.get("direction", "forward"))
    if direction not in WAYS:
        raise InputError(f"direction of {name}", repr(direction), f"one of {sorted(WAYS)}")
    for switch in ("layout", "linear_before_reset", "output_sequence"):
        if given.get(switch, 0) not in (0, 1):
            raise InputError(f"{switch} of {name}", given[switch], "0 or 1")
    ways = WAYS[direction]
    functions = activations_of(name, op, given, ways)
    inputs = inputs_of(name, node)
    held = {letter: values.of(inputs[letter], f"{letter} of {name}") for letter in "WRBP" if letter in inputs}
    for letter, one in held.items():
        if isinstance(one, str) or not one.whole:
            source = f"computed from {inputs[letter]!r}, which depends on {one if isinstance(one, str) else SHAPES}"
            raise InputError(f"{letter} of {name}", source, "weights that are in the file")
    arrays = {letter: one.array for letter, one in held.items()}  # pyright: ignore
    hidden = fetch(arrays, "R", (ways, None, given.get("hidden_size"))).shape[2]
    check_shape("R", arrays["R"], (ways, GATES[op.lower()] * hidden, hidden))
    cell, params = from_onnx(
        arrays,
        linear_before_reset=bool(given.get("linear_before_reset", 0)),
        activation=functions[0] if op == "RNN" else "tanh",
    )
    options: dict[str, Any] = {"reverse": True} if direction == "reverse" else {}
    lengths = values.of(inputs["sequence_lens"], f"sequence_lens of {name}") if "sequence_lens" in inputs else OF_INPUTS
    if lengths != OF_INPUTS:
        options["lengths"] = lengths_of(f"sequence_lens of {name}", lengths)
    states = {}
    for letter in "hc":
        if f"initial_{letter}" in inputs:
            what = f"initial_{letter} of {name}"
            found = state_of(what, values.of(inputs[f"initial_{letter}"], what), ways, cell, given.get("layout", 0))
            states |= {} if found is None else {letter: found}
    return started(cell, params, states, options)


def attributes_of(name: str, node: Any) -> dict[str, Any]:
    """{attribute: value}, each known and of its type."""
    types, given = require("onnx").AttributeProto.AttributeType, {}
    own = {attribute: kind for attribute, (kind, ops) in ATTRIBUTES.items() if node.op_type in ops}
    for one in node.attribute:
        what = f"{one.name} of {name}"
        if one.name not in own or one.name in given:
            raise InputError(what, "an attribute", f"those that {node.op_type} has, once each: {sorted(own)}")
        if one.type != types.Value(own[one.name]) or one.ref_attr_name:
            given_type = types.Name(one.type) if one.type in types.values() else one.type
            raise InputError(what, f"type {given_type}{' by reference' * bool(one.ref_attr_name)}", own[one.name])
        given[one.name] = require("onnx.helper").get_attribute_value(one)
    return given


def inputs_of(name: str, node: Any) -> dict[str, str]:
    """{input: the name of its value}, of those that are there."""
    own = INPUTS if node.op_type == "LSTM" else INPUTS[:6]
    if len(node.input) > len(own):
        raise InputError(f"inputs of {name}", len(node.input), f"at most {len(own)}: {', '.join(own)}")
    return {what: value for what, value in zip(own, node.input, strict=False) if value}


def activations_of(name: str, op: str, given: dict[str, Any], ways: int) -> tuple[str, ...]:
    """The functions of each direction, those that jrnn's cell has."""
    default = ACTIVATIONS[op] * ways
    functions = tuple(text(one).lower() for one in given.get("activations", ())) or default
    if functions != default and (op != "RNN" or functions != ("relu",) * ways):
        needed = f"{list(default)}{' or relu' if op == 'RNN' else ''}: jrnn has no others"
        raise InputError(f"activations of {name}", list(functions), needed)
    return functions


def text(value: Any) -> str:
    """An attribute's bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def lengths_of(what: str, held: Held | str) -> np.ndarray:
    """sequence_lens as the lengths of `unroll`."""
    if isinstance(held, str) or not held.whole or held.array.ndim != 1 or held.array.dtype.kind not in "iu":
        given = f"computed from {held}" if isinstance(held, str) else f"{held.array.dtype} of shape {held.array.shape}"
        raise InputError(what, given, "integers [B] in the file, or an input of the model")
    return held.array


def state_of(what: str, held: Held | str, ways: int, cell: Any, layout: int) -> np.ndarray | None:
    """An initial state as [ways, B, H]; None where the model is given it, or it is zero."""
    if held == OF_INPUTS:
        return None
    if isinstance(held, str):
        raise InputError(what, f"computed from {held}", "a value in the file, or an input of the model")
    array = real_array(what, held.array)
    hidden = (cell.forward if isinstance(cell, Bidirectional) else cell).hidden
    if held.whole:
        check_shape(what, array, (None, ways, hidden) if layout else (ways, None, hidden))
    array = array.reshape((1,) * (3 - array.ndim) + array.shape)
    array = np.swapaxes(array, 0, 1) if layout else array
    if array.ndim > 3 or array.shape[0] not in (1, ways) or not array.shape[1] or array.shape[2] not in (1, hidden):
        raise InputError(what, f"shape {held.array.shape}", f"[{ways}, B, {hidden}]")
    array = np.broadcast_to(array, (ways, array.shape[1], hidden))
    return array if np.any(array) else None


def started(cell: Any, params: Params, states: dict[str, np.ndarray], options: dict[str, Any]) -> OnnxRNN:
    """The cell with the initial states of the file: its own, where every sequence has the same."""
    if not states:
        return OnnxRNN(cell, params, options)
    batch = max(array.shape[1] for array in states.values())
    if any(array.shape[1] not in (1, batch) for array in states.values()):
        raise InputError("initial_h", f"shapes {[a.shape for a in states.values()]}", "the batch of initial_c")
    same = all(np.array_equal(array, np.broadcast_to(array[:, :1], array.shape)) for array in states.values())

    def own(way: int, cell: Any, params: Params) -> State:
        zero = cell.initial_state(params, () if same else (batch,))
        full = {x: a[way, 0] if same else np.broadcast_to(a[way], zero.h.shape) for x, a in states.items()}
        return zero._replace(**{x: jnp.asarray(a, zero.h.dtype) for x, a in full.items()})

    both = isinstance(cell, Bidirectional)
    parts = list(cell.parts(params).values()) if both else [(cell, params)]
    own_states = [own(way, *part) for way, part in enumerate(parts)]
    if not same:
        state = BidirectionalState(*own_states) if both else own_states[0]
        return OnnxRNN(cell, params, options | {"initial_state": state})
    cells = [learnable_initial_state(part) for part, _ in parts]
    made = [{"cell": part, "initial_state": state} for (_, part), state in zip(parts, own_states, strict=True)]
    if not both:
        return OnnxRNN(cells[0], made[0], options)
    return OnnxRNN(Bidirectional(*cells), {"forward": made[0], "backward": made[1]}, options)
