"""What follows from a spectrum, against plain NumPy; and that it says when a figure is not to be trusted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.flow import LyapunovSpectrum
from jrnn.flow.lyapunov.orthonormal import by_cholesky, by_householder, orthonormal_rows


def autonomous(step, start):
    """A cell without input or parameters from a map of [*B, n]."""
    return jrnn.from_functions(
        initial_state=lambda params, batch: jnp.broadcast_to(jnp.asarray(start), (*batch, len(start))),
        step=lambda params, h, x: step(h),
    )


def linear(matrix):
    """h' = A h."""
    matrix = jnp.asarray(matrix)
    return autonomous(lambda h: h @ matrix.T, np.zeros(len(matrix), matrix.dtype))


HENON = autonomous(lambda h: jnp.stack([1 - 1.4 * h[..., 0] ** 2 + h[..., 1], 0.3 * h[..., 0]], axis=-1), [0.1, 0.1])
CELL = jrnn.elman(6, w_rec=jrnn.initializers.gaussian(2.0))


@pytest.fixture(scope="module")
def driven():
    """A driven random network, 64 sequences of 300 steps, with its Jacobians."""
    params = CELL.init(jax.random.key(5), 2)
    xs = jax.random.normal(jax.random.key(1), (300, 64, 2))
    return params, xs, jrnn.lyapunov_spectrum(CELL, params, xs, warmup=60)


def benettin(factors, q):
    """ln |R_ii| [T, k] of a plain loop over explicit Jacobians."""
    logs = []
    for factor in factors:
        q, r = np.linalg.qr(factor @ q)
        logs.append(np.log(np.abs(np.diag(r))))
    return np.array(logs)


def made(exponents, size=None):
    """A spectrum of given exponents, for what depends on them alone."""
    exponents = jnp.asarray(exponents)
    fields = dict.fromkeys(LyapunovSpectrum._fields, jnp.zeros(()))
    return LyapunovSpectrum(**fields | {"exponents": exponents, "size": size or exponents.shape[-1]})


def kaplan_yorke(exponents):
    """The definition, in a loop."""
    ordered, total = sorted(exponents, reverse=True), 0.0
    for j, value in enumerate(ordered):
        if total + value < 0:
            return j + total / abs(value) if j else 0.0
        total += value
    return float(len(ordered))


def test_finite_time_values_against_explicit_jacobians(driven):
    params, xs, spectrum = driven
    factors = np.asarray(jrnn.jacobians(CELL, params, xs))[:, 0]
    start = np.linalg.qr(np.asarray(jax.random.normal(jax.random.key(0), (6, 6))))[0]
    logs = benettin(factors, start)
    np.testing.assert_allclose(spectrum.log_r[:, 0], logs, atol=1e-10)
    values = spectrum.finite_time(40)
    assert values.exponents.shape == (7, 64, 6) and values.steps[:, 0].tolist() == [0, 0, 40, 40, 40, 40, 40]
    known = logs[80:280].reshape(5, 40, 6).mean(axis=1)
    np.testing.assert_allclose(values.exponents[2:, 0], known, atol=1e-11)
    np.testing.assert_array_equal(values.exponents[:2], 0)
    np.testing.assert_allclose(values.spread[0], known.std(axis=0, ddof=1), atol=1e-11)
    # of one window they are those of the singular values of its product, to O(1 / tau)
    sigma = np.log(np.linalg.svd(np.linalg.multi_dot(factors[80:120][::-1]), compute_uv=False)) / 40
    np.testing.assert_allclose(known[0, :2], sigma[:2], atol=0.05)
    np.testing.assert_array_equal(spectrum.finite_time(300).exponents[0, 0], 0)
    with pytest.raises(jrnn.InputError, match="window: got 301"):
        spectrum.finite_time(301)


def test_standard_errors_are_the_spread_over_independent_draws(driven):
    """Of 64 driven networks and of Gaussian products; 64 draws tell a spread to 9 %."""
    spectrum = driven[2]
    spread = np.asarray(spectrum.exponents).std(axis=0, ddof=1)
    errors = np.sqrt((np.asarray(spectrum.standard_errors) ** 2).mean(axis=0))
    np.testing.assert_allclose(errors, spread, rtol=0.3)
    product = jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, 6)),
        step=lambda params, h, x: jnp.einsum("...ij,...j->...i", x, h),
        input_ndim=2,
    )
    factors = jax.random.normal(jax.random.key(3), (300, 64, 6, 6)) / np.sqrt(6)
    spectrum = jrnn.lyapunov_spectrum(product, {}, factors)
    spread = np.asarray(spectrum.exponents).std(axis=0, ddof=1)
    errors = np.sqrt((np.asarray(spectrum.standard_errors) ** 2).mean(axis=0))
    np.testing.assert_allclose(errors, spread, rtol=0.3)
    np.testing.assert_allclose(errors, jrnn.flow.gaussian_product_errors(6, 300), rtol=0.15)


