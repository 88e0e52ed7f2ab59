"""Keras's layouts against its formulas in NumPy (Keras itself is too large a package for these tests), and files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import weights
from tests.interop.economy import params_of

T, B, F, H = 4, 2, 3, 2


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def simple_rnn(weights, xs, activation=np.tanh):
    kernel, recurrent, bias = weights
    h, ys = np.zeros((B, H)), []
    for x in xs:
        h = activation(x @ kernel + h @ recurrent + bias)
        ys.append(h)
    return np.stack(ys)


def lstm(weights, xs):
    """i, f, c, o."""
    kernel, recurrent, bias = weights
    h, c, ys = np.zeros((B, H)), np.zeros((B, H)), []
    for x in xs:
        i, f, candidate, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return np.stack(ys)


def gru(weights, xs):
    """z, r, h; the bias has two rows with reset_after."""
    (kernel, recurrent, bias), ys, h = weights, [], np.zeros((B, H))
    for x in xs:
        if bias.ndim == 2:
            xz, xr, xh = np.split(x @ kernel + bias[0], 3, axis=1)
            hz, hr, hh = np.split(h @ recurrent + bias[1], 3, axis=1)
            z, r = sigmoid(xz + hz), sigmoid(xr + hr)
            new = np.tanh(xh + r * hh)
        else:
            xz, xr, xh = np.split(x @ kernel + bias, 3, axis=1)
            uz, ur, uh = np.split(recurrent, 3, axis=1)
            z, r = sigmoid(xz + h @ uz), sigmoid(xr + h @ ur)
            new = np.tanh(xh + (r * h) @ uh)
        h = z * h + (1 - z) * new
        ys.append(h)
    return np.stack(ys)


def drawn(gates, bias_shape, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    shapes = (F, gates * H), (H, gates * H), bias_shape
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


XS = np.random.default_rng(7).normal(size=(T, B, F))
LAYERS = {
    "SimpleRNN": (simple_rnn, 1, (H,)),
    "LSTM": (lstm, 4, (4 * H,)),
    "GRU, reset_after": (gru, 3, (2, 3 * H)),
    "GRU": (gru, 3, (3 * H,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_the_formulas(name):
    formula, gates, bias_shape = LAYERS[name]
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-6)):
        arrays = drawn(gates, bias_shape, dtype=dtype)
        cell, params = weights.from_keras(arrays, recurrent_activation="sigmoid")
        ys = jrnn.unroll(cell, params, jnp.asarray(XS, dtype)).outputs
        wanted = formula([a.astype(np.float64) for a in arrays], XS.astype(dtype).astype(np.float64))
        np.testing.assert_allclose(ys, wanted, rtol=tolerance, atol=tolerance)
        assert ys.dtype == dtype
    out = weights.to_keras(cell, params)
    assert [a.shape for a in out] == [a.shape for a in arrays]
    np.testing.assert_array_equal(out[0], arrays[0])
    np.testing.assert_array_equal(out[1], arrays[1])
    again, same = weights.from_keras(out, recurrent_activation="sigmoid")
    assert again == cell
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bidirectional_and_padding():
    ways = drawn(4, (4 * H,), 1), drawn(4, (4 * H,), 2)
    cell, params = weights.from_keras([*ways[0], *ways[1]], recurrent_activation="sigmoid")
    lengths = [T, 2]
    ys = jrnn.unroll(cell, params, jnp.asarray(XS), lengths=jnp.array(lengths)).outputs
    for b, n in enumerate(lengths):
        xs = np.repeat(XS[:n, b : b + 1], B, axis=1)
        wanted = np.concatenate([lstm(ways[0], xs), lstm(ways[1], xs[::-1])[::-1]], axis=-1)[:, 0]
        np.testing.assert_allclose(ys[:n, b], wanted, rtol=1e-12, atol=1e-12)
    for a, b in zip(weights.to_keras(cell, params), [*ways[0], *ways[1]], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("gates", [3, 4])
def test_cudnn_layers(gates):
    """cuDNN's own matrices, [H, F] row by row for each gate, in arrays that Keras calls [F, H]; two flat biases."""
    rng = np.random.default_rng(3)
    of_input = [rng.normal(size=(H, F)) for _ in range(gates)]
    of_state = [rng.normal(size=(H, H)) for _ in range(gates)]
    biases = rng.normal(size=(2, gates * H))
    kernel = np.hstack([w.reshape(F, H) for w in of_input])
    cell, params = weights.from_keras([kernel, np.hstack(of_state), biases.ravel()])
    plain = [np.hstack([w.T for w in of_input]), np.hstack([w.T for w in of_state])]
    wanted = lstm([*plain, biases.sum(0)], XS) if gates == 4 else gru([*plain, biases], XS)
    np.testing.assert_allclose(jrnn.unroll(cell, params, jnp.asarray(XS)).outputs, wanted, rtol=1e-12, atol=1e-12)


def test_without_bias_and_other_activations():
    kernel, recurrent, bias = drawn(1, (H,))
    cell, params = weights.from_keras([kernel, recurrent], activation="relu")
    ys = jrnn.unroll(cell, params, jnp.asarray(XS)).outputs
    np.testing.assert_allclose(ys, simple_rnn([kernel, recurrent, 0 * bias], XS, lambda z: np.maximum(z, 0)))
    two = drawn(3, (2, 3 * H))[:2]
    for after in (True, False):
        assert weights.from_keras(two, recurrent_activation="sigmoid", reset_after=after)[0] == jrnn.gru(
            H, reset_after=after
        )


def test_what_does_not_fit_is_named():
    arrays = drawn(4, (4 * H,))
    stack = jrnn.stack(jrnn.lstm(2), jrnn.lstm(2))
    for call, match in (
        (
            lambda: weights.from_keras(arrays, recurrent_activation="hard_sigmoid"),
            "recurrent_activation: got",
        ),
        (lambda: weights.from_keras(arrays, activation="relu"), "activation: got 'relu'; need 'tanh'"),
        (lambda: weights.from_keras(arrays, activation="selu"), "activation: got 'selu'; need one of"),
        (lambda: weights.from_keras(arrays[:1]), "weights: got 1 arrays"),
        (lambda: weights.from_keras([arrays[1], arrays[0], arrays[2]]), r"recurrent_kernel: got shape \(3, 8\)"),
        (
            lambda: weights.from_keras([arrays[0][:, :4], *arrays[1:]]),
            r"kernel: .*\(3, 4\); need shape \[\*, 8\]",
        ),
        (lambda: weights.from_keras([*arrays[:2], np.ones(5)]), r"bias: got shape \(5,\); need shape \[2, 8\]"),
        (lambda: weights.from_keras(drawn(3, (2, 6))[:2]), "reset_after: got None"),
        (lambda: weights.to_keras(stack, params_of(stack, 2)), "cell: got a stack of 2"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()


def test_safetensors_files(tmp_path):
    cell = jrnn.stack(jrnn.gru(2), jrnn.gru(2))
    params = params_of(cell, 3)
    arrays = weights.to_torch(cell, params, prefix="rnn.")
    weights.save_safetensors(tmp_path / "model.safetensors", arrays)
    read = weights.load_safetensors(tmp_path / "model.safetensors")
    assert read.keys() == arrays.keys()
    again, same = weights.from_torch(read)
    assert again == cell
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing of the kind")
    for name in ("none.safetensors", "broken.safetensors"):
        with pytest.raises(jrnn.InputError, match=f"path: got .*{name}"):
            weights.load_safetensors(tmp_path / name)
