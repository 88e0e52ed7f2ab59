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


def test_every_renews_less_often_and_says_when_too_rarely():
    """The block products are the same; over 50 steps they span more than float64 can tell apart."""
    often, rarely, never = (jrnn.lyapunov_spectrum(HENON, {}, length=3000, warmup=300, every=n) for n in (1, 10, 50))
    np.testing.assert_allclose(often.exponents, rarely.exponents, atol=1e-12)
    assert rarely.resolved.all() and not rarely.warnings()
    assert never.resolved.tolist() == [True, False]
    assert any("`every`" in line for line in never.warnings())


def test_cat_map():
    matrix = jnp.array([[2.0, 1.0], [1.0, 1.0]])
    cat = autonomous(lambda h: (h @ matrix.T) % 1.0, [0.1, 0.3])
    spectrum = jrnn.lyapunov_spectrum(cat, {}, length=1500, warmup=100)
    golden = np.log((3 + np.sqrt(5)) / 2)
    np.testing.assert_allclose(spectrum.exponents, [golden, -golden], atol=1e-10)


def test_diagonal_map():
    diagonal = autonomous(lambda h: h * jnp.array([0.8, 1.1]), [0.0, 0.0])
    spectrum = jrnn.lyapunov_spectrum(diagonal, {}, length=600, warmup=300)
    np.testing.assert_allclose(spectrum.exponents, np.log([1.1, 0.8]), atol=1e-12)


def test_linear_map_has_the_logarithms_of_its_eigenvalues():
    """A fixed matrix of separated eigenvalue moduli, whatever its eigenvectors."""
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(12, 12))
    values = 0.5 + 0.1 * np.arange(12)
    cell = jrnn.elman(12, "identity")
    params = cell.init(jax.random.key(0), None) | {"w_rec": jnp.asarray(basis @ np.diag(values) @ np.linalg.inv(basis))}
    spectrum = jrnn.lyapunov_spectrum(cell, params, length=1500, warmup=700)
    np.testing.assert_allclose(spectrum.exponents, np.sort(np.log(values))[::-1], atol=1e-9)


def test_orthogonal_linear_network_neither_grows_nor_shrinks(key):
    cell = jrnn.elman(9, "identity")
    xs = jax.random.normal(key, (1000, 3, 2))
    spectrum = jrnn.lyapunov_spectrum(cell, cell.init(key, 2), xs)
    assert spectrum.exponents.shape == (3, 9)
    np.testing.assert_allclose(spectrum.exponents, 0, atol=1e-12)
    np.testing.assert_allclose(spectrum.overshoot, 0, atol=1e-11)


@pytest.mark.parametrize(
    "cell", [jrnn.elman(5), jrnn.gru(4), jrnn.lstm(3), jrnn.stack(jrnn.elman(3), jrnn.gru(2))], ids=str
)
def test_sum_rule(cell, key):
    """sum_i lambda_i = mean_t ln |det J_t|, exactly."""
    params = cell.init(key, 2)
    xs = jax.random.normal(jax.random.key(1), (40, 2, 2))
    lengths = jnp.array([40, 23])
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


def test_lstm_without_recurrent_weights(key):
    """J = [[0, o sech^2(c) f], [0, f]] over (h, c): H exponents are those of the gates f, H are minus infinity."""
    cell = jrnn.lstm(4, w_rec="zeros", bias=jrnn.initializers.forget_bias(50.0))
    spectrum = jrnn.lyapunov_spectrum(cell, cell.init(key, 2), jax.random.normal(key, (2000, 2)), warmup=5)
    np.testing.assert_allclose(spectrum.exponents[:4], 0, atol=1e-3)  # the shares of h and c shift: O(1 / T)
    assert np.all(np.isneginf(spectrum.exponents[4:])) and not np.isnan(spectrum.standard_errors).any()


def test_random_tanh_networks_follow_theory():
    """N = 256: lambda_1 of g = 2 and 3 is .148 and .299 within .015 (finite size lowers theory by .01)."""
    for gain, known in ((2.0, 0.148), (3.0, 0.299)):
        cell = jrnn.elman(256, w_rec=jrnn.initializers.gaussian(gain))
        start = jrnn.ElmanState(jax.random.normal(jax.random.key(1), (256,)))
        params = cell.init(jax.random.key(2), None)
        spectrum = jrnn.lyapunov_spectrum(cell, params, length=700, warmup=200, k=2, initial_state=start)
        assert abs(spectrum.exponents[0] - known) < 0.015
        assert abs(spectrum.exponents[0] - jrnn.flow.mean_field(gain).largest_exponent) < 0.03
        assert np.isnan(
            jrnn.lyapunov_spectrum(cell, params, length=20, k=1, initial_state=start).kaplan_yorke_dimension
        )


def test_gaussian_products():
    """Matrices drawn anew each step, fed as inputs: Newman's exponents within four standard errors."""
    size, steps = 8, 4000
    cell = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, size)),
        step=lambda params, h, x: jnp.einsum("...ij,...j->...i", x, h),
        input_ndim=2,
    )
    factors = jax.random.normal(jax.random.key(3), (steps, size, size)) / np.sqrt(size)
    spectrum = jrnn.lyapunov_spectrum(cell, {}, factors)
    error = jrnn.flow.gaussian_product_errors(size, steps)
    deviation = np.abs(spectrum.exponents - jrnn.flow.gaussian_product_exponents(size)) / error
    assert deviation.max() < 4
    np.testing.assert_allclose(spectrum.standard_errors, error, rtol=0.4)


def test_transient_growth_is_seen():
    """J = [[a, b], [0, c]]: exponents ln a, ln c, and an overshoot that the exponents do not show."""
    a, b, c = 0.9, 50.0, 0.5
    matrix = jnp.array([[a, b], [0.0, c]])
    cell = autonomous(lambda h: h @ matrix.T, [0.0, 0.0])
    spectrum = jrnn.lyapunov_spectrum(cell, {}, length=400)
    assert spectrum.overshoot > np.log(b) - 1 and np.all(np.isfinite(spectrum.exponents))
    settled = jrnn.lyapunov_spectrum(cell, {}, length=400, warmup=150)
    np.testing.assert_allclose(settled.exponents, np.log([a, c]), atol=1e-10)


def test_jit_and_float32(key):
    cell = jrnn.elman(6, dtype=jnp.float32)
    params, xs = cell.init(key, 2), jax.random.normal(key, (50, 2), jnp.float32)
    eager = jrnn.lyapunov_spectrum(cell, params, xs, k=3)
    jitted = jax.jit(lambda p, x: jrnn.lyapunov_spectrum(cell, p, x, k=3).exponents)(params, xs)
    assert eager.exponents.dtype == jnp.float32
    np.testing.assert_allclose(eager.exponents, jitted, rtol=1e-4)


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(k=7), "N = 6"),
        (dict(k=0), "k: got 0"),
        (dict(warmup=50), "warmup: got 50"),
        (dict(every=0), "every: got 0"),
    ],
)
def test_bad_input(options, words, key):
    cell = jrnn.elman(6)
    with pytest.raises(jrnn.InputError, match=words):
        jrnn.lyapunov_spectrum(cell, cell.init(key, 2), jnp.zeros((50, 2)), **options)
