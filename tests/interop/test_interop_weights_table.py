"""Every layout alike: what arrays of other libraries are read as, which are refused, and parameters that do not fit."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jrnn
from jrnn.interop import weights
from tests.interop.economy import params_of

F, H = 3, 2
LSTM, GRU, BEFORE, RELU = jrnn.lstm(H), jrnn.gru(H), jrnn.gru(H, reset_after=False), jrnn.elman(H, "relu")
BOTH, STACK = jrnn.Bidirectional(LSTM, LSTM), jrnn.stack(LSTM, LSTM)
LAYOUTS = {  # (to its arrays, back, the cells that it has)
    "torch": (weights.to_torch, weights.from_torch, (LSTM, GRU, BOTH, STACK)),
    "keras": (
        weights.to_keras,
        lambda a: weights.from_keras(a, recurrent_activation="sigmoid"),
        (LSTM, GRU, BEFORE, BOTH),
    ),
    "linen": (weights.to_linen, weights.from_linen, (LSTM, GRU)),
    "nnx": (weights.to_nnx, weights.from_nnx, (LSTM,)),
    "nnx, a Dense each": (lambda c, p: weights.to_nnx(c, p, optimized=False), weights.from_nnx, (LSTM,)),
    "equinox": (weights.to_equinox, weights.from_equinox, (LSTM, GRU)),
    "haiku": (weights.to_haiku, weights.from_haiku, (LSTM, BEFORE, RELU)),
    "onnx": (weights.to_onnx, lambda a: weights.from_onnx(a, linear_before_reset=True), (LSTM, GRU, BOTH)),
}
CASES = [(name, cell) for name, (_, _, cells) in LAYOUTS.items() for cell in cells]


def made(cell, dtype=np.float32):
    return jax.tree.map(lambda a: np.asarray(a, dtype), params_of(cell, F))


def leaves_of(arrays):
    """[(name, leaf)] of a layout's arrays, in place."""
    return jax.tree.flatten_with_path(arrays)[0]


def with_leaf(arrays, place, value):
    """The arrays with one of them replaced."""
    leaves, structure = jax.tree.flatten(arrays)
    leaves = [*leaves[:place], value, *leaves[place + 1 :]]
    return jax.tree.unflatten(structure, leaves)


