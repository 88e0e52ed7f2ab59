"""Weights of Flax, Equinox and Haiku, in and out, against the libraries' own cells."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jrnn
import jrnn.interop
from jrnn.interop import weights
from tests.interop.economy import drawn, jit, params_of, variables_of
from tests.interop.foreign_cases import CASES, F, H

NAMES = [
    *(f"{library}.{cell}" for library in ("nnx", "linen") for cell in ("LSTMCell", "OptimizedLSTMCell", "GRUCell")),
    *("linen.SimpleCell", "equinox.GRUCell", "equinox.LSTMCell", "haiku.VanillaRNN", "haiku.LSTM", "haiku.GRU"),
]


def native(case):
    """What a user of the library hands over."""
    if isinstance(case.params, nnx.State):
        return weights.from_nnx(nnx.to_pure_dict(case.params))
    if isinstance(case.params, eqx.Module):
        return weights.from_equinox(case.params)
    if "params" in case.params:
        return weights.from_linen(case.params["params"])
    return weights.from_haiku(case.params)


def back(name, cell, params):
    if name.startswith("nnx"):
        return weights.to_nnx(cell, params, optimized="Optimized" in name)
    library = name.partition(".")[0]
    return getattr(weights, f"to_{library}")(cell, params)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_outputs_and_exact_round_trips(name):
    case = CASES[name]()
    cell, params = native(case)
    xs, lengths = drawn((4, 2, F)), np.array([4, 2])
    both = (cell, params), (case.cell, case.params)
    mine, theirs = jit(lambda both: [jrnn.unroll(c, p, xs, lengths=lengths).outputs for c, p in both])(both)
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
    out = back(name, cell, params)
    given = case.params
    if isinstance(given, nnx.State):
        given = nnx.to_pure_dict(given)
    elif isinstance(given, eqx.Module):
        given = {key: getattr(given, key) for key in out}
    given = given.get("params", given) if isinstance(given, dict) else given
    assert jax.tree.structure(out) == jax.tree.structure(dict(given))
    for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(dict(given)), strict=True):
        if name == "haiku.VanillaRNN" and a.ndim == 1:
            continue  # two biases that add: their sum is kept
        if name == "haiku.LSTM":
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-15)  # forget bias: (b + 1) - 1
        else:
            np.testing.assert_array_equal(a, b)
    again, same = native(case._replace(params=nnx_state(out) if name.startswith("nnx") else like(case.params, out)))
    assert again == cell
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-15 if name == "haiku.LSTM" else 0)


def nnx_state(arrays):
    return nnx.State(jax.tree.map(lambda a: nnx.Param(jnp.asarray(a)), arrays))


def like(given, out):
    if isinstance(given, eqx.Module):
        keys = list(out)
        return eqx.tree_at(lambda m: [getattr(m, key) for key in keys], given, [jnp.asarray(out[key]) for key in keys])
    return {"params": out} if "params" in given else out


def test_nnx_gru_takes_no_recurrent_bias():
    cell = jrnn.gru(H)
    params = params_of(cell, F)
    params["bias_rec"] = np.zeros(H)
    assert set(weights.to_nnx(cell, params)) == {"dense_i", "dense_h"}
    params["bias_rec"] = np.array([0, 0.25, 0, 0])
    with pytest.raises(jrnn.InputError, match=r"bias_rec'\]: got values up to 0.25; .*nnx.GRUCell has no b_hn"):
        weights.to_nnx(cell, params)
    assert np.any(weights.to_linen(cell, params)["hn"]["bias"])


def test_haiku_cores_are_found_by_name():
    lstm = weights.to_haiku(jrnn.lstm(H), params_of(jrnn.lstm(H), F))
    gru = jrnn.gru(H, reset_after=False)
    both = lstm | weights.to_haiku(gru, params_of(gru, F, 1), name="net/~/gru")
    head = {
        "linear": {"w": np.ones((3, 2)), "b": np.ones(2)},
        "mlp/~/linear_0": {"w": np.ones((9, 4)), "b": np.ones(4)},
    }
    assert weights.from_haiku(lstm | head)[0] == jrnn.lstm(H)
    assert weights.from_haiku(both, name="net/~/gru")[0] == gru
    for call, match in (
        (lambda: weights.from_haiku(both), r"name: got None; need one of the recurrent cores \['lstm', 'net/~/gru'\]"),
        (lambda: weights.from_haiku(head), "name: got None"),
        (lambda: weights.from_haiku({"lstm": 3}), "params: got dict"),
        (lambda: weights.to_haiku(jrnn.gru(2), params_of(jrnn.gru(2), 2)), "reset_after=False"),
        (lambda: weights.to_haiku(jrnn.elman(2), params_of(jrnn.elman(2), 2)), "relu"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()


def test_what_does_not_fit_is_named():
    linen = weights.to_linen(jrnn.lstm(H), params_of(jrnn.lstm(H), F))
    mgu = variables_of(nn.MGUCell(2), np.ones(2, np.float32), np.ones(3, np.float32))["params"]
    equinox = {"weight_ih": np.ones((12, 2)), "weight_hh": np.ones((12, 4)), "bias": np.ones(12)}
    for call, match in (
        (lambda: weights.from_linen({"params": linen}), r"params: got names \['params.hf.bias'"),
        (lambda: weights.from_linen(mgu), "params: got names .*hf.kernel"),
        (lambda: weights.from_linen(linen | {"hf": {"kernel": linen["hf"]["kernel"]}}), "hf.bias: got none among"),
        (lambda: weights.from_linen(linen | {"if": {"kernel": np.ones((F, 2))}}), r"if.kernel: got shape \(3, 2\)"),
        (lambda: weights.from_linen(3), "params: got int"),
        (lambda: weights.from_nnx({"dense_h": {"kernel": np.ones((2, 5))}}), "dense_h.kernel: .* 1, 3 or 4 gates"),
        (lambda: weights.from_equinox(equinox), r"bias_n: got none among"),
        (lambda: weights.from_equinox(object()), "weight_hh: got none among"),
        (lambda: weights.from_equinox({"weight_hh": np.ones((2, 2))}), "3 or 4 gates"),
        (lambda: weights.to_equinox(jrnn.elman(2), {}), "cell: got Elman; need jrnn.lstm or jrnn.gru"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()


def test_haiku_gate_conventions_by_hand():
    """One step of Haiku's LSTM in NumPy, from its formula."""
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(F + 2, 8)), rng.normal(size=8)
    cell, params = weights.from_haiku({"lstm/linear": {"w": w, "b": b}})
    x, h, c = rng.normal(size=F), rng.normal(size=2), rng.normal(size=2)
    i, g, f, o = np.split(np.concatenate([x, h]) @ w + b, 4)
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    after = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    got = cell.step(params, jrnn.LSTMState(jnp.asarray(h), jnp.asarray(c)), jnp.asarray(x))
    np.testing.assert_allclose(got.c, after, rtol=1e-13)
    np.testing.assert_allclose(got.h, sigmoid(o) * np.tanh(after), rtol=1e-13)
    core = hk.transform(lambda x, state: hk.LSTM(2)(x, state)[1])
    theirs = core.apply({"lstm/linear": {"w": w, "b": b}}, None, x, hk.LSTMState(h, c))
    np.testing.assert_allclose(theirs.cell, after, rtol=1e-12)
