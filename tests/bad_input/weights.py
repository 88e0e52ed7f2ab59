"""Bad input to the readers and writers of other libraries' weights, and to `jrnn diagnose --model`."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import jrnn
from jrnn.cli import network_of
from jrnn.interop import weights

from .rows import Call, Command

F, H = 2, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@cache
def state() -> dict[str, np.ndarray]:
    """The state_dict of an nn.LSTM(2, 2)."""
    shapes = {"weight_ih": (4 * H, F), "weight_hh": (4 * H, H), "bias_ih": (4 * H,), "bias_hh": (4 * H,)}
    return {f"{name}_l0": np.ones(shape, np.float32) for name, shape in shapes.items()}


@cache
def gru_params() -> dict[str, np.ndarray]:
    """Those of jrnn.gru(2)."""
    return {"w_in": np.ones((F, 6)), "w_rec": np.ones((H, 6)), "bias": np.ones(6), "bias_rec": np.ones(H)}


def member(shape: str = "(2,)", descr: str = "'<f4'", data: bytes = b"\0" * 8, version: bytes = b"\x01\x00") -> bytes:
    """A .npy member with a header of one's own."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


def npz(content: bytes, path: Path, name: str = "weight_ih_l0.npy", **options: Any) -> None:
    with zipfile.ZipFile(path / "a.npz", "w", **options) as archive:
        archive.writestr(name, content)


def pickled(path: Path) -> None:
    np.savez(path / "a.npz", weight_ih_l0=np.array([{}, 1], dtype=object))