class Stubborn:
    """An array-like that raises what no one expects."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("on another device")


REFUSED = {
    "complex": (lambda a: a.astype(np.complex64), "complex64"),
    "int8": (lambda a: a.astype(np.int8), "int8; need .*dequantise"),
    "integers": (lambda a: a.astype(np.int64), "int64"),
    "booleans": (lambda a: a > 0, "bool"),
    "float8": (lambda a: a.astype(ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
    "bytes without a type": (lambda a: a.astype(np.float16).view("V2"), "V2|void"),
    "text": (lambda a: np.full(a.shape, "w"), "<U1"),
    "objects": (lambda a: a.astype(object), "object"),
    "dates": (lambda a: a.astype("datetime64[s]"), "datetime64"),
    "nothing": (lambda a: Stubborn(), "Stubborn that is no array .RuntimeError: on another device"),
    "another shape": (lambda a: a[None], "shape"),
    "a number": (lambda a: np.float32(1), "shape"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name, cell", CASES, ids=str)
def test_arrays_that_are_no_real_numbers_are_refused_by_name(name, cell, kind):
    """Each array of each layout in turn; the error names the one."""
    to, back, _ = LAYOUTS[name]
    arrays, (change, match) = to(cell, made(cell)), REFUSED[kind]
    for place, (path, leaf) in enumerate(leaves_of(arrays)):
        own = str(getattr(path[-1], "key", "")) or ("kernel", "recurrent_kernel", "bias")[path[-1].idx % 3]
        with pytest.raises(jrnn.InputError, match=match) as error:
            back(with_leaf(arrays, place, change(leaf)))
        if kind not in ("another shape", "a number"):
            assert own in error.value.argument


ACCEPTED = {
    **{f"big-endian {name}": (lambda a, n=name: a.astype(n).astype(f">{n}"), name) for name in ("f2", "f4", "f8")},
    "read-only": (lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape), "f8"),
    "bfloat16": (lambda a: a.astype(ml_dtypes.bfloat16), ml_dtypes.bfloat16),
    "of JAX": (jnp.asarray, "f8"),
    "of columns": (np.asfortranarray, "f8"),
}


@pytest.mark.parametrize("kind", ACCEPTED)
@pytest.mark.parametrize("name, cell", CASES, ids=str)
def test_real_arrays_of_any_kind_are_read_as_they_are(name, cell, kind):
    to, back, _ = LAYOUTS[name]
    change, dtype = ACCEPTED[kind]
    params = made(cell, np.float64)
    again, found = back(jax.tree.map(change, to(cell, params)))
    assert again == cell
    tolerance = float(jnp.finfo(dtype).eps) * 4
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        assert a.dtype == dtype and a.dtype.isnative
        np.testing.assert_allclose(np.asarray(a, np.float64), b, rtol=tolerance, atol=tolerance)


def test_tensors_of_pytorch():
    """They may need gradients, and be bfloat16, which PyTorch does not hand to NumPy."""
    torch = pytest.importorskip("torch")
    module = torch.nn.GRU(F, H)
    cell, params = weights.from_torch(dict(module.named_parameters()))
    np.testing.assert_array_equal(params["w_in"], module.weight_ih_l0.detach().numpy().T)
    narrow = weights.from_torch(dict(torch.nn.GRU(F, H).bfloat16().named_parameters()))[1]
    assert {a.dtype for a in jax.tree.leaves(narrow)} == {jnp.dtype(jnp.bfloat16)}
    for dtype in (torch.int8, torch.complex64, torch.bool, torch.float8_e4m3fn):
        with pytest.raises(jrnn.InputError, match="weight_hh_l0: got"):
            weights.from_torch({n: a.to(dtype) if n == "weight_hh_l0" else a for n, a in module.state_dict().items()})
    sparse = {n: a.to_sparse() if n == "weight_ih_l0" else a for n, a in module.state_dict().items()}
    with pytest.raises(jrnn.InputError, match="weight_ih_l0: got a Tensor that is no array"):
        weights.from_torch(sparse)


def wrong(cell):
    """Parameters that are not this cell's."""
    own = made(cell)
    if isinstance(cell, jrnn.Bidirectional):
        return [own["forward"], {"forward": own["forward"]}, {**own, "backward": 1}, None]
    if isinstance(cell, jrnn.cells.Stack):
        return [own[:1], own[0], (own[0], 1), None, {"0": own[0]}]
    other = made(GRU if cell == LSTM else LSTM)
    return [
        other,
        made(jrnn.lstm(H + 1) if cell == LSTM else jrnn.gru(H + 1)),
        {name: a for name, a in own.items() if name != "bias"},
        own | {"w_in": own["w_in"].T},
        own | {"bias": own["bias"].astype(np.complex64)},
        own | {"w_rec": [["a"]]},
        own | {"peepholes": own["bias"]},
        own | {"bias": None},
        list(own.values()),
        "params",
        None,
    ]


@pytest.mark.parametrize("name, cell", CASES, ids=str)
def test_parameters_that_do_not_fit_the_cell_are_refused(name, cell):
    for params in wrong(cell):
        with pytest.raises(jrnn.InputError, match="params"):
            LAYOUTS[name][0](cell, params)


def test_a_gru_of_the_other_kind_is_refused():
    for one, other in ((GRU, BEFORE), (BEFORE, GRU)):
        with pytest.raises(jrnn.InputError, match="params"):
            weights.to_keras(one, made(other))


def test_saved_numbers_come_back_with_their_shape(tmp_path):
    arrays = {"one": np.float32(3), "none": np.zeros((0, 2), np.float32), "turned": np.ones((2, 3), np.float32).T}
    weights.save_safetensors(tmp_path / "a.safetensors", arrays)
    read = weights.load_safetensors(tmp_path / "a.safetensors")
    assert {name: a.shape for name, a in read.items()} == {name: np.shape(a) for name, a in arrays.items()}


def test_what_gates_a_keras_layer_has_is_asked():
    """Weights do not say it: with hard_sigmoid the network is another one."""
    for cell in (LSTM, GRU, BEFORE, BOTH):
        arrays = weights.to_keras(cell, made(cell))
        with pytest.raises(jrnn.InputError, match=r"recurrent_activation: got None, .*hard_sigmoid"):
            weights.from_keras(arrays)
        with pytest.raises(jrnn.InputError, match="recurrent_activation: got 'hard_sigmoid'; need 'sigmoid'"):
            weights.from_keras(arrays, recurrent_activation="hard_sigmoid")
    assert weights.from_keras(weights.to_keras(RELU, made(RELU)), activation="relu")[0] == RELU
