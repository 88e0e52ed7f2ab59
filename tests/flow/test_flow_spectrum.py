"""Lyapunov spectra against eigenvalues, known maps, determinants and exact Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn


def autonomous(step, start):
    """A cell without input or parameters from a map of [*B, n]."""
    return jrnn.from_functions(
        initial_state=lambda params, batch: jnp.broadcast_to(jnp.asarray(start), (*batch, len(start))),
        step=lambda params, h, x: step(h),
    )


HENON = autonomous(lambda h: jnp.stack([1 - 1.4 * h[..., 0] ** 2 + h[..., 1], 0.3 * h[..., 0]], axis=-1), [0.1, 0.1])


def test_henon_map():
    """Published 0.419 and -1.622; the determinant of every step is -0.3, so the sum is exact."""
    spectrum = jrnn.lyapunov_spectrum(HENON, {}, length=20_000, warmup=500)
    assert abs(spectrum.exponents[0] - 0.419) < 0.003 and abs(spectrum.exponents[1] + 1.622) < 0.003
    assert abs(spectrum.exponents.sum() - np.log(0.3)) < 1e-12
    assert abs(spectrum.kaplan_yorke_dimension - 1.258) < 0.003  # 1 + 0.419 / 1.622
    np.testing.assert_allclose(spectrum.entropy_rate, spectrum.exponents[0])
    assert 0 < spectrum.standard_errors[0] < 0.01 and not spectrum.warnings()


def test_cat_map():
    matrix = jnp.array([[2.0, 1.0], [1.0, 1.0]])
    cat = autonomous(lambda h: (h @ matrix.T) % 1.0, [0.1, 0.3])
    spectrum = jrnn.lyapunov_spectrum(cat, {}, length=1500, warmup=100)
    golden = np.log((3 + np.sqrt(5)) / 2)
    np.testing.assert_allclose(spectrum.exponents, [golden, -golden], atol=1e-10)


def test_logistic_map():
    logistic = autonomous(lambda h: 4 * h * (1 - h), [0.3])
    spectrum = jrnn.lyapunov_spectrum(logistic, {}, length=20_000, warmup=500)
    np.testing.assert_allclose(spectrum.exponents, np.log(2), atol=2e-3)


def test_diagonal_map():
    diagonal = autonomous(lambda h: h * jnp.array([0.8, 1.1]), [0.0, 0.0])
    spectrum = jrnn.lyapunov_spectrum(diagonal, {}, length=600, warmup=300)
    np.testing.assert_allclose(spectrum.exponents, np.log([1.1, 0.8]), atol=1e-12)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_linear_map_has_the_logarithms_of_its_eigenvalues(activation):
    """A random 40 x 40 matrix, at h = 0 for tanh: a pair of complex eigenvalues turns, so its two plain means are off
    by an angle's worth of nats over T; their mean and the smoothed exponents are not."""
    matrix = np.random.default_rng(0).normal(size=(40, 40)) / np.sqrt(40)
    values = np.linalg.eigvals(matrix)
    values = values[np.argsort(-np.abs(values), kind="stable")]
    cell = jrnn.elman(40, activation)
    params = cell.init(jax.random.key(0), None) | {"w_rec": jnp.asarray(matrix)}
    spectrum = jrnn.lyapunov_spectrum(cell, params, length=4000, warmup=1000)
    known = np.log(np.abs(values))
    np.testing.assert_allclose(spectrum.smoothed_exponents, known, atol=1e-9)  # the notes ask for 1e-4
    assert np.abs(spectrum.exponents - known).max() < 1 / 3000
    first = np.flatnonzero((values.imag != 0) & np.isclose(values, np.roll(values, -1).conj()))
    paired = np.asarray(spectrum.exponents).copy()
    paired[first] = paired[first + 1] = (paired[first] + paired[first + 1]) / 2
    np.testing.assert_allclose(paired, known, atol=1e-7)


