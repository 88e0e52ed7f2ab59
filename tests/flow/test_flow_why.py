"""Why the gradient arrives or not: windows, spectrum and theory of a summary against plain NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import elman, gru, layer_norm, linear, lstm, stack
from jrnn.flow import gradient_flow, summarise
from jrnn.flow.lyapunov.dataset_spectrum import combined, measured_spectrum
from jrnn.flow.sampling import affordable, chosen_sequences, even_sample
from jrnn.flow.singular_values.window_quantiles import grouped, window_bands
from jrnn.flow.theory.network_theory import expected
from jrnn.unrolling import unroll

STEPS, SEQUENCES, UNITS = 13, 5, 3
XS = np.random.default_rng(0).normal(size=(STEPS, SEQUENCES, 2))
LENGTHS = np.array([13, 4, 11, 0, 12])


def made(cell, scale=1.0):
    params = cell.init(jax.random.key(1), XS.shape[2])
    return jax.tree.map(lambda a: scale * jnp.asarray(a, jnp.float64) + 0.1, params)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def elman_states(p, x):
    """h_0..h_T in a loop."""
    states = [np.zeros(len(p["w_rec"]))]
    for row in x:
        states.append(np.tanh(row @ p["w_in"] + states[-1] @ p["w_rec"] + p["bias"]))
    return states


def elman_jacobians(p, x):
    return [np.diag(1 - h**2) @ p["w_rec"].T for h in elman_states(p, x)[1:]]


@pytest.fixture(scope="module")
def summary():
    cell = elman(UNITS)
    params = made(cell)
    found = summarise(cell, params, XS, lambda u: jnp.sum(u.last**2), lengths=LENGTHS, lag=10)
    return found, jax.tree.map(np.asarray, params)


def test_windows_are_products_of_jacobians_up_to_each_sequences_own_end(summary):
    found, p = summary
    assert_array_equal(found.windows.lags, [1, 2, 4, 8, 10])
    assert found.windows.sequences == 3 and found.windows.size == UNITS and found.windows.complete
    logs, volumes = np.empty((5, 3, UNITS)), np.empty((5, 3))
    for s, sequence in enumerate((0, 2, 4)):  # those of more than 10 steps
        jacobians = elman_jacobians(p, XS[: LENGTHS[sequence], sequence])
        for m, lag in enumerate(found.windows.lags):
            product = np.eye(UNITS)
            for J in jacobians[-lag:]:
                product = J @ product
            logs[m, s] = np.log(np.linalg.svd(product, compute_uv=False))
            volumes[m, s] = sum(np.linalg.slogdet(J)[1] for J in jacobians[-lag:])
    logs[..., 2] = volumes - logs[..., :2].sum(-1)  # below rounding in the product, but not in its determinant
    ordered = np.sort(logs, axis=1)
    assert_allclose(found.windows.log_singular_values, ordered[:, [0, 1, 1]].transpose(1, 0, 2), rtol=1e-8)
    assert_allclose(found.windows.largest, ordered[:, 1, 0], rtol=1e-8)


@pytest.mark.thorough
def test_windows_are_those_of_the_typical_sequences():
    """So the best direction keeps at least what the reader is told arrives, however far apart sequences are."""
    cell, steps = elman(UNITS), 24
    xs = np.random.default_rng(2).normal(size=(steps, 33, 2)) * np.geomspace(0.1, 8, 33)[:, None]
    found = summarise(cell, made(cell), xs, lambda u: jnp.sum(u.last**2), lag=20)
    assert found.windows.sequences == 4
    best = {}
    for s in range(33):
        product = np.eye(UNITS)
        for J in elman_jacobians(jax.tree.map(np.asarray, made(cell)), xs[:, s])[-20:]:
            product = J @ product
        best[s] = np.log(np.linalg.norm(product, 2))
    flow = gradient_flow(cell, made(cell), xs, lambda u: jnp.sum(u.last**2))
    each = np.asarray(flow.credit[-1, steps - 20] / flow.credit[-1, steps])
    near = np.argsort(each)[[15, 16, 17, 18]]
    assert_allclose(found.windows.largest[-1], sorted(best[s] for s in near)[2], rtol=1e-8)
    assert np.exp(found.windows.largest[-1]) > found.at_lag


def test_the_spectrum_sums_to_the_mean_log_determinant(summary):
    found, p = summary
    spectrum = found.spectrum
    assert (spectrum.sequences, spectrum.warmup, spectrum.steps) == (3, 1, 12 + 10 + 11)
    means = []
    for sequence in (0, 2, 4):
        jacobians = elman_jacobians(p, XS[: LENGTHS[sequence], sequence])[1:]
        means.append(np.mean([np.log(abs(np.linalg.det(J))) for J in jacobians]) / UNITS)
    assert_allclose(spectrum.mean_exponent, np.mean(means), rtol=1e-10)
    assert spectrum.exponents.shape == spectrum.standard_errors.shape == (UNITS,)
    assert any("too short" in words for words in spectrum.warnings)


def test_theory_takes_gain_and_input_from_weights_and_data(summary):
    found, p = summary
    (theory,) = found.theory
    inputs = [XS[t, s] @ p["w_in"] + p["bias"] for s in range(SEQUENCES) for t in range(LENGTHS[s])]
    assert_allclose(theory.gain, np.sqrt((p["w_rec"] ** 2).mean() * UNITS), rtol=1e-12)
    assert_allclose(theory.input_variance, np.mean(np.square(inputs)), rtol=1e-12)
    assert_allclose(theory.norm_gain, np.linalg.svd(p["w_rec"], compute_uv=False)[0], rtol=1e-12)
    # q = g^2 E tanh^2 + s^2 and chi = g^2 E sech^4 by iteration and Gauss-Hermite, another quadrature than theory.py's
    z, w = np.polynomial.hermite_e.hermegauss(80)
    w, q = w / w.sum(), 1.0
    for _ in range(300):
        q = theory.gain**2 * w @ np.tanh(np.sqrt(q) * z) ** 2 + theory.input_variance
    slope = 1 / np.cosh(np.sqrt(q) * z) ** 2
    assert_allclose(theory.chi, theory.gain**2 * w @ slope**2, rtol=1e-4)
    assert_allclose(theory.largest_exponent, 0.5 * np.log(theory.chi), rtol=1e-12)
    assert_allclose(theory.mean_exponent, np.log(theory.gain) - 0.5 + w @ np.log(slope), rtol=1e-3)


def test_credit_is_typical_of_the_sequences_that_have_the_output():
    a = 0.8
    weights = {"w_in": jnp.ones((2, 1)), "bias": jnp.zeros(1), "w_rec": jnp.full(1, a)}
    found = summarise(linear(1), weights, XS, lambda u: jnp.sum(u.last), lengths=LENGTHS, lag=3, why=False)
    assert_array_equal(found.output_times, [4, 11, 12, 13])
    for row, t in zip(found.credit, found.output_times, strict=True):
        exact = np.where(np.arange(STEPS + 1) <= t, a ** np.maximum(t - np.arange(STEPS + 1.0), 0), 0)
        assert_allclose(row, exact, rtol=1e-12)
    assert found.windows is None and found.spectrum is None and found.theory == ()


def test_lstm_gates_along_the_data_in_a_stack():
    cell = stack(lstm(2), gru(3))
    params = made(cell)
    run = unroll(cell, params, XS, return_states=True)
    found = expected(cell, params, XS, run.states, np.ones((STEPS, SEQUENCES), bool))
    assert [(one.layer, one.gate) for one in found] == [("0", "f"), ("1", "z")]
    (p, q), forget, update = jax.tree.map(np.asarray, params), [], []
    for s in range(SEQUENCES):
        h, c, low = np.zeros(2), np.zeros(2), np.zeros(3)
        for x in XS[:, s]:
            i, f, g, o = np.split(x @ p["w_in"] + h @ p["w_rec"] + p["bias"], 4)
            forget.append(sigmoid(f))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            from_h, from_x = low @ q["w_rec"], h @ q["w_in"] + q["bias"]
            r, z = sigmoid(from_x[:3] + from_h[:3]), sigmoid(from_x[3:6] + from_h[3:6])
            update.append(z)
            low = (1 - z) * np.tanh(from_x[6:] + r * (from_h[6:] + q["bias_rec"])) + z * low
    for one, gates in zip(found, (forget, update), strict=True):
        lives = np.sort(np.log(0.5) / np.log(gates).mean(0))
        assert_allclose(one.half_lives, lives, rtol=1e-10)
        assert_allclose(one.gate_exponents, np.sort(np.log(gates).mean(0))[::-1], rtol=1e-10)
        assert one.half_life_quantiles[0] == one.half_lives[0]


def test_cells_that_theory_does_not_speak_of():
    for cell in (linear(2), layer_norm(elman(2))):
        params = made(cell)
        run = unroll(cell, params, XS, return_states=True)
        assert expected(cell, params, XS, run.states, np.ones((STEPS, SEQUENCES), bool)) == ()


@pytest.mark.thorough
def test_what_would_cost_too_much_is_cut_to_the_largest_few():
    cell, alike = elman(12), np.repeat(XS[:, :1], SEQUENCES, axis=1)
    params, lengths = made(cell, 0.9), np.full(SEQUENCES, STEPS)
    states = unroll(cell, params, alike, return_states=True).states
    whole = window_bands(cell, params, alike, states, lengths, 8)
    few = window_bands(cell, params, alike, states, lengths, 8, work=1)
    assert (whole.sequences, few.sequences) == (4, 1) and whole.complete and not few.complete
    assert few.log_singular_values.shape == (3, 4, 8)
    assert_allclose(few.largest, whole.largest, rtol=1e-4, atol=1e-6)
    cut = measured_spectrum(cell, params, alike, lengths, 9, work=STEPS * 12 * 12)
    assert cut.exponents.shape == (3,) and cut.size == 12 and cut.sequences == 1 and np.isnan(cut.mean_exponent)
    assert affordable(10.0, 45.0, 9) == 4 and affordable(1e9, 1.0, 9) == 1 and affordable(0, 5.0, 3) == 3


def test_standard_errors_of_the_mean_over_sequences():
    each = np.array([[0.0, -1.0, -np.inf], [0.2, -1.0, -2.0]])
    errors = np.array([[0.01, 0.3, 0.0], [0.01, 0.4, 0.1]])
    assert_allclose(combined(each, errors), [np.std([0, 0.2], ddof=1) / np.sqrt(2), 0.25, 0.0])
    assert_array_equal(combined(each[:1, :2], np.array([[0.3, np.inf]])), [0.3, np.inf])


def test_samples():
    assert_array_equal(chosen_sequences(LENGTHS, 10, 2), [0, 4])
    assert_array_equal(chosen_sequences(LENGTHS, 40, 4), [0])
    assert_array_equal(even_sample(np.arange(9), 3), [0, 4, 8])
    assert grouped([1, 2, 4, 8, 16, 32, 63]) == [[1, 2, 4, 8], [16, 32, 63]]


def test_states_that_are_not_finite_are_not_explained():
    weights = {"w_in": jnp.ones((2, 1)), "bias": jnp.zeros(1), "w_rec": jnp.full(1, 1e200)}
    found = summarise(linear(1), weights, XS, lambda u: jnp.sum(u.outputs[0]), lag=0)
    assert found.windows is None or np.isfinite(found.windows.largest).all()
