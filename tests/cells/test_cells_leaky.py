"""Leaky units: the formula in NumPy, the bare cell at theta = inf, the start, and what a constant F leaves of lags."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import jrnn
from tests.cells.cases import Case, normal_like
from tests.kernels.cases import able

KEY, STEPS, ROWS = jax.random.key(0), 7, 3


def nothing(key, input_size):
    return {}


def bare_step(cell, own, before, x):
    """F, by the cell's own step."""
    return jax.tree.map(np.asarray, cell.step(own, before, x))


@pytest.mark.parametrize("cell", [jrnn.lstm(3), jrnn.stack(jrnn.elman(3)).cells[0], jrnn.linear(3)], ids=str)
def test_every_part_of_the_state_is_mixed_with_the_old_one(cell):
    case = Case("", jrnn.leaky(cell, 9), 2, 0, 3)
    params, xs, state = case.params(), case.inputs((STEPS, ROWS)), case.state((ROWS,))
    found = jrnn.unroll(case.cell, params, xs, initial_state=state, return_states=True).states
    a = expit(params["theta"])
    assert a.shape == (3,) and found._fields == state._fields
    for t in range(STEPS):
        new = bare_step(cell, params["cell"], state, xs[t])
        state = jax.tree.map(lambda h, f: (1 - a) * h + a * f, state, new)
        for ours, theirs in zip(found, state, strict=True):
            np.testing.assert_allclose(ours[t + 1], theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", ["tanh", "relu", "identity"])
def test_the_kernels_run_a_leaky_elman_network(activation):
    """Its weights are those of the recurrence, and theta = inf is the bare cell, bit by bit where nothing sums anew."""
    cell = jrnn.leaky(jrnn.elman(5, activation), 9)
    params, xs = Case("", cell, 2, 0, 0).params(), normal_like(jax.ShapeDtypeStruct((STEPS, ROWS, 2), float), 3)
    names = (*able(f"leaky_{activation}"), "reference")
    assert jrnn.kernels.explain(cell, params).chosen == names[0] != "reference"
    runs = [jrnn.unroll(cell, params, xs, implementation=name).outputs for name in names]
    shut = params | {"theta": jnp.full(5, jnp.inf)}
    for name, run in zip(names, runs, strict=True):
        np.testing.assert_allclose(run, runs[-1], rtol=1e-12, atol=1e-13)
        open_ = jrnn.unroll(cell, shut, xs, implementation=name).outputs
        bare = jrnn.unroll(cell.cell, params["cell"], xs, implementation=name).outputs
        np.testing.assert_array_equal(open_, bare)


def test_other_cells_take_the_scan():
    why = jrnn.kernels.explain(*(lambda cell: (cell, cell.init(KEY, 2)))(jrnn.leaky(jrnn.gru(3), 9)))
    assert why.chosen == "reference" and "Leaky has no recurrence of its own" in why.refused["xla"]


@pytest.mark.parametrize("t_max", [3.0, 200])
def test_time_constants_at_the_start(t_max):
    """1/a = 1 + U[1, t_max - 1]; the cell within starts as it would alone."""
    cell = jrnn.leaky(jrnn.linear(2000), t_max)
    params = cell.init(KEY, 1)
    constants = 1 / expit(np.asarray(params["theta"])) - 1
    assert 1 <= constants.min() and constants.max() <= (t_max - 1) * (1 + 1e-12)
    spread = (t_max - 2) / 12**0.5
    assert abs(constants.mean() - t_max / 2) < 5 * spread / 2000**0.5
    assert abs(constants.std() - spread) < 0.06 * spread
    jax.tree.map(np.testing.assert_array_equal, params["cell"], jrnn.linear(2000).init(KEY, 1))


def test_a_constant_cell_leaves_the_leak_alone():
    """F constant: J = diag(1 - a), exponents of the mean of ln(1 - a); h nears F by 1 - (1 - a)^t."""
    cell = jrnn.leaky(jrnn.elman(4, "identity", w_in="zeros", w_rec="zeros"), 50)
    params = cell.init(KEY, 1)
    params["cell"]["bias"] = bias = jnp.asarray([1.0, -2.0, 0.5, 3.0])
    run = jrnn.unroll(cell, params, jnp.ones((40, 1)))
    held = 1 - expit(np.asarray(params["theta"]))
    np.testing.assert_allclose(run.last, bias * (1 - held**40), rtol=1e-12)
    J = jrnn.jacobians(cell, params, jnp.ones((40, 1)))
    np.testing.assert_allclose(J, np.broadcast_to(np.diag(held), J.shape), rtol=1e-14)
    exponents = jrnn.lyapunov_spectrum(cell, params, jnp.ones((40, 1))).exponents
    np.testing.assert_allclose(exponents.sum(), np.log(held).sum(), rtol=1e-12)


def test_what_counts_does_not_leak():
    def step(params, state, x):
        return {"h": jnp.tanh(x), "count": state["count"] + 1}

    def start(params, batch_shape):
        return {"h": jnp.zeros((*batch_shape, 2)), "count": jnp.zeros((), int)}

    cell = jrnn.leaky(jrnn.from_functions(init=nothing, initial_state=start, step=step), 9)
    after = cell.step(params := cell.init(KEY, 2), cell.initial_state(params), jnp.ones(2))
    assert after["count"] == 1
    np.testing.assert_allclose(after["h"], expit(params["theta"]) * np.tanh(1))


def test_in_16_bits_the_share_is_that_of_float32():
    """At theta = -5 the old state keeps .99331, in bfloat16 it would be .99219: 206.6 and 206.4 of 208."""
    cell = jrnn.leaky(jrnn.elman(1, w_in="zeros", w_rec="zeros", dtype="bfloat16"), 9)
    params = cell.init(KEY, 1) | {"theta": jnp.full(1, -5, jnp.bfloat16)}
    state = jrnn.ElmanState(jnp.full(1, 208 / 128, jnp.bfloat16))
    after = cell.step(params, state, jnp.ones(1, jnp.bfloat16)).h
    assert after.dtype == jnp.bfloat16 and float(after[0]) == 207 / 128


def test_what_cannot_leak():
    for cell in (two := jrnn.stack(jrnn.gru(3), jrnn.lstm(3)), jrnn.residual(two)):
        with pytest.raises(jrnn.InputError, match=r"^cell: got a stack; need one layer: jrnn.stack\(jrnn.leaky\(one"):
            jrnn.leaky(cell, 9)
    with pytest.raises(jrnn.InputError, match="^cell: got Bidirectional; need a causal cell"):
        jrnn.leaky(jrnn.Bidirectional(jrnn.gru(3)), 9)
    pair = jrnn.from_functions(init=nothing, initial_state=lambda p, b: (jnp.zeros(2), jnp.zeros(3)), step=max)
    with pytest.raises(
        jrnn.InputError, match=r"^cell: got a state of parts of shapes \[\(2,\), \(3,\)\]; need .* one s"
    ):
        jrnn.leaky(pair, 9).init(KEY, 2)
    cell = jrnn.leaky(jrnn.gru(3), 9)
    params = cell.init(KEY, 2)
    with pytest.raises(jrnn.InputError, match=r"^params\['theta'\]: got shape \(2,\); need \(3,\), one a unit"):
        jrnn.unroll(cell, params | {"theta": jnp.zeros(2)}, jnp.zeros((3, 2)))
    with pytest.raises(jrnn.InputError, match=r"^params: got .*; need a dict of \['cell', 'theta'\]"):
        jrnn.unroll(cell, params["cell"], jnp.zeros((3, 2)))


def test_weights_that_do_not_fit_the_array_functions():
    cell = jrnn.leaky(jrnn.elman(3), 9)
    weights = cell.kernel(cell.init(KEY, 2))
    for theta, given in ((jnp.zeros(2), r"float64\[2\]"), (jnp.zeros(3, jnp.float32), r"float32\[3\]")):
        with pytest.raises(jrnn.InputError, match=rf"^weights.theta: got {given}; need float64\[3\], one a unit"):
            jrnn.kernels.problem_of(weights._replace(theta=theta), jnp.ones((4, 2)), (jnp.zeros(3),), 4, ())


def test_complex_states_leak_with_a_real_share():
    turn = 0.9j
    cell = jrnn.leaky(
        jrnn.from_functions(
            init=nothing,
            initial_state=lambda p, batch: jnp.zeros((*batch, 3), complex),
            step=lambda p, h, x: turn * h + jax.lax.complex(x, 2 * x),
            output=lambda p, h, x: h.real,
        ),
        9,
    )
    params, xs = cell.init(KEY, 3), normal_like(jax.ShapeDtypeStruct((STEPS, ROWS, 3), float), 3)
    a, h = expit(np.asarray(params["theta"])), np.zeros((ROWS, 3), complex)
    assert params["theta"].shape == (3,) and params["theta"].dtype == float
    for x in np.asarray(xs):
        h = (1 - a) * h + a * (turn * h + (1 + 2j) * x)
    np.testing.assert_allclose(jrnn.unroll(cell, params, xs).final_state, h, rtol=1e-12)