def test_orthogonal_linear_network_neither_grows_nor_shrinks(key):
    cell = jrnn.elman(9, "identity")
    xs = jax.random.normal(key, (1000, 3, 2))
    spectrum = jrnn.lyapunov_spectrum(cell, cell.init(key, 2), xs)
    assert spectrum.exponents.shape == (3, 9)
    np.testing.assert_allclose(spectrum.exponents, 0, atol=1e-12)
    np.testing.assert_allclose(spectrum.overshoot, 0, atol=1e-11)
    np.testing.assert_allclose(spectrum.condition_growth, 0, atol=1e-12)


@pytest.mark.parametrize(
    "cell", [jrnn.elman(5), jrnn.gru(4), jrnn.lstm(3), jrnn.stack(jrnn.elman(3), jrnn.gru(2))], ids=str
)
def test_sum_rule(cell, key):
    """sum_i lambda_i = mean_t ln |det J_t|, exactly, however long the run."""
    params = cell.init(key, 2)
    xs = jax.random.normal(jax.random.key(1), (1000, 2, 2))
    lengths = jnp.array([1000, 23])
    spectrum = jrnn.lyapunov_spectrum(cell, params, xs, lengths=lengths)
    dets = np.linalg.slogdet(np.asarray(jrnn.jacobians(cell, params, xs, lengths=lengths)))[1]
    np.testing.assert_allclose(spectrum.exponents.sum(-1), dets.sum(0) / np.asarray(lengths), rtol=1e-12)


def test_padding_equals_the_run_alone(key):
    cell = jrnn.gru(4)
    params, xs, lengths = cell.init(key, 2), jax.random.normal(key, (30, 3, 2)), jnp.array([30, 11, 0])
    for every in (1, 4):
        both = jrnn.lyapunov_spectrum(cell, params, xs.at[11:, 1].set(jnp.nan), lengths=lengths, warmup=3, every=every)
        for i, n in ((0, 30), (1, 11)):
            alone = jrnn.lyapunov_spectrum(cell, params, xs[:n, i], warmup=3, every=every)
            np.testing.assert_allclose(both.exponents[i], alone.exponents, atol=1e-12)
        np.testing.assert_array_equal(both.exponents[2], 0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_lstm_without_recurrent_weights_at_rest(key):
    """J = [[0, o sech^2(c) f], [0, f]] over (h, c), f = sigmoid(50) = 1: H exponents are 0 and H minus infinity."""
    cell = jrnn.lstm(4, w_rec="zeros", bias=jrnn.initializers.forget_bias(50.0))
    spectrum = jrnn.lyapunov_spectrum(cell, cell.init(key, None), length=1000, warmup=5)
    np.testing.assert_allclose(spectrum.exponents[:4], 0, atol=1e-15)
    assert np.all(np.isneginf(spectrum.exponents[4:])) and not np.isnan(spectrum.standard_errors).any()
    np.testing.assert_allclose(spectrum.smoothed_exponents, spectrum.exponents, atol=1e-15)
    assert np.isposinf(spectrum.condition_growth) and not spectrum.warnings()


def test_lstm_without_recurrent_weights_driven(key):
    """An image of J is a multiple of (s, 1), s = o sech^2(c), so ln |R| = ln f + ln(1 + s_t^2)/2 - ln(1 + s_{t-1}^2)/2:
    the sum is exact with the two ends, and the exponent is mean ln f to O(1/T)."""
    size, steps, warmup = 3, 900, 300
    cell = jrnn.lstm(size, w_rec="zeros")
    params, xs = cell.init(key, 2), np.asarray(jax.random.normal(key, (steps, 2)))
    bias = np.asarray(params["bias"]).copy()
    bias[size : 2 * size] = [3.0, 1.0, -1.0]  # different half-lives keep the units apart
    spectrum = jrnn.lyapunov_spectrum(cell, params | {"bias": jnp.asarray(bias)}, jnp.asarray(xs), warmup=warmup)
    i, f, g, o = np.split(xs @ np.asarray(params["w_in"]) + bias, 4, axis=1)
    i, f, g, o, c, ends = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o), np.zeros(size), []
    for t in range(steps):
        c = f[t] * c + i[t] * g[t]
        ends.append(np.log1p((o[t] / np.cosh(c) ** 2) ** 2) / 2)
    known = (np.log(f[warmup:]).sum(0) + ends[-1] - ends[warmup - 1]) / (steps - warmup)
    np.testing.assert_allclose(spectrum.exponents[:size], known, atol=1e-12)
    assert np.all(np.isneginf(spectrum.exponents[size:]))


