"""Teacher forcing: scaled Jacobians, cuts, and gradients on Lorenz-63 that stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import InputError
from jrnn.cures import forcing, measured_alpha, teacher_forced
from jrnn.training import Objective, fit, load

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(9, 2, 2))


def parameters(cell, size):
    return jax.tree.map(lambda a: 0.8 * RNG.normal(size=a.shape), cell.init(jax.random.key(0), size))


def test_the_inputs():
    sparse, constant = forcing(SERIES, every=4), forcing(SERIES[:, 0], alpha=0.25)
    np.testing.assert_array_equal(sparse[..., :2], SERIES)
    np.testing.assert_array_equal(sparse[:, 1, 2], [1, 0, 0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(constant[..., 2], 0.25)
    assert forcing(SERIES[:0], every=3).shape == (0, 2, 3)


@pytest.mark.thorough
@pytest.mark.parametrize("inputs", [0, 1])
def test_one_step_and_its_jacobian(inputs):
    """By hand: the first two of an LSTM's three units are mixed; J_t = J_F diag(1 - alpha, 1 - alpha, 1, ...)."""
    bare = jrnn.lstm(3)
    cell = teacher_forced(bare, 2)
    params = parameters(cell, 3 + inputs)
    xs = np.concatenate([forcing(SERIES, alpha=0.3), RNG.normal(size=(9, 2, inputs))], axis=-1)
    run = jrnn.unroll(cell, params, xs, return_states=True)
    state = bare.initial_state(params, (2,))
    J = jrnn.jacobians(cell, params, xs)
    state_of = lambda v: type(state)(v[:3], v[3:])  # noqa: E731
    bare_J = jax.vmap(jax.jacfwd(lambda v, x: jnp.concatenate(bare.step(params, state_of(v), x))))
    for t in range(9):
        own = xs[t, :, 3:] if inputs else None
        h = np.array(state.h)
        h[:, :2] = 0.7 * h[:, :2] + 0.3 * SERIES[t]
        read = state._replace(h=jnp.asarray(h))
        expected = bare_J(jnp.concatenate(read, axis=-1), own) * np.array([0.7, 0.7, 1, 1, 1, 1])[None, None]
        np.testing.assert_allclose(J[t], expected, rtol=1e-11, atol=1e-14)
        state = bare.step(params, read, own)
        np.testing.assert_allclose(run.outputs[t], state.h[:, :2], rtol=1e-12)


def test_sparse_forcing_cuts_and_a_state_that_diverged_comes_back():
    cell = teacher_forced(jrnn.elman(2, "identity"), 2)
    params = parameters(cell, 3)
    of = lambda run: jnp.sum(run.outputs[6])  # noqa: E731
    deltas = jrnn.state_gradients(cell, params, forcing(SERIES, every=4), of).h
    assert (deltas[:5] == 0).all() and (deltas[5:8] != 0).all()  # step 4 reads the series, not h_4
    lost = cell.initial_state(params, (2,))._replace(h=jnp.full((2, 2), jnp.inf))
    again = jrnn.unroll(cell, params, forcing(SERIES, every=4), initial_state=lost).outputs
    np.testing.assert_array_equal(again, jrnn.unroll(cell, params, forcing(SERIES, every=4)).outputs)


@pytest.mark.parametrize("mean", ["largest", "geometric"])
def test_the_measured_alpha_bounds_the_product(mean):
    """(1 - alpha) N = 1, N over the states that are read; where nothing explodes alpha is 0."""
    cell = teacher_forced(jrnn.elman(2), 2)
    params = cell.init(jax.random.key(0), 3) | {"w_rec": jnp.array([[2.0, 0.5], [-0.3, 1.5]])}
    start = forcing(0.2 * SERIES, every=1)
    alpha = measured_alpha(cell, params, start, mean=mean)
    norms = []
    for u in 0.2 * SERIES.reshape(-1, 2):
        slope = 1 - np.tanh(u @ params["w_rec"] + params["bias"]) ** 2
        norms.append(np.linalg.norm(np.asarray(slope)[:, None] * np.asarray(params["w_rec"]).T, 2))
    if mean == "largest":
        products = np.cumprod((1 - float(alpha)) * np.array(norms))
        assert products.max() <= 1 + 1e-12
    size = np.max(norms) if mean == "largest" else np.exp(np.mean(np.log(norms)))
    np.testing.assert_allclose(alpha, 1 - 1 / size, rtol=1e-10)
    assert 0 < alpha < 1
    assert measured_alpha(cell, jax.tree.map(lambda a: 0.01 * a, params), start, mean=mean) == 0


def lorenz(params, h, x):
    """One step of Runge and Kutta, .05 units of time, of the system over 10."""

    def slope(h):
        x, y, z = h[..., 0], h[..., 1], h[..., 2]
        s, r, b = params["w"][0], params["w"][1], params["w"][2]
        return jnp.stack([s * (y - x), x * (r - 10 * z) - y, 10 * x * y - b * z], axis=-1)

    dt = jnp.asarray(0.05, h.dtype)
    one = slope(h)
    two = slope(h + dt / 2 * one)
    three = slope(h + dt / 2 * two)
    return h + dt / 6 * (one + 2 * two + 2 * three + slope(h + dt * three))


@pytest.mark.thorough
def test_gradients_on_lorenz_63_stay_finite():
    """lambda_1 = .9056: in float32 free running overflows after 88 / .9056 / .05 = 1,943 steps; forced it does not."""
    bare = jrnn.from_functions(
        init=lambda key, size: {"w": jnp.array([10.0, 28.0, 8 / 3], "float32")},
        initial_state=lambda params, batch: jnp.full((*batch, 3), 0.1, params["w"].dtype),
        step=lorenz,
    )
    params = bare.init(None, None)
    truth = jrnn.unroll(bare, params, None, length=2400).outputs
    cell = teacher_forced(bare, 3)
    slope = jax.jit(jax.grad(lambda p, xs: jnp.mean((jrnn.unroll(cell, p, xs).outputs[:-1] - truth[1:-1]) ** 2)))
    off = {"w": params["w"] + jnp.asarray(0.5, "float32")}
    free = slope(off, forcing(truth[:-1], every=2400))["w"]
    alpha = measured_alpha(cell, off, forcing(truth[:-1], every=1))
    forced = slope(off, forcing(truth[:-1], alpha=alpha))["w"]
    sparse = slope(off, forcing(truth[:-1], every=15))["w"]  # ln 2 / .9056 / .05
    assert not np.isfinite(free).all() and np.isfinite(forced).all() and np.isfinite(sparse).all()
    assert 0.1 < alpha < 1 and np.abs(sparse).max() < 1e6


def test_through_fit(tmp_path):
    data = {"x": np.moveaxis(np.asarray(forcing(SERIES[:-1], every=3)), 1, 0), "y": np.moveaxis(SERIES[1:], 1, 0)}
    cell = teacher_forced(jrnn.elman(4), 2)
    run = fit(cell, Objective("regress_each", 2), data, steps=2, batch_size=2, out=tmp_path / "run", flow_every=None)
    assert np.isfinite(run.history["loss"]).all() and load(tmp_path / "run").cell == cell
    with pytest.raises(InputError, match="observed: got 5 for 4 units"):
        jrnn.unroll(teacher_forced(jrnn.elman(4), 5), run.params, np.ones((2, 6)))