@pytest.mark.parametrize(
    "exponents",
    [[0.5, 0.1, -0.2, -3.0], [0.3, -0.4], [-0.1, -0.2], [0.2, 0.1], [0.4, 0.0, -np.inf], [0.1, -0.3, -0.2, -0.25]],
    ids=str,
)
def test_dimension_and_entropy_by_their_definition(exponents):
    spectrum = made(exponents)
    np.testing.assert_allclose(spectrum.kaplan_yorke_dimension, kaplan_yorke(exponents), atol=1e-15)
    np.testing.assert_allclose(spectrum.entropy_rate, sum(v for v in exponents if v > 0), atol=1e-15)
    np.testing.assert_allclose(spectrum.condition_growth, exponents[0] - exponents[-1])


def test_dimension_beyond_what_was_followed_is_not_known():
    assert made([0.2, 0.1], size=5).kaplan_yorke_dimension == -1
    assert np.isposinf(made([-np.inf, -np.inf]).condition_growth)


def test_condition_growth_is_that_of_the_product():
    """ln kappa(dh_t/dh_0) / t of a linear map, by its explicit power."""
    matrix = np.array([[0.9, 2.0], [0.0, 0.8]])
    spectrum = jrnn.lyapunov_spectrum(linear(matrix), {}, length=400, warmup=300)
    kappa = np.log(np.linalg.cond(np.linalg.matrix_power(matrix, 150))) - np.log(
        np.linalg.cond(np.linalg.matrix_power(matrix, 100))
    )
    np.testing.assert_allclose(spectrum.condition_growth, kappa / 50, atol=1e-3)


def test_overshoot_of_a_matrix_that_is_not_normal():
    """J = [[a, b], [0, c]]: J^t in closed form; the followed direction's share of it, and over draws all of it."""
    a, b, c, steps = 0.9, 50.0, 0.5, 400
    cell = linear([[a, b], [0.0, c]])
    powers = [np.array([[a**t, b * (a**t - c**t) / (a - c)], [0, c**t]]) for t in range(1, steps + 1)]
    found = []
    for seed in range(12):
        key = jax.random.key(seed)
        spectrum = jrnn.lyapunov_spectrum(cell, {}, length=steps, key=key)
        v = np.linalg.qr(np.asarray(jax.random.normal(key, (2, 2))))[0][:, 0]
        gains = np.log([np.linalg.norm(p @ v) for p in powers])
        excess = gains - np.arange(1, steps + 1) * gains[-1] / steps
        np.testing.assert_allclose(spectrum.overshoot, max(excess.max(), 0), atol=1e-9)
        found.append(float(spectrum.overshoot))
    supremum = np.log(max(np.linalg.norm(p, 2) * a ** -(t + 1.0) for t, p in enumerate(powers)))
    assert abs(supremum - np.log(np.hypot(1, b / (a - c)))) < 1e-9  # reached as t grows
    assert supremum - 0.2 < max(found) <= supremum and np.all(np.isfinite(spectrum.exponents))
    settled = jrnn.lyapunov_spectrum(cell, {}, length=steps, warmup=150)
    np.testing.assert_allclose(settled.exponents, np.log([a, c]), atol=1e-10)
    np.testing.assert_allclose(settled.overshoot, 0, atol=1e-9)


def test_too_rare_renewal_is_seen():
    """The block products are the same; over 25 steps they span more than float64 can tell apart."""
    often, rarely, never = (jrnn.lyapunov_spectrum(HENON, {}, length=3000, warmup=300, every=n) for n in (1, 10, 25))
    np.testing.assert_allclose(rarely.exponents, often.exponents, atol=1e-8)
    assert rarely.resolved.all() and not rarely.warnings()
    assert abs(never.exponents[1] - often.exponents[1]) > 0.1 and never.resolved.tolist() == [True, False]
    assert any("`every`" in line for line in never.warnings())