def test_gru_with_the_gate_closed(key):
    """h' = (1 - z) n + z h with z = sigmoid(50) = 1: J = I."""
    cell = jrnn.gru(4)
    params = cell.init(key, 2)
    z = jrnn.cells.GRU.gates.index("z")
    bias = params["bias"].at[z * 4 : (z + 1) * 4].set(50.0)
    params = params | {"bias": bias, "w_in": params["w_in"].at[:, z * 4 : (z + 1) * 4].set(0)}
    params["w_rec"] = params["w_rec"].at[:, z * 4 : (z + 1) * 4].set(0)
    spectrum = jrnn.lyapunov_spectrum(cell, params, jax.random.normal(key, (40, 2, 2)))
    np.testing.assert_allclose(spectrum.exponents, 0, atol=1e-14)
    np.testing.assert_allclose(spectrum.condition_growth, 0, atol=1e-14)


@pytest.mark.parametrize("gain, largest, variance, width", [(2.0, 0.148, 2.12, 0.1), (3.0, 0.299, 6.31, 0.2)])
def test_random_tanh_networks_follow_theory(gain, largest, variance, width):
    """N = 256: lambda_1 of each of three networks within .015 (finite size lowers theory by .01); of the means of six
    the variance of W h, and the mean exponent, as mean ln |det J|, within .04 of ln g - 1/2 + E ln sech^2."""
    cell = jrnn.elman(256, w_rec=jrnn.initializers.gaussian(gain))
    theory, variances, means = jrnn.flow.mean_field(gain), [], []
    for seed in range(6):
        start = jrnn.ElmanState(jax.random.normal(jax.random.key(seed), (256,)))
        params = cell.init(jax.random.key(10 + seed), None)
        options = dict(length=700, initial_state=start)
        if seed < 3:
            spectrum = jrnn.lyapunov_spectrum(cell, params, warmup=200, k=2, **options)
            assert abs(spectrum.exponents[0] - largest) < 0.015
            assert abs(spectrum.exponents[0] - theory.largest_exponent) < 0.03
        h = np.asarray(jrnn.unroll(cell, params, None, **options).outputs[200:])
        variances.append(np.var(h[:-1] @ np.asarray(params["w_rec"])))
        means.append(np.linalg.slogdet(np.asarray(params["w_rec"]))[1] / 256 + np.log1p(-(h**2)).mean())
    assert abs(np.mean(variances) - variance) < width  # of one network it scatters by .08
    assert abs(np.mean(means) - theory.mean_exponent) < 0.04


def test_mean_exponent_of_one_realisation():
    """sum_i lambda_i / N = ln |det W| / N + mean ln phi'(z), of the same run.

    The run is chaotic and computed twice, by two programs: 60 steps at about 0.13 nats keep their rounding below 1e-12.
    """
    cell = jrnn.elman(64, w_rec=jrnn.initializers.gaussian(2.0))
    start = jrnn.ElmanState(jax.random.normal(jax.random.key(1), (64,)))
    params = cell.init(jax.random.key(2), None)
    options = dict(length=60, initial_state=start)
    spectrum = jrnn.lyapunov_spectrum(cell, params, **options)
    h = np.asarray(jrnn.unroll(cell, params, None, **options).outputs)
    mean = np.linalg.slogdet(np.asarray(params["w_rec"]))[1] / 64 + np.log1p(-(h**2)).mean()
    assert abs(spectrum.exponents.mean() - mean) < 1e-10


