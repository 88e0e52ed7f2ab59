""".onnx files against ONNX's reference evaluator and, where it is installed, onnxruntime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import jrnn
from jrnn.interop import weights
from tests.interop.economy import drawn, jit

T, B, F, H = 4, 2, 3, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def node_of(op, name="", ways=1, prefix="", seed=0, inputs=F, **attributes):
    """A node, and the arrays W, R, B that it reads as initializers."""
    width = GATES[op] * H
    shapes = {"W": (ways, width, inputs), "R": (ways, width, H), "B": (ways, 2 * width)}
    arrays = {
        f"{prefix}{letter}": drawn(shape, seed + i, np.float32) for i, (letter, shape) in enumerate(shapes.items())
    }
    if ways == 2:
        attributes["direction"] = "bidirectional"
    return helper.make_node(op, ["X", *arrays], [f"{prefix}Y"], name, hidden_size=H, **attributes), arrays


def info(name, rank=None):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None if rank is None else [None] * rank)


def graph_of(nodes, arrays, outputs=("Y",), inputs=(("X", 3),)):
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return helper.make_graph(nodes, "g", [info(*one) for one in inputs], [info(name) for name in outputs], stored)


def write(path, graph):
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def outputs_of(loaded, xs):
    """[T, B, ways * H] by jrnn."""
    cell, params, options = loaded
    return jit(lambda p, x: jrnn.unroll(cell, p, x, **options).outputs)(params, xs)


CASES = [
    ("RNN", 1, {}),
    ("RNN", 1, {"activations": ["Relu"]}),
    ("GRU", 1, {}),
    ("GRU", 1, {"linear_before_reset": 1}),
    ("LSTM", 1, {"activations": ["Sigmoid", "Tanh", "Tanh"]}),
    ("LSTM", 1, {"direction": "reverse"}),
    ("LSTM", 2, {}),
    ("GRU", 2, {"linear_before_reset": 1}),
]


@pytest.mark.parametrize("op, ways, attributes", CASES, ids=str)
def test_a_file_runs_as_onnxruntime_runs_it(op, ways, attributes, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    node, arrays = node_of(op, ways=ways, **attributes)
    path = write(tmp_path / "one.onnx", graph_of([node], arrays))
    xs = drawn((T, B, F), 9, np.float32)
    wanted = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"X": xs})[0]
    wanted = np.moveaxis(wanted, 1, 2).reshape(T, B, ways * H)  # [T, ways, B, H] in ONNX
    loaded = weights.load_onnx(path)
    assert loaded.options == ({"reverse": True} if attributes.get("direction") == "reverse" else {})
    np.testing.assert_allclose(outputs_of(loaded, xs), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op, attributes", [("LSTM", {}), ("GRU", {"linear_before_reset": 1})])
def test_a_file_runs_as_the_reference_evaluator_runs_it(op, attributes, tmp_path):
    node, arrays = node_of(op, **attributes)
    graph = graph_of([node], arrays)
    xs = drawn((T, B, F), 9, np.float32)
    wanted = ReferenceEvaluator(helper.make_model(graph)).run(None, {"X": xs})[0][:, 0]
    np.testing.assert_allclose(outputs_of(weights.load_onnx(write(tmp_path / "a", graph)), xs), wanted, 1e-6, 1e-6)
    # a batch-major node holds the same weights
    node, arrays = node_of(op, layout=1, **attributes)
    again = weights.load_onnx(str(write(tmp_path / "b", graph_of([node], arrays))))
    np.testing.assert_allclose(outputs_of(again, xs), wanted, 1e-6, 1e-6)


def test_nodes_in_branches_with_computed_weights(tmp_path):
    """As silero-vad's: in a branch of an If, with weights from outside that Slice and Concat make of PyTorch's."""
    node, arrays = node_of("LSTM", "inner")
    w = arrays.pop("W")
    i, o, f, g = np.split(w[0], 4)
    stored = arrays | {"ifgo": np.concatenate([i, f, g, o]), "axis": np.array([0])}
    stored |= {name: np.array([place * H]) for place, name in enumerate(["0", "1", "2", "3", "4"])}
    parts = [
        helper.make_node("Slice", ["ifgo", first, last, "axis"], [part])
        for part, first, last in (("i", "0", "1"), ("fg", "1", "3"), ("o", "3", "4"))
    ]
    parts += [helper.make_node("Concat", ["i", "o", "fg"], ["iofg"], axis=0)]
    parts += [helper.make_node("Unsqueeze", ["iofg", "axis"], ["W"])]
    other, more = node_of("GRU", "other", seed=5)
    branches = {"then_branch": graph_of([node], {}, inputs=()), "else_branch": graph_of([other], more, inputs=())}
    chosen = helper.make_node("If", ["flag"], ["Z"], **branches)
    graph = graph_of([*parts, chosen], stored, outputs=["Z"])
    graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    path = write(tmp_path / "if.onnx", graph)
    with pytest.raises(jrnn.InputError, match=r"name: got None; need one of \['other \(GRU\)', 'inner \(LSTM\)'\]"):
        weights.load_onnx(path)
    loaded = weights.load_onnx(path, "inner")
    wanted = weights.from_onnx(arrays | {"W": w})[1]
    for name in wanted:
        np.testing.assert_array_equal(loaded.params[name], wanted[name])
    xs = drawn((T, B, F), 9, np.float32)
    ran = ReferenceEvaluator(str(path)).run(None, {"X": xs, "flag": np.array(True)})[0][:, 0]
    np.testing.assert_allclose(outputs_of(loaded, xs), ran, 1e-6, 1e-6)


def test_several_names_make_a_stack(tmp_path):
    (first, one), (second, two) = node_of("LSTM"), node_of("LSTM", "top", prefix="top", inputs=H, seed=5)
    squeeze = helper.make_node("Squeeze", ["Y", "ways"], ["below"])
    second.input[0] = "below"
    graph = graph_of([first, squeeze, second], one | two | {"ways": np.array([1])}, ["topY"])
    path = write(tmp_path / "two.onnx", graph)
    loaded = weights.load_onnx(path, ["Y", "top"])  # the first has no name: its output's
    assert loaded.cell == jrnn.stack(jrnn.lstm(H), jrnn.lstm(H))
    xs = drawn((T, B, F), 9, np.float32)
    wanted = ReferenceEvaluator(str(path)).run(None, {"X": xs})[0][:, 0]
    np.testing.assert_allclose(outputs_of(loaded, xs), wanted, 1e-6, 1e-6)


def test_what_does_not_fit_is_named(tmp_path):
    def file(*given, **attributes):
        node, arrays = node_of(*given, **attributes)
        return write(tmp_path / "bad.onnx", graph_of([node], arrays))

    node, arrays = node_of("LSTM")
    node.input.extend(["", "", "", "P"])
    peepholes = write(tmp_path / "p.onnx", graph_of([node], arrays | {"P": drawn((1, 3 * H), 0, np.float32)}))
    node, arrays = node_of("LSTM")
    del arrays["R"]
    computed = write(tmp_path / "c.onnx", graph_of([node], arrays, inputs=[("X", 3), ("R", 3)]))
    none = write(tmp_path / "n.onnx", graph_of([helper.make_node("Tanh", ["X"], ["Y"])], {}))
    (tmp_path / "text.onnx").write_text("no model")
    ways, more = node_of("LSTM", "back", prefix="back", inputs=H, direction="reverse")
    mixed = write(tmp_path / "m.onnx", graph_of([node_of("LSTM", "there")[0], ways], node_of("LSTM")[1] | more))
    for call, match in (
        (lambda: weights.load_onnx(tmp_path / "gone.onnx"), "path: got .*gone.onnx; need a .onnx file"),
        (lambda: weights.load_onnx(tmp_path / "text.onnx"), "path: got .*text.onnx .*; need a .onnx file"),
        (lambda: weights.load_onnx(none), "need a file with an LSTM, GRU or RNN node"),
        (lambda: weights.load_onnx(mixed), r"one of \['there \(LSTM\)', 'back \(LSTM\)'\]"),
        (lambda: weights.load_onnx(mixed, "up"), "name: got 'up'; need one of"),
        (lambda: weights.load_onnx(mixed, []), r"name: got \[\]; need one of"),
        (lambda: weights.load_onnx(mixed, ["there", "back"]), "different directions"),
        (lambda: weights.load_onnx(peepholes), r"P: got shape \(1, 6\); need no peepholes"),
        (lambda: weights.load_onnx(computed), "R of Y: got computed from 'R', which depends on the model's inputs"),
        (lambda: weights.load_onnx(file("LSTM", clip=3.0)), "clip of Y: got 3.0"),
        (lambda: weights.load_onnx(file("LSTM", input_forget=1)), "input_forget of Y"),
        (lambda: weights.load_onnx(file("GRU", activations=["HardSigmoid", "Tanh"])), "activations of Y: got .'hard"),
        (lambda: weights.load_onnx(file("RNN", ways=2, activations=["Tanh", "Relu"])), "activations of Y"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()
