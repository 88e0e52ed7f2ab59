"""Exact laws of coRNN, UnICORNN, LEM, the antisymmetric network and IndRNN, and their way through `unroll`."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cells.cases import Case
from tests.unrolling import brute_force

T = 5
KEY = jax.random.key(4)


def random_run(cell, input_size=2, steps=T):
    """Random parameters, inputs and a start."""
    case = Case("", cell, input_size, 0, 0)
    return case.params(1), case.inputs((steps,)), case.state()


def test_determinant_of_cornn():
    """det J_t = det((1 - epsilon dt) I + dt diag(sech^2) W_z^T); without W_z the exponents sum to H ln(1 - eps dt)."""
    cell = jrnn.cornn(4, dt=0.2, gamma=1.5, epsilon=0.8)
    params, xs, start = random_run(cell)
    J = jrnn.jacobians(cell, params, xs, initial_state=start)
    states = jrnn.unroll(cell, params, xs, initial_state=start, return_states=True).states
    for t in range(T):
        h, z = np.asarray(states.h[t]), np.asarray(states.z[t])
        summed = xs[t] @ params["w_in"] + h @ params["w_rec"] + z @ params["w_vel"] + params["bias"]
        law = np.linalg.det(0.84 * np.eye(4) + 0.2 * np.diag(np.cosh(summed) ** -2.0) @ params["w_vel"].T)
        assert abs(np.linalg.det(J[t]) - law) <= 1e-12
    still = params | {"w_vel": np.zeros((4, 4))}
    spectrum = jrnn.lyapunov_spectrum(cell, still, xs, initial_state=start)
    np.testing.assert_allclose(np.sum(spectrum.exponents), 4 * math.log(0.84), rtol=1e-12)


def test_units_of_unicornn_keep_their_area():
    """Every unit's 2 x 2 block has determinant 1, no unit sees another, and the run goes backwards."""
    cell = jrnn.unicornn(4, dt=0.9, alpha=1.7)
    params, xs, start = random_run(cell)
    J = np.asarray(jrnn.jacobians(cell, params, xs, initial_state=start))
    for unit in range(4):
        block = J[:, [unit, unit + 4]][:, :, [unit, unit + 4]]
        np.testing.assert_allclose(np.linalg.det(block), 1, rtol=0, atol=1e-12)
        assert np.count_nonzero(J[:, unit]) == 2 * T
    final = jrnn.unroll(cell, params, xs, initial_state=start).final_state
    h, z = np.asarray(final.h), np.asarray(final.z)
    s = 0.9 / (1 + np.exp(-params["rate"]))
    for x in xs[::-1]:
        h = h - s * z
        z = z + s * (np.tanh(params["w_rec"] * h + x @ params["w_in"] + params["bias"]) + 1.7 * h)
    np.testing.assert_allclose(h, start.h, rtol=1e-12)
    np.testing.assert_allclose(z, start.z, rtol=1e-12)


def test_lem_forgets_by_half_of_dt():
    """Where both gates are at 0 and the targets read no state, every exponent is ln(1 - dt/2)."""
    cell = jrnn.lem(3, dt=0.3)
    params, xs, start = random_run(cell)
    gates = np.arange(12) < 6
    params = {
        "w_in": np.where(gates, 0, params["w_in"]),
        "w_rec": np.zeros((3, 12)),
        "bias": np.where(gates, 0, params["bias"]),
    }
    spectrum = jrnn.lyapunov_spectrum(cell, params, xs, initial_state=start)
    np.testing.assert_allclose(spectrum.exponents, np.full(6, math.log(0.85)), rtol=1e-12)


def test_starts():
    """LEM: U(-1/sqrt H, 1/sqrt H), biases the sum of two; UnICORNN and IndRNN within their ranges, filling them."""
    lem = jrnn.lem(64, dt=0.0242).init(KEY, 2)
    assert lem["w_in"].shape == (2, 256) and lem["w_rec"].shape == (64, 256) and lem["bias"].shape == (256,)
    assert 0.12 < np.abs(lem["w_rec"]).max() <= 0.125 and np.abs(lem["w_in"]).max() <= 0.125
    np.testing.assert_allclose(np.var(lem["bias"]), 2 * 0.125**2 / 3, rtol=0.3)
    slow = jrnn.lem(2000, t_max=200, w_rec="zeros").init(KEY, 1)["bias"]  # sigmoid(-ln u) = 1 / (1 + u)
    for paces in np.split(1 / (1 + np.exp(-np.asarray(slow[:4000]))), 2):
        assert 2 <= (1 / paces).min() < 3 and 199 < (1 / paces).max() <= 200
        np.testing.assert_allclose((1 / paces).mean(), 101, rtol=5 * 0.57 / 2000**0.5)
    own = jrnn.unicornn(2000).init(KEY, 1)
    assert (
        0 <= own["w_rec"].min() < 0.01 and 0.99 < own["w_rec"].max() <= 1 and 0.099 < np.abs(own["rate"]).max() <= 0.1
    )
    for cell, bound in ((jrnn.indrnn(2000, t_max=4), 2**0.25), (jrnn.indrnn(2000), 1.0)):
        u = cell.init(KEY, 1)["w_rec"]
        assert cell.bound == bound and 0 <= u.min() < 0.01 and bound - 0.01 < u.max() <= bound