def encrypted(path: Path) -> None:
    """The flag of encryption, in both places."""
    npz(member(), path)
    data = bytearray((path / "a.npz").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (path / "a.npz").write_bytes(data)


def compressed_by(method: int, path: Path) -> None:
    """A method that is none, or one that the bytes are not of."""
    npz(member(), path)
    data = bytearray((path / "a.npz").read_bytes())
    data[8:10] = struct.pack("<H", method)
    place = data.index(b"PK\x01\x02") + 10
    data[place : place + 2] = struct.pack("<H", method)
    (path / "a.npz").write_bytes(data)


def cut(path: Path) -> None:
    np.savez(path / "a.npz", **state())
    whole = (path / "a.npz").read_bytes()
    (path / "a.npz").write_bytes(whole[: len(whole) // 2])


def flipped(path: Path) -> None:
    """One byte of the data, which the checksum shows."""
    npz(member(data=b"abcdefgh"), path)
    (path / "a.npz").write_bytes((path / "a.npz").read_bytes().replace(b"abcdefgh", b"abcdefgx"))


def bomb(path: Path) -> None:
    """Two members that claim 8e8 bytes each in their directory entries: nothing is unpacked to find that out."""
    with zipfile.ZipFile(path / "a.npz", "w") as archive:
        for name in ("a.npy", "b.npy"):
            archive.writestr(name, member())
    data = bytearray((path / "a.npz").read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 24 : place + 28] = struct.pack("<I", 800_000_000)
        place = data.find(b"PK\x01\x02", place + 1)
    (path / "a.npz").write_bytes(data)


def single(path: Path) -> None:
    np.save(path / "a.npy", np.ones(3))
    (path / "a.npy").rename(path / "a.npz")


NPZ: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "pickles": (pickled, ("weight_ih_l0", "allow_pickle")),
    "an encrypted member": (encrypted, ("weight_ih_l0", "encrypted")),
    "an unknown compression": (partial(compressed_by, 93), ("weight_ih_l0",)),
    "bytes that are not deflated": (partial(compressed_by, 8), ("weight_ih_l0",)),
    "a header of 9,000 parentheses": (partial(npz, member("(" * 9000)), ("weight_ih_l0",)),
    "a header that is no Python": (partial(npz, member("(2,), 1 + ")), ("weight_ih_l0",)),
    "a header without end": (partial(npz, member()[:30]), ("weight_ih_l0",)),
    "a version of .npy that is none": (partial(npz, member(version=b"\x09\x00")), ("weight_ih_l0",)),
    "no .npy in it": (partial(npz, b"text"), ("weight_ih_l0", "magic")),
    "a shape of 1e12": (partial(npz, member("(1000000000000,)")), ("weight_ih_l0", "1000000000000")),
    "a shape that is too short": (partial(npz, member("(1,)")), ("weight_ih_l0", "bytes")),
    "a negative shape": (partial(npz, member("(-2,)")), ("weight_ih_l0",)),
    "a shape of text": (partial(npz, member("('2',)")), ("weight_ih_l0",)),
    "a type that is none": (partial(npz, member(descr="'<q9'")), ("weight_ih_l0",)),
    "1.6e9 bytes in a small file": (bomb, ("1.6e+09",)),
    "half a file": (cut, ("a.npz",)),
    "a changed byte": (flipped, ("weight_ih_l0", "CRC")),
    "a single array": (single, ("zip",)),
    "no arrays": (partial(npz, b"text", name="readme.txt"), ("without arrays",)),
    "text": (lambda path: (path / "a.npz").write_text("none"), ("a.npz",)),
    "nothing": (lambda path: (path / "a.npz").write_bytes(b""), ("a.npz",)),
    "a folder": (lambda path: (path / "a.npz").mkdir(), ("a.npz",)),
    "no such file": (lambda path: None, ("a.npz",)),
}


def tensors(path: Path, header: Any, data: bytes = b"", size: int | None = None) -> None:
    """A .safetensors file with a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (path / "a.safetensors").write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + data)


def of_type(dtype: str, shape: list[int], size: int, path: Path, end: int | None = None) -> None:
    offsets = [0, size if end is None else end]
    tensors(path, {"weight_ih_l0": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, b"\0" * size)


SAFETENSORS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "float8 e4m3": (partial(of_type, "F8_E4M3", [4], 4), ("weight_ih_l0",)),
    "float8 e5m2": (partial(of_type, "F8_E5M2", [4], 4), ("weight_ih_l0",)),
    "float4": (partial(of_type, "F4", [4], 2), ("a.safetensors",)),
    "a type that is none": (partial(of_type, "F7", [4], 4), ("a.safetensors",)),
    "a shape of 1e12": (partial(of_type, "F32", [10**12], 4), ("a.safetensors",)),
    "offsets past the end": (partial(of_type, "F32", [1], 4, end=400), ("a.safetensors",)),
    "a header longer than the file": (partial(tensors, header={}, size=10**6), ("a.safetensors",)),
    "a header of 2**63 bytes": (partial(tensors, header={}, size=2**63), ("a.safetensors",)),
    "a header that is no JSON": (partial(tensors, header=b"{nothing"), ("a.safetensors",)),
    "a header that is a list": (partial(tensors, header=[1, 2]), ("a.safetensors",)),
    "text": (lambda path: (path / "a.safetensors").write_text("none"), ("a.safetensors",)),
    "nothing": (lambda path: (path / "a.safetensors").write_bytes(b""), ("a.safetensors",)),
    "a folder": (lambda path: (path / "a.safetensors").mkdir(), ("a.safetensors",)),
    "no such file": (lambda path: None, ("a.safetensors",)),
}


def model(
    path: Path,
    op: str = "LSTM",
    *,
    inputs: tuple[str, ...] = ("X", "W", "R", "B"),
    drop: tuple[str, ...] = (),
    more: dict[str, np.ndarray] | None = None,
    before: Callable[[Any], list[Any]] = lambda helper: [],
    change: Callable[[Any], Any] = lambda graph: None,
    **attributes: Any,
) -> None:
    """A .onnx file of one node, with something wrong in it."""
    from onnx import helper, numpy_helper

    width = GATES.get(op, 1) * H
    shapes = {"W": (1, width, F), "R": (1, width, H), "B": (1, 2 * width)}
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()} | (more or {})
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name not in drop]
    node = helper.make_node(op, list(inputs), ["Y"], name="rnn", **attributes)
    ends = [[helper.make_tensor_value_info(name, 1, None)] for name in ("X", "Y")]
    graph = helper.make_graph([*before(helper), node], "g", *ends, stored)
    change(graph)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (path / "a.onnx").write_bytes(made.SerializeToString())


def tensor(name: str, **fields: Any) -> Callable[[Any], None]:
    """Changes a stored tensor."""

    def change(graph: Any) -> None:
        one = next(tensor for tensor in graph.initializer if tensor.name == name)
        for field, value in fields.items():
            if field == "dims":
                del one.dims[:]
                one.dims.extend(value)
            else:
                setattr(one, field, value)

    return change


def tensor_file(path: Path) -> None:
    from onnx import numpy_helper

    (path / "a.onnx").write_bytes(numpy_helper.from_array(np.ones(3)).SerializeToString())


def half_a_model(path: Path) -> None:
    model(path)
    whole = (path / "a.onnx").read_bytes()
    (path / "a.onnx").write_bytes(whole[: len(whole) // 2])


def circle(helper: Any) -> list[Any]:
    return [helper.make_node("Neg", ["b"], ["R"]), helper.make_node("Neg", ["R"], ["b"])]


def grown(op: str, helper: Any) -> list[Any]:
    return [helper.make_node(op, ["one", "many"] if op != "ConstantOfShape" else ["many"], ["R"])]


MANY = {"one": np.ones((1, 1, 1), np.float32), "many": np.array([10**4] * 3)}
WITH_H = ("X", "W", "R", "B", "", "h")


def made_by(op: str) -> Callable[[Any], list[Any]]:
    return lambda helper: [helper.make_node(op, ["X"], ["R"])]


ONNX: dict[str, tuple[Callable[[Path], Any], str, tuple[str, ...]]] = {
    "direction up": (partial(model, direction="up"), "direction of rnn", ("'up'", "bidirectional")),
    "direction 1": (partial(model, direction=1), "direction of rnn", ("INT", "STRING")),
    "an unknown attribute": (partial(model, depth=2), "depth of rnn", ("hidden_size",)),
    "clip": (partial(model, clip=1.0), "clip of rnn", ("1.0",)),
    "clip of zero": (partial(model, clip=0.0), "clip of rnn", ("0.0",)),
    "input_forget": (partial(model, input_forget=1), "input_forget of rnn", ("1",)),
    "layout 2": (partial(model, layout=2), "layout of rnn", ("0 or 1",)),
    "linear_before_reset of an LSTM": (partial(model, linear_before_reset=1), "linear_before_reset of rnn", ()),
    "activation_alpha": (partial(model, activation_alpha=[0.2]), "activation_alpha of rnn", ("0.2",)),
    "activation_beta": (partial(model, activation_beta=[0.5]), "activation_beta of rnn", ("0.5",)),
    "hard gates": (partial(model, activations=["HardSigmoid", "Tanh", "Tanh"]), "activations of rnn", ("hardsig",)),
    "too few activations": (partial(model, activations=["Sigmoid"]), "activations of rnn", ("tanh",)),
    "another hidden_size": (partial(model, hidden_size=3), "R", ("(1, 8, 2)", "3")),
    "peepholes": (
        partial(model, inputs=("X", "W", "R", "B", "", "", "", "P"), more={"P": np.ones((1, 6), np.float32)}),
        "P",
        ("no peepholes",),
    ),
    "nine inputs": (partial(model, inputs=("X", "W", "R", "B", "", "", "", "", "W")), "inputs of rnn", ("9",)),
    "an LSTM with a GRU's weights": (
        partial(model, more={"W": np.ones((1, 6, 2)), "R": np.ones((1, 6, 2)), "B": np.ones((1, 12))}),
        "R",
        ("(1, 6, 2)", "[1, 8, 2]"),
    ),
    "initial_h stretched from four axes": (
        partial(
            model,
            inputs=WITH_H,
            more={"one": np.ones((1, 1, 1, H), np.float32)},
            before=lambda helper: [
                helper.make_node("Shape", ["X"], ["s"]),
                helper.make_node("Expand", ["one", "s"], ["h"]),
            ],
        ),
        "initial_h of rnn",
        ("(1, 1, 1, 2)",),
    ),
    "no R": (partial(model, inputs=("X", "W")), "R", ("none among",)),
    "R that nothing makes": (partial(model, drop=("R",)), "R of rnn", ("nothing in the file",)),
    "R of the inputs": (partial(model, drop=("R",), before=made_by("Neg")), "R of rnn", ("model's inputs",)),
    "R of shapes": (partial(model, drop=("R",), before=made_by("Shape")), "R of rnn", ("shapes",)),
    "R drawn": (partial(model, drop=("R",), before=made_by("RandomNormalLike")), "R of rnn", ("random",)),
    "R in a circle": (partial(model, drop=("R",), before=circle), "R of rnn", ("itself",)),
    "an unknown operator": (
        partial(model, drop=("R",), before=lambda helper: [helper.make_node("Mystery", ["W"], ["R"])]),
        "R of rnn",
        ("Mystery",),
    ),
    "an operator that fails": (
        partial(model, drop=("R",), before=lambda helper: [helper.make_node("MatMul", ["W", "B"], ["R"])]),
        "R of rnn",
        ("MatMul",),
    ),
    **{
        f"{op} of 1e12": (partial(model, drop=("R",), more=MANY, before=partial(grown, op)), "R of rnn", ("1e+12",))
        for op in ("ConstantOfShape", "Expand", "Tile")
    },
    "short data": (partial(model, change=tensor("R", raw_data=b"\0" * 4)), "R of rnn", ("'R'",)),
    "dims of 1e12": (partial(model, change=tensor("R", dims=[1, 8, 10**12])), "R of rnn", ("1000000000000",)),
    "type 99": (partial(model, change=tensor("R", data_type=99)), "R of rnn", ("'R'",)),
    "int8 weights": (partial(model, more={"R": np.ones((1, 8, 2), np.int8)}), "R", ("int8", "dequantise")),
    "complex weights": (partial(model, more={"R": np.ones((1, 8, 2), np.complex64)}), "R", ("complex64",)),
    "text as weights": (partial(model, more={"R": np.full((1, 8, 2), "w", object)}), "R", ("need real numbers",)),
    "initial_h of another shape": (
        partial(model, inputs=WITH_H, more={"h": np.ones((2, 3, H), np.float32)}),
        "initial_h of rnn",
        ("(2, 3, 2)",),
    ),
    "initial_h without a batch": (
        partial(model, inputs=WITH_H, more={"h": np.ones((1, 0, H), np.float32)}),
        "initial_h of rnn",
        ("(1, 0, 2)",),
    ),
    "initial_h of integers": (
        partial(model, inputs=WITH_H, more={"h": np.ones((1, 3, H), np.int32)}),
        "initial_h of rnn",
        ("int32",),
    ),
    "initial_h drawn": (
        partial(model, inputs=WITH_H, before=lambda helper: [helper.make_node("RandomNormal", [], ["h"], shape=[1])]),
        "initial_h of rnn",
        ("random",),
    ),
    "sequence_lens of floats": (
        partial(model, inputs=("X", "W", "R", "B", "n"), more={"n": np.ones(3, np.float32)}),
        "sequence_lens of rnn",
        ("float32",),
    ),
    "sequence_lens of two axes": (
        partial(model, inputs=("X", "W", "R", "B", "n"), more={"n": np.ones((3, 1), np.int32)}),
        "sequence_lens of rnn",
        ("(3, 1)",),
    ),
    "no such node": (partial(model, op="Tanh", inputs=("X",)), "name", ("LSTM, GRU or RNN",)),
    "no node at all": (partial(model, change=lambda graph: graph.ClearField("node")), "name", ("LSTM, GRU or RNN",)),
    "nothing": (lambda path: (path / "a.onnx").write_bytes(b""), "path", ("no graph",)),
    "text": (lambda path: (path / "a.onnx").write_text("none"), "path", ("a.onnx",)),
    "another protobuf": (tensor_file, "path", ("a.onnx", "no graph")),
    "half a file": (half_a_model, "path", ("a.onnx", "DecodeError")),
    "a folder": (lambda path: (path / "a.onnx").mkdir(), "path", ("a.onnx",)),
    "no such file": (lambda path: None, "path", ("a.onnx",)),
}
SAYS = {  # what only a hint of its own can say
    ".pt": ("numpy.savez", "model.state_dict()"),
    ".pth": ("numpy.savez", "model.state_dict()"),
    ".bin": ("numpy.savez", "torch.load"),
    ".ckpt": ("numpy.savez", '["state_dict"]'),
    ".h5": ("from_keras", "recurrent_activation"),
    ".keras": ("from_keras", "recurrent_activation"),
    ".pkl": ("pickle runs the code", "function of yours"),
    ".msgpack": ("flax.serialization",),
}
SOURCE = """
import sys
import jrnn

def leaves(): sys.exit(3)
def fails(): raise KeyError("weights")
def deep(): return deep()
def text(): return "a", "b"
def kind(): return jrnn.cells.GRU, {}
def bare(): return jrnn.gru(2)
def other(): return jrnn.gru(2), {"w": 1}
def none(): return jrnn.gru(2), None
def asks(size): return size
"""
FUNCTIONS = {
    "leaves": ("SystemExit: 3", "bad_models.py"),
    "fails": ("KeyError", "'weights'"),
    "deep": ("RecursionError",),
    "text": ("returns (str",),
    "kind": ("returns (type",),
    "bare": ("returns GRU",),
    "other": ("do not fit its GRU", "['w']"),
    "none": ("do not fit its GRU", "NoneType"),
    "asks": ("'size'",),
    "nothing_such": ("no attribute",),
}


def source(path: Path, text: str = SOURCE, name: str = "bad_models.py") -> None:
    (path / name).write_text(text)


def data(path: Path) -> None:
    np.savez(path / "d.npz", x=np.ones((8, 3, F), np.float32), y=np.arange(8) % 2)


def given(name: str, model: str, words: tuple[str, ...], files: Callable[[Path], Any], *further: str) -> Command:
    """`jrnn diagnose --model`."""

    def written(path: Path) -> None:
        data(path)
        files(path)

    return Command(name, ("diagnose", "--model", model, "--data", "d.npz", *further), words, written)


def keras(**options: Any) -> Any:
    return weights.from_keras([np.ones((F, 8)), np.ones((H, 8)), np.ones(8)], **options)


def module(name: str) -> Any:
    """jrnn's or Flax's module of a room, imported when a row is run."""
    import importlib

    return importlib.import_module(name)


def carried(cell: Any, carry: Any) -> Any:
    room, rngs = module("jrnn.interop.nnx"), module("flax.nnx").Rngs(0)
    return room.RNN(cell, F, rngs=rngs)(np.zeros((1, 2, F), np.float32), initial_carry=carry)


def refused_parameters(to: Callable[..., Any], cell: Any) -> Callable[[], Any]:
    return lambda: to(cell, gru_params())


ROWS = [
    *(
        Call(f"npz: {name}", "path", lambda: weights.load_npz("a.npz"), words, files)
        for name, (files, words) in NPZ.items()
    ),
    *(
        Call(f"safetensors: {name}", "path", lambda: weights.load_safetensors("a.safetensors"), words, files)
        for name, (files, words) in SAFETENSORS.items()
    ),
    *(
        Call(f"onnx: {name}", argument, lambda: weights.load_onnx("a.onnx"), words, files)
        for name, (files, argument, words) in ONNX.items()
    ),
    Call("onnx: a name that is a number", "name", lambda: weights.load_onnx("a.onnx", 3), ("3",), model),  # pyright: ignore
    Call("onnx: a path that is a number", "path", lambda: weights.load_onnx(3), ("3",)),  # pyright: ignore
    Call("onnx: a path with a NUL", "path", lambda: weights.load_onnx("a\0.onnx"), ("onnx",)),
    *(
        Call(f"{to.__name__}: an LSTM with a GRU's parameters", "params['w_in']", refused_parameters(to, jrnn.lstm(H)))
        for to in (weights.to_torch, weights.to_keras, weights.to_linen, weights.to_nnx, weights.to_equinox)
    ),
    *(
        Call(f"{to.__name__}: an LSTM with a GRU's parameters", "params['w_in']", refused_parameters(to, jrnn.lstm(H)))
        for to in (weights.to_haiku, weights.to_onnx)
    ),
    Call("from_torch: a list", "state_dict", lambda: weights.from_torch([1]), ("list",)),  # pyright: ignore
    Call("from_torch: names that are numbers", "state_dict", lambda: weights.from_torch({1: 2}), ("weight_ih_l0",)),  # pyright: ignore
    Call("save_safetensors: a list", "arrays", lambda: weights.save_safetensors("b.safetensors", [1]), ("list",)),  # pyright: ignore
    Call("save_safetensors: text", "w", lambda: weights.save_safetensors("b.safetensors", {"w": "text"}), ("<U4",)),
    Call("save_safetensors: objects", "w", lambda: weights.save_safetensors("b.safetensors", {"w": {}}), ("object",)),
    Call(
        "save_safetensors: complex", "w", lambda: weights.save_safetensors("b.safetensors", {"w": 1j}), ("complex128",)
    ),
    Call("save_safetensors: no folder", "path", lambda: weights.save_safetensors("none/b", {"w": 1.0}), ("none/b",)),
    *(
        Call(
            f"from_torch: {name}",
            "weight_hh_l0",
            lambda change=change: weights.from_torch(state() | {"weight_hh_l0": change(state()["weight_hh_l0"])}),
            words,
        )
        for name, change, words in (
            ("complex", lambda a: a + 1j, ("complex64",)),
            ("int8", lambda a: a.astype(np.int8), ("int8", "dequantise")),
            ("text", lambda a: a.astype(str), ("<U",)),
            ("objects", lambda a: a.astype(object), ("object",)),
            ("a ragged list", lambda a: [[1.0], [1.0, 2.0]], ("list",)),
            ("None", lambda a: None, ("object",)),
            ("no units", lambda a: a[:0, :0], ("(0, 0)",)),
        )
    ),
    Call("from_keras: gates not said", "recurrent_activation", keras, ("None", "hard_sigmoid")),
    Call(
        "from_keras: hard gates", "recurrent_activation", lambda: keras(recurrent_activation="hard_sigmoid"), ("hard_",)
    ),
    Call("from_keras: a dict", "weights", lambda: weights.from_keras({"kernel": 1}), ("dict",)),  # pyright: ignore
    Call("from_keras: a number", "weights", lambda: weights.from_keras(3), ("int",)),  # pyright: ignore
    Call("from_haiku: no w", "w", lambda: weights.from_haiku({"lstm/linear": {"b": np.ones(8)}}), ("none among",)),
    Call(
        "from_haiku: a GRU of two gates",
        "gru/w_h",
        lambda: weights.from_haiku({"gru": {"w_i": np.ones((2, 4)), "w_h": np.ones((2, 4)), "b": np.ones(4)}}),
        ("(2, 4)",),
    ),
    Call("from_equinox: a number", "weight_hh", lambda: weights.from_equinox({"weight_hh": 3.0}), ("shape ()",)),
    Call(
        "from_onnx: an initial state",
        "arrays",
        lambda: weights.from_onnx({"W": np.ones((1, 6, 2)), "R": np.ones((1, 6, 2)), "initial_h": 1}),
        ("initial_h", "load_onnx"),
    ),
    Call("nnx.RNN: no input size", "input_size", lambda: module("jrnn.interop.nnx").RNN(jrnn.gru(3)), ("jrnn.gru",)),
    Call("nnx.RNN: no rngs", "rngs", lambda: module("jrnn.interop.nnx").RNN(jrnn.gru(3), 2), ("nnx.Rngs(0)",)),
    Call(
        "from_nnx: a cell of jrnn", "cell", lambda: jrnn.interop.from_nnx(jrnn.gru(3)), ("GRU", "jrnn.interop.nnx.RNN")
    ),
    Call(
        "a GRU's carry",
        "initial_carry",
        lambda: carried(jrnn.gru(H, dtype="float32"), np.ones((1, 3), np.float32)),
        ("got float32[1, 3]; need h float32[1, 2]",),
    ),
    Call(
        "an LSTM's carry",
        "initial_carry",
        lambda: carried(jrnn.lstm(H), np.ones((1, 2))),
        ("(c float", "h float", "Flax's order"),
    ),
    Call("a carry of text", "initial_carry", lambda: carried(jrnn.gru(H), "zeros"), ("'zeros'",)),
    *(given(f"--model a{ending}", f"a{ending}", words, lambda path: None) for ending, words in SAYS.items()),
    *(
        given(f"--model: {name}", f"bad_models:{name}", ("--model", *words), source)
        for name, words in FUNCTIONS.items()
    ),
    given(
        "--model: a module that exits",
        "leaving_models:f",
        ("--model", "SystemExit"),
        partial(source, text="import sys; sys.exit(0)", name="leaving_models.py"),
    ),
    given(
        "--model: a module that is no Python",
        "wrong_models:f",
        ("--model", "SyntaxError"),
        partial(source, text="def f(:", name="wrong_models.py"),
    ),
    given("--model: no module", ":f", ("--model", ":f"), lambda path: None),
    Call("network_of: an overlong name", "model", lambda: network_of("x" * 300 + ":f"), ("x:f",)),
    given("--model: a bomb", "a.npz", ("--model", "1.6e+09"), bomb),
    given("--model: 1e12 numbers", "a.npz", ("--model", "1000000000000"), partial(npz, member("(1000000000000,)"))),
    given("--model: a float8 file", "a.safetensors", ("weight_ih_l0",), partial(of_type, "F8_E4M3", [4], 4)),
    given("--model: a circle", "a.onnx", ("R of rnn", "itself"), partial(model, drop=("R",), before=circle)),
    given("--model: a direction that is none", "a.onnx", ("direction of rnn", "'up'"), partial(model, direction="up")),
    given(
        "--model: lengths of a batch of its own",
        "a.onnx",
        ("--model", "lengths"),
        partial(model, inputs=("X", "W", "R", "B", "n"), more={"n": np.ones(3, np.int32)}),
    ),
]
