"""Each cell's step against NumPy, unit by unit, from the formulas (`formulas.py`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cells import formulas
from tests.cells.cases import Case

EXACT = {"rtol": 1e-13, "atol": 1e-14}


def steps_of(cell, input_size, batch=4):
    """Parameters, states and inputs as NumPy arrays, and what the cell makes of them in one batched step."""
    case = Case("", cell, input_size, 0, 0)
    params, x = case.params(5), case.inputs((batch,), 6)
    state = case.state((batch,), 7)
    after = cell.step(params, state, x)
    np.testing.assert_array_equal(cell.output(params, after, x), after.h)  # the output of these cells is h_t
    return jax.tree.map(np.asarray, (params, state, x, after))


@pytest.mark.parametrize("activation", ["tanh", "relu", "identity"])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 3)], ids=str)
def test_elman(activation, sizes):
    params, state, x, after = steps_of(jrnn.elman(sizes[0], activation), sizes[1])
    expected = [formulas.elman(params, h, one, activation) for h, one in zip(state.h, x, strict=True)]
    np.testing.assert_allclose(after.h, expected, **EXACT)


def test_elman_without_inputs():
    cell = jrnn.elman(3)
    params = Case("", cell, None, 0, 0).params()
    h = np.array([0.3, -0.2, 0.9])
    after = cell.step(params, jrnn.ElmanState(jnp.asarray(h)), None)
    assert params["w_in"].shape == (0, 3)
    np.testing.assert_allclose(after.h, formulas.elman(params, h, np.zeros(0), "tanh"), **EXACT)


@pytest.mark.parametrize("sizes", [(1, 1), (5, 3)], ids=str)
def test_lstm(sizes):
    params, state, x, after = steps_of(jrnn.lstm(sizes[0]), sizes[1])
    expected = [formulas.lstm(params, h, c, one) for h, c, one in zip(state.h, state.c, x, strict=True)]
    np.testing.assert_allclose(after.h, [h for h, _ in expected], **EXACT)
    np.testing.assert_allclose(after.c, [c for _, c in expected], **EXACT)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 3)], ids=str)
def test_gru(reset_after, sizes):
    params, state, x, after = steps_of(jrnn.gru(sizes[0], reset_after=reset_after), sizes[1])
    assert ("bias_rec" in params) == reset_after
    expected = [formulas.gru(params, h, one, reset_after) for h, one in zip(state.h, x, strict=True)]
    np.testing.assert_allclose(after.h, expected, **EXACT)


def test_the_two_grus_differ():
    """With equal weights the variants are different functions; a flag that is ignored would pass all else."""
    after, before = jrnn.gru(5), jrnn.gru(5, reset_after=False)
    case = Case("", after, 3, 0, 0)
    params, x = case.params(), case.inputs()
    state = case.state((), 7)
    difference = after.step(params, state, x).h - before.step(params, state, x).h
    assert jnp.max(jnp.abs(difference)) > 1e-2


@pytest.mark.parametrize("sizes", [(1, 1), (5, 3)], ids=str)
def test_linear(sizes):
    params, state, x, after = steps_of(jrnn.linear(sizes[0]), sizes[1])
    expected = [formulas.linear(params, h, one) for h, one in zip(state.h, x, strict=True)]
    np.testing.assert_allclose(after.h, expected, **EXACT)


@pytest.mark.parametrize("sizes", [(1, 1), (5, 3)], ids=str)
def test_cells_of_two_states(sizes):
    for cell, expect in (
        (jrnn.cornn(sizes[0], dt=0.3, gamma=1.3, epsilon=0.7), lambda *at: formulas.cornn(*at, 0.3, 1.3, 0.7)),
        (jrnn.unicornn(sizes[0], dt=0.9, alpha=0.4), lambda *at: formulas.unicornn(*at, 0.9, 0.4)),
        (jrnn.lem(sizes[0], dt=0.6), lambda *at: formulas.lem(*at, 0.6)),
    ):
        params, state, x, after = steps_of(cell, sizes[1])
        expected = [expect(params, h, z, one) for h, z, one in zip(state.h, state.z, x, strict=True)]
        np.testing.assert_allclose(after.h, [h for h, _ in expected], **EXACT)
        np.testing.assert_allclose(after.z, [z for _, z in expected], **EXACT)


@pytest.mark.parametrize("sizes", [(1, 1), (5, 3)], ids=str)
def test_antisymmetric_and_independent_units(sizes):
    params, state, x, after = steps_of(jrnn.antisymmetric(sizes[0], epsilon=0.3, gamma=0.6), sizes[1])
    expected = [formulas.antisymmetric(params, h, one, 0.3, 0.6) for h, one in zip(state.h, x, strict=True)]
    np.testing.assert_allclose(after.h, expected, **EXACT)
    for activation in ("relu", "tanh"):  # some of the weights lie beyond the bound
        params, state, x, after = steps_of(jrnn.indrnn(sizes[0], activation, t_max=20), sizes[1])
        params["w_rec"] = 2 * params["w_rec"]
        after = jrnn.indrnn(sizes[0], activation, t_max=20).step(params, state, x)
        expected = [
            formulas.indrnn(params, h, one, activation, 2 ** (1 / 20)) for h, one in zip(state.h, x, strict=True)
        ]
        np.testing.assert_allclose(after.h, expected, **EXACT)


@pytest.mark.parametrize("candidate", ["identity", "tanh", "positive"])
@pytest.mark.parametrize("name", ["min_gru", "min_lstm"])
def test_minimal_gated_cells(name, candidate):
    params, state, x, after = steps_of(getattr(jrnn, name)(5, candidate=candidate), 3)
    expected = [getattr(formulas, name)(params, h, one, candidate) for h, one in zip(state.h, x, strict=True)]
    np.testing.assert_allclose(after.h, expected, **EXACT)


def test_rg_lru():
    params, state, x, after = steps_of(jrnn.rg_lru(5), 3)
    expected = [formulas.rg_lru(params, h, one) for h, one in zip(state.h, x, strict=True)]
    np.testing.assert_allclose(after.h, expected, **EXACT)


def test_lru():
    cell = jrnn.lru(5, outputs=4)
    case = Case("", cell, 3, 0, 0)
    params, state, x = case.params(5), case.state((4,), 7), case.inputs((4,), 6)
    after = cell.step(params, state, x)
    y = np.asarray(cell.output(params, after, x))
    for b in range(4):
        new, read = formulas.lru(params, state.re[b] + 1j * state.im[b], x[b])
        np.testing.assert_allclose(np.asarray(after.re)[b] + 1j * np.asarray(after.im)[b], new, **EXACT)
        np.testing.assert_allclose(y[b], read, **EXACT)


def test_stack_feeds_each_layer_the_output_below():
    cell = jrnn.stack(jrnn.gru(3), jrnn.lstm(2), jrnn.elman(5))
    case = Case("", cell, 4, 0, 0)
    params, x = case.params(), case.inputs()
    state = case.state((), 7)
    after = cell.step(params, state, x)
    h = formulas.gru(params[0], np.asarray(state[0].h), np.asarray(x), True)
    np.testing.assert_allclose(after[0].h, h, **EXACT)
    h, c = formulas.lstm(params[1], *map(np.asarray, state[1]), h)
    np.testing.assert_allclose(after[1].h, h, **EXACT)
    np.testing.assert_allclose(after[1].c, c, **EXACT)
    top = formulas.elman(params[2], np.asarray(state[2].h), h, "tanh")
    np.testing.assert_allclose(after[2].h, top, **EXACT)
    np.testing.assert_allclose(cell.output(params, after, x), top, **EXACT)


def test_residual_adds_the_input():
    cell = jrnn.residual(jrnn.elman(3))
    case = Case("", cell, 3, 0, 0)
    params, x = case.params(), case.inputs()
    state = case.state((), 7)
    after = cell.step(params, state, x)
    h = formulas.elman(params, np.asarray(state.h), np.asarray(x), "tanh")
    np.testing.assert_allclose(after.h, h, **EXACT)
    np.testing.assert_allclose(cell.output(params, after, x), h + np.asarray(x), **EXACT)


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_layer_norm_of_the_output(epsilon):
    cell = jrnn.layer_norm(jrnn.elman(5), epsilon=epsilon)
    case = Case("", cell, 3, 0, 0)
    params, x = case.params(), case.inputs()
    state = case.state((), 7)
    after = cell.step(params, state, x)
    h = formulas.elman(params["cell"], np.asarray(state.h), np.asarray(x), "tanh")
    np.testing.assert_allclose(after.h, h, **EXACT)  # the recurrence is untouched
    expected = formulas.layer_norm(h, *map(np.asarray, (params["scale"], params["bias"])), epsilon)
    np.testing.assert_allclose(cell.output(params, after, x), expected, rtol=1e-12)


def test_layer_norm_of_the_hidden_state():
    cell = jrnn.layer_norm(jrnn.lstm(5), on="hidden")
    case = Case("", cell, 3, 0, 0)
    params, x = case.params(), case.inputs()
    state = case.state((), 7)
    after = cell.step(params, state, x)
    h, c = formulas.lstm(params["cell"], *map(np.asarray, state), np.asarray(x))
    expected = formulas.layer_norm(h, *map(np.asarray, (params["scale"], params["bias"])), 1e-5)
    np.testing.assert_allclose(after.h, expected, rtol=1e-12)
    np.testing.assert_allclose(after.c, c, **EXACT)  # the LSTM's memory is left alone
    np.testing.assert_allclose(cell.output(params, after, x), after.h, rtol=0)


def test_layer_norm_around_a_stack_normalises_its_output():
    plain = jrnn.stack(jrnn.gru(3), jrnn.elman(5))
    case = Case("", jrnn.layer_norm(plain), 2, 0, 0)
    params, x = case.params(), case.inputs()
    state = case.state((), 7)
    after = case.cell.step(params, state, x)
    y = np.asarray(plain.output(params["cell"], after, x))
    expected = formulas.layer_norm(y, *map(np.asarray, (params["scale"], params["bias"])), 1e-5)
    np.testing.assert_allclose(case.cell.output(params, after, x), expected, rtol=1e-12)


def test_learnable_initial_state_is_a_parameter():
    plain = jrnn.lstm(3)
    cell = jrnn.learnable_initial_state(plain)
    params = cell.init(jax.random.key(0), 2)
    for leaf in jax.tree.leaves(params["initial_state"]):
        np.testing.assert_array_equal(leaf, np.zeros(3))  # begins where the cell began
    params["initial_state"] = jrnn.LSTMState(jnp.array([1.0, 2.0, 3.0]), jnp.array([4.0, 5.0, 6.0]))
    start = cell.initial_state(params, (2, 5))
    np.testing.assert_array_equal(start.h, np.tile([1.0, 2.0, 3.0], (2, 5, 1)))
    np.testing.assert_array_equal(start.c, np.tile([4.0, 5.0, 6.0], (2, 5, 1)))
    x = jnp.ones(2)
    after, alone = cell.step(params, start, jnp.ones((2, 5, 2))), plain.step(params["cell"], params["initial_state"], x)
    np.testing.assert_allclose(after.h[1, 3], alone.h, rtol=1e-14)


def test_gradient_of_the_learnable_initial_state_sums_over_the_batch():
    cell = jrnn.learnable_initial_state(jrnn.elman(3))
    case = Case("", cell, 2, 0, 0)
    params, xs = case.params(), case.inputs((5, 4))

    def loss(params):
        return jnp.sum(jrnn.unroll(cell, params, xs).outputs ** 2)

    def each(h0, b):
        return jnp.sum(jrnn.unroll(cell, params, xs[:, b], initial_state=h0).outputs ** 2)

    got = jax.grad(loss)(params)["initial_state"].h
    alone = [jax.grad(each)(params["initial_state"], b).h for b in range(4)]
    np.testing.assert_allclose(got, np.sum(alone, axis=0), rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_dense_is_affine(seed):
    head = jrnn.dense(3)
    params = head.init(jax.random.key(seed), 5)
    assert params["w"].shape == (5, 3)
    np.testing.assert_array_equal(params["bias"], np.zeros(3))
    params = jax.tree.map(lambda p: p + 0.5, params)
    y = jax.random.normal(jax.random.key(2), (4, 2, 5))
    w, b = map(np.asarray, (params["w"], params["bias"]))
    expected = [[[formulas.weighted(w, one, j) + b[j] for j in range(3)] for one in row] for row in np.asarray(y)]
    np.testing.assert_allclose(head(params, y), expected, rtol=1e-13)