@pytest.mark.parametrize("small, trusted", [(1e-3, True), (1e-9, False)])
def test_float32_says_where_it_is_too_short(small, trusted):
    """Eigenvalues 1 and 1e-9 with skewed eigenvectors: in float32 the second is nothing but rounding."""
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    matrix = turn @ np.array([[1.0, 3.0], [0.0, small]]) @ turn.T
    exact, short = (
        jrnn.lyapunov_spectrum(linear(matrix.astype(dtype)), {}, length=100, warmup=20)
        for dtype in (np.float64, np.float32)
    )
    assert short.exponents.dtype == jnp.float32 and not exact.warnings()
    np.testing.assert_allclose(exact.exponents, [0, np.log(small)], atol=1e-6)
    assert (abs(float(short.exponents[1]) - np.log(small)) < 0.01) == trusted
    assert any("float64 can" in line for line in short.warnings()) != trusted


def test_a_run_too_short_says_so():
    short, long = (jrnn.lyapunov_spectrum(HENON, {}, length=n, warmup=20) for n in (50, 3000))
    assert abs(short.exponents[0] - 0.419) > 0.05 and any("too short a run" in line for line in short.warnings())
    assert abs(long.exponents[0] - 0.419) < 0.01 and not long.warnings()
    one = jrnn.lyapunov_spectrum(HENON, {}, length=21, warmup=20)
    assert np.isposinf(one.standard_errors).all() and "no standard errors" in one.warnings()[-1]


@pytest.mark.parametrize("every", [1, 4])
def test_states_that_are_not_finite_are_named_and_do_not_count(every, driven):
    params, xs = driven[0], driven[1][:40, :3]
    broken = xs.at[25, 1].set(jnp.nan).at[30, 2, 0].set(jnp.inf)  # tanh(inf) is finite, its derivative too
    run = jax.jit(lambda xs: jrnn.lyapunov_spectrum(CELL, params, xs, every=every, warmup=4))
    spectrum = run(broken)
    assert spectrum.broken_at.tolist() == [-1, 26, -1] and spectrum.broken_unit.tolist() == [-1, 0, -1]
    before = 25 // every * every
    np.testing.assert_allclose(spectrum.exponents[1], run(xs[:before]).exponents[1], atol=1e-12)
    np.testing.assert_allclose(spectrum.exponents[0], run(xs).exponents[0], atol=1e-12)
    assert not any(np.isnan(value).any() for value in spectrum[:-1])
    assert "h_26 is the first (t = 26, unit 0, sequence 1)" in spectrum.warnings()[0]
    assert not any("finite" in line for line in run(xs).warnings())


def test_a_bad_initial_state_and_one_unit(driven):
    """Only unit 2 of h_6 overflows; and a start that is NaN leaves nothing to count."""
    grow = autonomous(lambda h: h * jnp.array([1.0, 0.5, 1e3]), [0.0, 0.0, 0.0])
    spectrum = jrnn.lyapunov_spectrum(grow, {}, length=9, initial_state=jnp.array([1.0, 1.0, 1e292]))
    assert (spectrum.broken_at, spectrum.broken_unit) == (6, 2)
    np.testing.assert_allclose(spectrum.exponents.sum(), np.log(500), rtol=1e-12)
    spectrum = jrnn.lyapunov_spectrum(grow, {}, length=9, initial_state=jnp.array([1.0, jnp.nan, 1.0]))
    assert (spectrum.broken_at, spectrum.broken_unit) == (0, 1)
    assert any("no step was counted" in line for line in spectrum.warnings())


def test_directions_that_overflow_while_states_do_not():
    cell = autonomous(lambda h: h * jnp.array([1e40, 1.0]), [0.0, 0.0])
    spectrum = jrnn.lyapunov_spectrum(cell, {}, length=40, every=10)
    assert not spectrum.finite.any() and spectrum.broken_at == -1 and not np.isnan(spectrum.exponents).any()
    assert "overflowed between two QR steps" in spectrum.warnings()[0]
    often = jrnn.lyapunov_spectrum(cell, {}, length=40, warmup=4)
    np.testing.assert_allclose(often.exponents, [np.log(1e40), 0], atol=1e-11)


@pytest.mark.thorough
@pytest.mark.parametrize("dead", [None, 3])
def test_orthonormal_rows_by_both_ways(dead):
    """Cholesky where it is exact, Householder where a row depends on others; the same Q R, the same derivative."""
    a = np.random.default_rng(0).normal(size=(2, 4, 20)) * np.array([1e3, 1.0, 1.0, 1e2])[:, None]
    if dead is not None:
        a[1, dead] = a[1, 0] - 2 * a[1, 1]
    a = jnp.asarray(a)
    assert by_cholesky(a)[0].tolist() == [True, dead is None]
    (q, size), (q_ref, size_ref) = orthonormal_rows(a, drop=True), by_householder(a, drop=True)
    np.testing.assert_allclose(size, size_ref, rtol=1e-12)
    assert (size[1, 3] == 0) == (dead is not None)
    np.testing.assert_allclose(q @ jnp.swapaxes(q, -2, -1), np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-14)
    if dead is None:
        np.testing.assert_allclose(np.abs(q), np.abs(q_ref), atol=1e-12)