@pytest.mark.thorough
def test_growth_of_the_antisymmetric_cell():
    """`growth` is the spectral radius of the step at rest, by NumPy; the default start is stable for every size."""
    cell = jrnn.antisymmetric(6, epsilon=0.3, gamma=0.2)
    params = Case("", cell, 2, 0, 0).params()
    still = params | {"bias": np.zeros(6)}
    J = jax.jacfwd(lambda h: cell.step(still, jrnn.AntisymmetricState(h), jnp.zeros(2)).h)(jnp.zeros(6))
    growth = jax.jit(cell.growth)(params)
    np.testing.assert_allclose(growth, np.abs(np.linalg.eigvals(J)).max(), rtol=1e-12)
    np.testing.assert_allclose(growth, np.linalg.norm(J, 2), rtol=1e-12)  # a normal matrix: no transient growth either
    omega = np.abs(np.linalg.eigvals(params["w_rec"] - params["w_rec"].T).imag).max()
    np.testing.assert_allclose(growth, math.hypot(1 - 0.06, 0.3 * omega), rtol=1e-12)
    for hidden in (1, 2, 5, 64):
        default = jrnn.antisymmetric(hidden)
        starts = jax.vmap(lambda key, cell=default: cell.init(key, 2))(jax.random.split(KEY, 50))
        grown = np.asarray(jax.vmap(default.growth)(starts))
        m = np.asarray(starts["w_rec"])
        omega = np.abs(np.linalg.eigvals(m - m.swapaxes(1, 2)).imag).max(1)
        assert np.all(2 * 0.1 >= 0.05 * (0.1**2 + omega**2)) and np.all(grown <= 1) and np.all(grown >= 0.99)


def test_the_antisymmetric_cell_warns_with_its_growth():
    """The published setting grows by about 1.0326 a step, 614 times in 200; told where `init` sees its values."""
    grows = jrnn.antisymmetric(200, epsilon=0.1, gamma=0.01, w_rec=jrnn.initializers.gaussian(1.0))
    with pytest.warns(UserWarning, match=r"antisymmetric: grows by 1\.03\d+ a step, .* times in 200.* 2 gamma = 0\.02"):
        params = grows.init(KEY, 2)
    assert abs(float(grows.growth(params)) - 1.0326) < 0.005
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jrnn.antisymmetric(200).init(KEY, 2)
        jax.jit(grows.init, static_argnums=1)(KEY, 2)  # no values to see


def test_indrnn_keeps_a_gradient_within_two_over_t_max():
    cell = jrnn.indrnn(5, "identity", t_max=20)
    params = Case("", cell, 2, 0, 0).params() | {"w_rec": np.array([-3.0, -1.0, 0.5, 1.0, 40.0])}
    product = jrnn.jacobian_product(jrnn.jacobians(cell, params, np.ones((20, 2))), 0, 20)
    np.testing.assert_allclose(np.diag(product), [2, 1, 0.5**20, 1, 2], rtol=1e-12)
    # at the bound and beyond it the gradient is that of the bound: h_3 = (1 + u + u^2) v
    params |= {"w_rec": np.array([-3.0, -1.0, 0.5, cell.bound, 40.0])}
    gradient = jax.grad(lambda p: jnp.sum(jrnn.unroll(cell, p, jnp.ones((3, 2))).last))(params)
    u, v = np.clip(params["w_rec"], -cell.bound, cell.bound), params["w_in"].sum(0) + params["bias"]
    np.testing.assert_allclose(gradient["w_rec"], (1 + 2 * u) * v, rtol=1e-12)


MAKE = {
    "cornn": jrnn.cornn(2, dt=0.3),
    "unicornn": jrnn.unicornn(2, dt=0.8),
    "lem": jrnn.lem(2, dt=0.8),
    "antisymmetric": jrnn.antisymmetric(3, epsilon=0.3, gamma=0.6),
    "indrnn": jrnn.indrnn(3, "tanh"),
}


@pytest.mark.parametrize("name", MAKE)
def test_unrolled_as_by_a_plain_loop(name):
    """Values and every gradient with lengths 0 to T, resets and a mask, against explicit Jacobians."""
    cell, params = brute_force.make(MAKE[name])
    rng = np.random.default_rng(3)
    when = {"lengths": np.array([4, 0, 3]), "resets": rng.random((4, 3)) < 0.3, "mask": rng.random((4, 3)) < 0.8}
    brute_force.compare(cell, params, brute_force.inputs(name, 4, (3,)), steps=4, batch=(3,), **when)


@pytest.mark.thorough
def test_instruments_and_streaming_on_all_of_them():
    """One stack: the parts of the gradient sum to it, and stepping is unrolling."""
    cell = jrnn.stack(*MAKE.values())
    params, xs = brute_force.make(cell)[1], jnp.asarray(brute_force.inputs("", T, (2,)))
    flow = jrnn.gradient_flow(cell, params, xs, lambda run: jnp.sum(run.outputs**2))
    assert np.max(flow.sum_error) < 1e-12 and len(jax.tree.leaves(flow.credit_by_state)) == 8
    expected = jrnn.unroll(cell, params, xs)
    step, state = jax.jit(lambda *args: jrnn.step(cell, *args)), cell.initial_state(params, (2,))
    for t in range(T):
        state, y = step(params, state, xs[t])
        np.testing.assert_allclose(y, expected.outputs[t], rtol=1e-12)
    assert jrnn.unroll(cell, params, xs[:0]).outputs.shape == (0, 2, 3)
