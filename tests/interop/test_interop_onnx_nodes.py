"""Every input and attribute of ONNX's recurrent nodes: used as onnxruntime uses it, or refused by name."""

import warnings

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import jrnn
from jrnn.interop import weights
from jrnn.interop.model_argument import network_of
from jrnn.interop.weights.onnx_node import ATTRIBUTES, INPUTS
from tests.interop.economy import drawn
from tests.interop.test_interop_onnx_file import B, F, H, T, graph_of, node_of, outputs_of, write

LENGTHS = np.array([T, 2], np.int32)
OPS = [("RNN", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1}), ("LSTM", {})]
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def with_states(op, ways=1, states=("h", "c"), rows=B, lengths=None, **attributes):
    """(node, arrays) with constant initial states, and sequence_lens if given."""
    node, arrays = node_of(op, ways=ways, **attributes)
    further = {} if lengths is None else {"sequence_lens": lengths}
    for i, letter in enumerate(states if op == "LSTM" else states[:1]):
        one = drawn((ways, rows, H), 20 + i, np.float32)
        further[f"initial_{letter}"] = np.broadcast_to(one, (ways, B, H)).copy()
    places = ("sequence_lens", "initial_h", "initial_c")
    node.input.extend([name if name in further else "" for name in places[: 3 if op == "LSTM" else 2]])
    return node, arrays | further


def by_onnxruntime(path, xs):
    """Y as [T, B, ways * H]."""
    runtime = pytest.importorskip("onnxruntime")
    y = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"X": xs})[0]
    return np.moveaxis(y, 1, 2).reshape(T, B, -1)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op, attributes", OPS, ids=str)