@pytest.mark.thorough
def test_the_second_pass_of_cholesky_counts():
    """Rows of condition 72: one pass is off by 7e-14 in the last size, two are as exact as Householder."""
    a = np.random.default_rng(0).normal(size=(4, 20))
    a[3] = a[0] + a[1] - a[2] + 0.05 * a[3]
    exact, q, size = by_cholesky(jnp.asarray(a))
    assert exact and np.abs(np.linalg.cholesky(a @ a.T)[3, 3] / size[3] - 1) > 3e-14
    np.testing.assert_allclose(size, np.abs(np.diag(np.linalg.qr(a.T)[1])), rtol=1e-14)
    np.testing.assert_allclose(q @ q.T, np.eye(4), atol=2e-15)


def test_the_derivative_of_orthonormal_rows_is_that_of_the_plain_qr():
    """Under vmap too, where both ways are taken and one is thrown away: rows too close go by Householder."""
    a = np.random.default_rng(0).normal(size=(2, 3, 20))
    a[1, 2] = a[1, 0] + 1e-9 * a[1, 2]
    gradient = jax.jit(jax.vmap(jax.grad(lambda a: jnp.log(orthonormal_rows(a)[1]).sum())))(jnp.asarray(a))
    known = [np.linalg.pinv(rows).T for rows in a]  # d ln sqrt(det A A^T) / dA
    np.testing.assert_allclose(gradient[0], known[0], atol=1e-12)
    assert np.linalg.norm(gradient[1] - known[1]) < 1e-5 * np.linalg.norm(known[1])


@pytest.mark.parametrize(
    "dtype, tolerance, k", [("bfloat16", 0.1, 3), ("float32", 1e-4, 3), ("float64", 1e-12, 3), ("float64", 1e-12, 6)]
)
def test_dtypes_and_jit(dtype, tolerance, k, driven):
    """Fewer directions are the first of more; every dtype gives what float64 gives."""
    params, xs = driven[0], driven[1][:50, 0]
    cell = jrnn.elman(6, dtype=dtype)
    cast = jax.tree.map(lambda a: a.astype(dtype), (params, xs))
    eager = jrnn.lyapunov_spectrum(cell, *cast, k=k)
    assert eager.exponents.dtype == (jnp.float64 if dtype == "float64" else jnp.float32)
    jitted = jax.jit(lambda p, x: jrnn.lyapunov_spectrum(cell, p, x, k=k).exponents)(*cast)
    np.testing.assert_allclose(eager.exponents, jitted, rtol=1e-4)
    factors = np.asarray(jrnn.jacobians(CELL, params, xs))
    start = np.linalg.qr(np.asarray(jax.random.normal(jax.random.key(0), (6, k), eager.exponents.dtype)))[0]
    np.testing.assert_allclose(eager.exponents, benettin(factors, start).mean(0), atol=tolerance)


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(k=7), "N = 6"),
        (dict(k=0), "k: got 0"),
        (dict(warmup=50), "warmup: got 50"),
        (dict(warmup=80), "warmup: got 80; need fewer steps than the run has, T = 50"),
        (dict(every=0), "every: got 0"),
    ],
)
def test_bad_input(options, words, key):
    cell = jrnn.elman(6)
    with pytest.raises(jrnn.InputError, match=words):
        jrnn.lyapunov_spectrum(cell, cell.init(key, 2), jnp.zeros((50, 2)), **options)


@pytest.mark.parametrize("leaves", [jnp.ones(2, complex), (jnp.ones(2), jnp.ones(2, int))], ids=["complex", "int"])
def test_states_that_are_not_real_are_refused(leaves):
    cell = jrnn.from_functions(initial_state=lambda params, batch: leaves, step=lambda params, h, x: h, output=sum)
    with pytest.raises(jrnn.InputError, match="cell: got a state of dtype (complex128|int64); need a real floating"):
        jrnn.lyapunov_spectrum(cell, {}, length=5)


def test_warnings_are_for_the_host(driven):
    params, xs = driven[0], driven[1][:50, 0]
    with pytest.raises(jrnn.InputError, match="warnings: got a spectrum under jit"):
        jax.jit(lambda x: len(jrnn.lyapunov_spectrum(CELL, params, x, k=3).warnings()))(xs)