def products(steps, batch, size):
    """A cell that multiplies by its input, and factors with entries N(0, 1 / N)."""
    cell = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, size)),
        step=lambda params, h, x: jnp.einsum("...ij,...j->...i", x, h),
        input_ndim=2,
    )
    return cell, jax.random.normal(jax.random.key(3), (steps, *batch, size, size)) / np.sqrt(size)


def test_gaussian_products():
    """Matrices drawn anew each step, fed as inputs: Newman's exponents, -.0651 .. -1.675, within four errors."""
    cell, factors = products(6000, (), 8)
    spectrum = jrnn.lyapunov_spectrum(cell, {}, factors)
    error = jrnn.flow.gaussian_product_errors(8, 6000)
    assert abs(error[0] - 0.0034) < 1e-4
    deviation = np.abs(spectrum.exponents - jrnn.flow.gaussian_product_exponents(8)) / error
    assert deviation.max() < 4
    np.testing.assert_allclose(spectrum.standard_errors, error, rtol=0.4)


def test_the_mean_explodes_while_the_typical_vanishes():
    """E ||J_T ... J_1 v||^2 = sigma^2T and E ln ||.|| = lambda_1 T, exactly, for T <= N / 2; here sigma = 1.02 > 1."""
    steps, draws, size, sigma = 8, 2000, 16, 1.02
    cell, factors = products(steps, (draws,), size)
    gains = np.asarray(jrnn.lyapunov_spectrum(cell, {}, sigma * factors, k=1).log_r[..., 0]).sum(0)
    square = np.exp(2 * gains)
    assert abs(square.mean() - sigma ** (2 * steps)) < 4 * square.std() / np.sqrt(draws)
    typical = jrnn.flow.gaussian_product_exponents(size, sigma)[0]
    assert abs(gains.mean() - typical * steps) < 4 * jrnn.flow.gaussian_product_errors(size, 1)[0] * np.sqrt(
        steps / draws
    )
    assert typical < 0 < np.log(sigma)


def test_jit_and_float32(key):
    cell = jrnn.elman(6, dtype=jnp.float32)
    params, xs = cell.init(key, 2), jax.random.normal(key, (50, 2), jnp.float32)
    eager = jrnn.lyapunov_spectrum(cell, params, xs, k=3)
    jitted = jax.jit(lambda p, x: jrnn.lyapunov_spectrum(cell, p, x, k=3).exponents)(params, xs)
    assert eager.exponents.dtype == jnp.float32
    np.testing.assert_allclose(eager.exponents, jitted, rtol=1e-4)


def test_where_no_step_counts_it_says_so():
    """Sequences that end in the warm-up: 0 with an error of infinity, and a warning."""
    cell = autonomous(lambda h: h @ jnp.diag(jnp.array([0.5, 0.25])), [1.0, 1.0])
    short = jrnn.lyapunov_spectrum(cell, {}, length=6, warmup=2, lengths=jnp.array([6, 2, 0]))
    np.testing.assert_array_equal(short.counted.any(axis=0), [True, False, False])
    for none in (1, 2):
        assert not np.asarray(short.exponents)[none].any() and np.isinf(np.asarray(short.standard_errors)[none]).all()
    assert any("no step was counted" in line for line in short.warnings())
    np.testing.assert_allclose(short.exponents[0].sum(), np.log(0.125), rtol=1e-12)  # ln of the determinant


def test_growth_of_no_steps_is_refused():
    cell = autonomous(lambda h: h, [1.0, 1.0])
    with pytest.raises(jrnn.InputError, match="length: got no steps, T = 0; need at least one"):
        jrnn.lyapunov_spectrum(cell, {}, length=0)
    driven = jrnn.elman(2)
    with pytest.raises(jrnn.InputError, match="xs: got no steps"):
        jrnn.lyapunov_spectrum(driven, driven.init(jax.random.key(0), 1), np.zeros((0, 3, 1)))