def test_states_and_lengths_in_the_file_are_onnxruntimes(op, attributes, direction, tmp_path):
    """rows = 1: the same state for every sequence, which is then the cell's own, for any batch."""
    xs = drawn((T, B, F), 9, np.float32)
    for rows, lengths in ((B, LENGTHS), (1, None)):
        node, arrays = with_states(op, DIRECTIONS[direction], rows=rows, lengths=lengths, **attributes)
        if direction == "reverse":
            node.attribute.append(helper.make_attribute("direction", "reverse"))
        path = write(tmp_path / "one.onnx", graph_of([node], arrays))
        loaded, wanted = weights.load_onnx(path), by_onnxruntime(path, xs)
        np.testing.assert_allclose(outputs_of(loaded, xs), wanted, rtol=1e-6, atol=1e-6)
        assert np.abs(wanted).max() > 0.1
        expected = {"initial_state", "lengths"} if rows == B else set()
        assert loaded.options.keys() == expected | ({"reverse"} if direction == "reverse" else set())
        if rows == 1:  # of another batch, and of none
            np.testing.assert_allclose(outputs_of(loaded, xs[:, 0]), wanted[:, 0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("states", ["h", "c"])
def test_one_state_without_the_other(states, tmp_path):
    path = write(tmp_path / "one.onnx", graph_of(*with_graph(with_states("LSTM", states=(states,), rows=1))))
    xs = drawn((T, B, F), 9, np.float32)
    np.testing.assert_allclose(outputs_of(weights.load_onnx(path), xs), by_onnxruntime(path, xs), 1e-6, 1e-6)


def with_graph(made):
    return [made[0]], made[1]


def test_a_batch_major_node_has_batch_major_states(tmp_path):
    """layout=1 by ONNX's reference evaluator (onnxruntime has none): initial_h [B, ways, H]."""
    node, arrays = with_states("GRU", layout=1)
    arrays["initial_h"] = np.swapaxes(arrays["initial_h"], 0, 1)
    graph = graph_of([node], arrays)
    xs = drawn((T, B, F), 9, np.float32)
    wanted = ReferenceEvaluator(helper.make_model(graph)).run(None, {"X": np.swapaxes(xs, 0, 1)})[0]
    found = outputs_of(weights.load_onnx(write(tmp_path / "b.onnx", graph)), xs)
    np.testing.assert_allclose(found[-1], wanted.reshape(B, T, H)[:, -1], 1e-6, 1e-6)


def test_stacked_nodes_start_from_their_own_states(tmp_path):
    (first, one), (second, two) = with_states("LSTM"), node_of("LSTM", "top", prefix="top", inputs=H, seed=5)
    squeeze = helper.make_node("Squeeze", ["Y", "ways"], ["below"])
    second.input[0] = "below"
    path = write(tmp_path / "s.onnx", graph_of([first, squeeze, second], one | two | {"ways": np.array([1])}, ["topY"]))
    xs = drawn((T, B, F), 9, np.float32)
    loaded = weights.load_onnx(path, ["Y", "top"])
    np.testing.assert_allclose(outputs_of(loaded, xs), by_onnxruntime(path, xs), 1e-6, 1e-6)


def of_batch(nodes, batch_from="X"):
    """Nodes that make the shape [1, batch, H] of the model's input, as exporters write it."""
    return [
        helper.make_node("Shape", [batch_from], ["shape"]),
        helper.make_node("Gather", ["shape", "place"], ["batch"]),
        helper.make_node("Concat", ["1", "batch", "size"], ["state_shape"], axis=0),
        *nodes,
    ]


SHAPES = {"place": np.array([1]), "1": np.array([1]), "size": np.array([H])}
ROW = drawn((1, 1, H), 30, np.float32)
FILL = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.25])
CHAIN = [helper.make_node("Identity", [f"id{i}"], [f"id{i + 1}"]) for i in range(1200)]
FORMS = {
    "zeros of the batch's shape": (of_batch([helper.make_node("ConstantOfShape", ["state_shape"], ["h"])]), SHAPES, 0),
    "0.25 of the batch's shape": (
        of_batch([helper.make_node("ConstantOfShape", ["state_shape"], ["h"], value=FILL)]),
        SHAPES,
        0.25,
    ),
    "a row expanded to the batch": (
        of_batch([helper.make_node("Expand", ["row", "state_shape"], ["h"])]),
        SHAPES | {"row": ROW},
        ROW,
    ),
    "zeros sliced for a layer": (
        of_batch(
            [
                helper.make_node("ConstantOfShape", ["state_shape"], ["all"]),
                helper.make_node("Slice", ["all", "0", "1", "0"], ["h"]),
            ]
        ),
        SHAPES | {"0": np.array([0])},
        0,
    ),
    "a Constant operator": (
        [helper.make_node("Constant", [], ["h"], value=numpy_helper.from_array(np.repeat(ROW, B, 1)))],
        {},
        ROW,
    ),
    "a chain of Identity": (
        [*CHAIN, helper.make_node("Expand", [f"id{len(CHAIN)}", "whole"], ["h"])],
        {"id0": ROW, "whole": np.array([1, B, H])},
        ROW,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_a_state_takes_in_a_file(form, tmp_path):
    nodes, stored, wanted = FORMS[form]
    node, arrays = node_of("GRU")
    node.input.extend(["", "h"])
    path = write(tmp_path / "f.onnx", graph_of([*nodes, node], arrays | stored))
    cell, params, options = weights.load_onnx(path)
    assert options == {}
    own = cell.initial_state(params, (B,)).h
    np.testing.assert_array_equal(own, np.broadcast_to(np.float32(wanted), (1, B, H))[0])
    assert (cell == jrnn.gru(H, reset_after=False)) == (not np.any(wanted))
    xs = drawn((T, B, F), 9, np.float32)
    wanted = ReferenceEvaluator(str(path)).run(None, {"X": xs})[0][:, 0]
    np.testing.assert_allclose(outputs_of((cell, params, options), xs), wanted, 1e-6, 1e-6)


def test_a_state_that_the_model_is_given_is_unrolls(tmp_path):
    node, arrays = node_of("GRU")
    node.input.extend(["", "h"])
    path = write(tmp_path / "i.onnx", graph_of([node], arrays, inputs=[("X", 3), ("h", 3)]))
    cell, params, options = weights.load_onnx(path)
    assert cell == jrnn.gru(H, reset_after=False) and options == {}
    h, xs = drawn((1, B, H), 3, np.float32), drawn((T, B, F), 9, np.float32)
    wanted = ReferenceEvaluator(str(path)).run(None, {"X": xs, "h": h})[0][:, 0]
    found = outputs_of((cell, params, {"initial_state": type(cell.initial_state(params, ()))(h[0])}), xs)
    np.testing.assert_allclose(found, wanted, 1e-6, 1e-6)


@pytest.mark.parametrize("form", ["beside", "constants"])
def test_weights_beside_the_file_and_in_constants(form, tmp_path):
    node, arrays = with_states("LSTM", rows=1)
    if form == "constants":
        made = [
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(a)) for name, a in arrays.items()
        ]
        path = write(tmp_path / "a.onnx", graph_of([*made, node], {}))
    else:
        model = helper.make_model(graph_of([node], arrays), ir_version=9)
        path = tmp_path / "a.onnx"
        onnx.save(model, path, save_as_external_data=True, location="a.data", size_threshold=0)
    plain = weights.load_onnx(write(tmp_path / "plain.onnx", graph_of([node], arrays)))
    found = weights.load_onnx(path)
    assert found.cell == plain.cell
    jax.tree.map(np.testing.assert_array_equal, found.params, plain.params)
    if form == "beside":
        (tmp_path / "a.data").write_bytes(b"short")
        with pytest.raises(jrnn.InputError, match=r"path: got .*a.onnx|[WRB] of Y: got "):
            weights.load_onnx(path)


@pytest.mark.thorough
def test_pytorchs_own_files(tmp_path):
    """What torch.onnx writes, with a batch that stays open, by PyTorch."""
    torch = pytest.importorskip("torch")
    for name, direct in (("LSTM", 1), ("GRU", 2)):
        module = getattr(torch.nn, name)(F, H, bidirectional=direct == 2)
        path, xs = tmp_path / f"{name}.onnx", drawn((T, B, F), 9, np.float32)
        options = dict(input_names=["x"], dynamic_axes={"x": {1: "batch"}}, dynamo=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (torch.from_numpy(xs),), str(path), **options)
        with torch.no_grad():
            wanted = module(torch.from_numpy(xs))[0].numpy()
        np.testing.assert_allclose(outputs_of(weights.load_onnx(path), xs), wanted, rtol=1e-5, atol=1e-6)


def schemas():
    return [s for s in onnx.defs.get_all_schemas_with_history() if s.name in GATED and s.domain == ""]


GATED = ("RNN", "GRU", "LSTM")


def test_every_name_of_every_opset_is_known():
    """ONNX's own schemas: no input or attribute of any version that the reader has not by name and type."""
    assert len(schemas()) >= 13
    for schema in schemas():
        own = INPUTS[: 8 if schema.name == "LSTM" else 6]
        assert tuple(one.name for one in schema.inputs) == own
        for attribute in schema.attributes.values():
            assert ATTRIBUTES[attribute.name][0] == attribute.type.name
            assert schema.name in ATTRIBUTES[attribute.name][1]
    for name, (_, ops) in ATTRIBUTES.items():
        assert set(ops) == {s.name for s in schemas() if name in s.attributes}, name


OF_KIND = {"INT": (1, 7), "FLOAT": (3.0,), "STRING": ("up",), "STRINGS": (["Tanh"] * 4,), "FLOATS": ([0.5],)}
SAME = {"output_sequence": (1,), "layout": (1,)}  # which outputs are written, where the batch is


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_is_used_or_refused(name, tmp_path):
    """Values that mean another network are never read as the default; values of another type are refused."""
    kind, ops = ATTRIBUTES[name]
    for op in GATED:
        for value in (*OF_KIND[kind], b"\xff" if kind == "INT" else 3):
            node, arrays = node_of(op)
            del node.attribute[:]
            node.attribute.append(helper.make_attribute(name, value))
            path = write(tmp_path / "a.onnx", graph_of([node], arrays))
            if op in ops and name in SAME and value in SAME[name]:
                weights.load_onnx(path)
            elif op in ops and (name, value) == ("linear_before_reset", 1):
                assert weights.load_onnx(path).cell == jrnn.gru(H, reset_after=True)
            else:
                with pytest.raises(jrnn.InputError, match=rf"{name} of Y{'|R: got shape' * (name == 'hidden_size')}"):
                    weights.load_onnx(path)


def test_what_the_command_line_cannot_use_is_refused(tmp_path):
    for lengths, rows, word in ((LENGTHS, 1, "lengths"), (None, B, "initial_state")):
        node, arrays = with_states("GRU", lengths=lengths, rows=rows)
        path = write(tmp_path / f"{word}.onnx", graph_of([node], arrays))
        with pytest.raises(jrnn.InputError, match=f"model: got .*{word}"):
            network_of(str(path))
    node, arrays = with_states("GRU", rows=1)
    found = network_of(str(write(tmp_path / "same.onnx", graph_of([node], arrays))))
    assert np.any(np.asarray(found.cell.initial_state(found.params, ()).h))


def test_a_node_without_a_name_or_outputs_is_called_by_its_kind(tmp_path):
    node, arrays = node_of("GRU")
    del node.output[:]
    path = write(tmp_path / "n.onnx", graph_of([node], arrays))
    assert weights.load_onnx(path, "GRU").cell == weights.load_onnx(path).cell == jrnn.gru(H, reset_after=False)
    with pytest.raises(jrnn.InputError, match=r"name: got 'Y'; need one of \['GRU \(GRU\)'\]"):
        weights.load_onnx(path, "Y")
