"""`tune_gain` against closed forms, mean-field theory and `lyapunov_spectrum`."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import InputError
from jrnn.cures import tune_gain
from jrnn.cures.gain import scaled_leaves

RNG = np.random.default_rng(0)


def test_a_diagonal_in_closed_form():
    """lambda_1 = ln(s max |w_i|); nothing but w_rec moves."""
    cell = jrnn.linear(3)
    params = cell.init(jax.random.key(0), 2) | {"w_rec": jnp.array([0.5, -0.8, 0.3])}
    xs = RNG.normal(size=(12, 2, 2))
    found = tune_gain(cell, params, xs, target=math.log(0.95), warmup=9)
    ratio = np.asarray(found["w_rec"] / params["w_rec"])
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    assert abs(math.log(ratio[0] * 0.8 / 0.95)) <= 2.1e-3  # 2e-3, and what the direction has left to turn
    for name in ("w_in", "bias"):
        np.testing.assert_array_equal(found[name], params[name])


def test_the_critical_gain_of_mean_field_theory():
    """tanh, driven by N(0, 1): g_c = 1.8556 for H = infinity; 192 units are within 3 %."""
    cell = jrnn.elman(192, w_rec="gaussian", w_in="identity")
    params = cell.init(jax.random.key(0), 192)
    found = tune_gain(cell, params, RNG.normal(size=(100, 2, 192)))
    assert abs(float((found["w_rec"] / params["w_rec"])[0, 0]) / 1.8556 - 1) < 0.03


CELLS = {
    "elman": (lambda: jrnn.elman(5, w_rec="gaussian"), [(lambda p: p, 1, 0)], -0.3),
    "gated stack": (
        lambda: jrnn.stack(jrnn.layer_norm(jrnn.lstm(3)), jrnn.learnable_initial_state(jrnn.gru(4))),
        [(lambda p: p[0]["cell"], 4, 2), (lambda p: p[1]["cell"], 3, 2)],
        -0.1,
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_the_spectrum_of_the_result(name):
    """By other code; of gates the candidate's block alone is multiplied, in every layer by the same factor."""
    make, layers, target = CELLS[name]
    cell = make()
    params = cell.init(jax.random.key(1), 2)
    xs, lengths = 0.2 * RNG.normal(size=(600, 3, 2)), np.array([600, 550, 580])
    xs[550:, 1] = np.nan
    found = tune_gain(cell, params, xs, target=target, lengths=lengths)
    spectrum = jrnn.lyapunov_spectrum(cell, found, xs, k=1, lengths=lengths, warmup=150)
    assert abs(np.median(spectrum.exponents) - target) < 4e-3  # two draws of the directions, 450 steps
    factors = []
    for of, blocks, chosen in layers:
        before, after = (np.split(np.asarray(of(p)["w_rec"]), blocks, axis=-1) for p in (params, found))
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            factors += [np.median(b / a)] if i == chosen else []
            np.testing.assert_allclose(b, a * factors[0] if i == chosen else a, rtol=1e-12)
        np.testing.assert_array_equal(of(found)["w_in"], of(params)["w_in"])
    assert abs(factors[0] - 1) > 0.05
    if name == "elman":
        tuned = partial(tune_gain, cell, xs=xs, target=target, lengths=lengths)
        twice = params | {"w_rec": 2 * params["w_rec"]}
        many = jax.jit(jax.vmap(tuned))(jax.tree.map(lambda a, b: jnp.stack([a, b]), twice, params))
        np.testing.assert_allclose(many["w_rec"][1], found["w_rec"], rtol=1e-9)
        np.testing.assert_allclose(many["w_rec"][0], found["w_rec"], rtol=0.02)


@pytest.mark.parametrize("shape", [(1, 2), (9, 2, 3, 2)], ids=str)
def test_any_batch_and_sixteen_bits(shape):
    cell = jrnn.elman(3, "identity", dtype="bfloat16")
    params = cell.init(jax.random.key(0), 2)
    found = tune_gain(cell, params, RNG.normal(size=shape), target=-0.5)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("bfloat16")}
    # an orthogonal matrix times s has all exponents ln s
    np.testing.assert_allclose(np.linalg.norm(np.float64(found["w_rec"]), 2), math.exp(-0.5), rtol=0.02)


def test_what_no_factor_reaches_is_said():
    """Half-lives of an LSTM hold lambda_1 above ln f, weights of zero make any factor nothing; the best is returned."""
    cell = jrnn.lstm(3, bias=jrnn.initializers.forget_bias(4.0))
    params, xs = cell.init(jax.random.key(0), 2), RNG.normal(size=(6, 2, 2))
    with pytest.warns(UserWarning, match="tune_gain: the nearest exponent is -0.0.* nats per step, not -3"):
        tune_gain(cell, params, xs, target=-3.0)
    zeros = jax.tree.map(jnp.zeros_like, params)
    with pytest.warns(UserWarning, match="not 0.5"):
        found = tune_gain(cell, zeros, xs, target=0.5)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(found))


def test_cells_without_recurrent_weights():
    own = jrnn.from_functions(init=None, initial_state=lambda p, b: jnp.zeros((*b, 2)), step=lambda p, s, x: s * p["a"])
    with pytest.raises(InputError, match="cell: got FunctionCell; need a cell with recurrent weights `w_rec`"):
        tune_gain(own, {"a": jnp.ones(2)}, np.ones((3, 2)))


def test_the_candidates_of_further_gated_cells():
    """g of the refined LSTM, n of the refined GRUs, the target of h of the LEM: (blocks, which of them)."""
    cell = jrnn.stack(
        jrnn.lstm(3, refine=True), jrnn.gru(3, refine=True), jrnn.gru(3, False, refine=True), jrnn.lem(3, dt=0.5)
    )
    params = cell.init(jax.random.key(0), 2)
    assert [blocks for _, *blocks in scaled_leaves(cell, params)] == [[5, 2], [4, 3], [4, 3], [4, 3]]
