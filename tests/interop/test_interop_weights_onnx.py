"""ONNX's weights against ONNX's reference evaluator."""

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import jrnn
from jrnn.interop import weights
from tests.interop.economy import jit, params_of

B, T, F, H = 2, 4, 3, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def run_onnx(op, arrays, xs, **attributes):
    """(Y [T, ways, B, H], Y_h, ...) of one node."""
    names = list(arrays)
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    node = helper.make_node(op, ["X", *names], outputs, hidden_size=H, **attributes)
    shapes = {name: array.shape for name, array in arrays.items()} | {"X": xs.shape}
    info = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in shapes.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None] * (3 + (name == "Y"))) for name in outputs]
    model = helper.make_model(helper.make_graph([node], "g", info, made), opset_imports=[helper.make_opsetid("", 22)])
    onnx.checker.check_model(model)
    return ReferenceEvaluator(model).run(None, {"X": xs, **arrays})


def random_arrays(op, ways=1, dtype=np.float64):
    rng = np.random.default_rng(0)
    width = GATES[op] * H
    shapes = {"W": (ways, width, F), "R": (ways, width, H), "B": (ways, 2 * width)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("op, before", [("RNN", 0), ("LSTM", 0), ("GRU", 0), ("GRU", 1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_outputs_are_onnxs(op, before, dtype):
    arrays = random_arrays(op, dtype=dtype)
    xs = np.random.default_rng(1).normal(size=(T, B, F)).astype(dtype)
    attributes = {"linear_before_reset": before} if op == "GRU" else {}
    if dtype is np.float64:
        wanted = run_onnx(op, arrays, xs, **attributes)[0][:, 0]
    else:
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        wanted = run_onnx(op, wide, xs.astype(np.float64), **attributes)[0][:, 0]
    cell, params = weights.from_onnx(arrays, linear_before_reset=bool(before))
    ys = jit(lambda p, x: jrnn.unroll(cell, p, x).outputs)(params, xs)
    assert ys.dtype == dtype
    tolerance = 1e-12 if dtype is np.float64 else 1e-6
    np.testing.assert_allclose(ys, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("op, before", [("RNN", False), ("LSTM", False), ("GRU", False), ("GRU", True)])
def test_both_directions_and_round_trips(op, before):
    arrays = random_arrays(op, ways=2)
    cell, params = weights.from_onnx(arrays, linear_before_reset=before)
    assert isinstance(cell, jrnn.Bidirectional)
    xs = np.random.default_rng(1).normal(size=(T, B, F))
    attributes = {"linear_before_reset": int(before)} if op == "GRU" else {}
    ys = jit(lambda p, x: jrnn.unroll(cell, p, x).outputs)(params, xs)
    for way, times in ((0, slice(None)), (1, slice(None, None, -1))):
        one = {name: array[way : way + 1] for name, array in arrays.items()}
        wanted = run_onnx(op, one, xs[times], **attributes)[0][:, 0][times]
        np.testing.assert_allclose(ys[..., way * H : (way + 1) * H], wanted, rtol=1e-12, atol=1e-12)
    out = weights.to_onnx(cell, params)
    np.testing.assert_array_equal(out["W"], arrays["W"])
    np.testing.assert_array_equal(out["R"], arrays["R"])
    again, same = weights.from_onnx(out, linear_before_reset=before)
    assert again == cell
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)
    del arrays["B"]
    assert not np.any(weights.from_onnx(arrays, linear_before_reset=before)[1]["forward"]["bias"])


def test_what_does_not_fit_is_named():
    arrays = random_arrays("LSTM")
    stack = jrnn.stack(jrnn.lstm(2), jrnn.lstm(2))
    mixed = jrnn.Bidirectional(jrnn.lstm(2), jrnn.gru(2))
    for call, match in (
        (lambda: weights.from_onnx(arrays | {"P": np.ones((1, 6))}), r"P: got shape \(1, 6\); need no peepholes"),
        (lambda: weights.from_onnx(arrays | {"R": arrays["R"][0]}), r"R: got shape \(8, 2\)"),
        (lambda: weights.from_onnx(arrays | {"B": arrays["B"][:, :8]}), r"B: got shape \(1, 8\); need shape \[1, 16\]"),
        (lambda: weights.from_onnx({}), "R: got none among"),
        (lambda: weights.from_onnx(arrays, activation="Elu"), "activation: got 'elu'"),
        (lambda: weights.to_onnx(stack, params_of(stack, 2)), "cell: got a stack of 2"),
        (lambda: weights.to_onnx(mixed, params_of(mixed, 2)), "directions of different kinds"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()
