"""Singular values of windows against NumPy, closed forms, compound matrices and products whose factors are known."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import jrnn
from jrnn.cells import Bidirectional, dropout, elman, from_functions, gru, lstm
from jrnn.flow import condition_number, jacobians, spectral_radius, window_singular_values
from jrnn.flow.singular_values import windows
from jrnn.types import InputError

from ..unrolling.brute_force import inputs, make, random_like
from .test_flow_jacobians import explicit

STEPS = 4
PAIRS = [(0, 4), (3, 4), (2, 2), (1, 3)]
METHODS = ("explicit", "matrix_free")


def given_start(params, batch):
    return jnp.zeros((*batch, len(params)), params.dtype)


def given_step(params, state, x):
    return jnp.einsum("ij,...j->...i", x, state)


GIVEN = from_functions(initial_state=given_start, step=given_step, input_ndim=2)  # its inputs are its Jacobians


def of_product(J, pairs, dtype=jnp.float64, **options):
    """The instrument on a run with exactly these Jacobians [T, N, N]."""
    params = jnp.zeros(J.shape[-1], dtype)
    return window_singular_values(GIVEN, params, jnp.asarray(J, dtype), pairs, **options)


def plain(J, reverse=False):
    """ln of the singular values of a product, by NumPy."""
    product = np.eye(J.shape[-1])
    for factor in J[::-1] if reverse else J:
        product = factor @ product
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.svd(product, compute_uv=False))


def orthogonal(rng, n):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "batch"), [("gru", ()), ("pair", (1, 2))], ids=str)
def test_every_window_against_numpy(name, batch, method):
    cell, params = make(name)
    xs = inputs(name, STEPS, batch)
    start = random_like(np.random.default_rng(0), cell.initial_state(params, batch))
    found = window_singular_values(cell, params, xs, PAIRS, initial_state=start, method=method)
    for b in np.ndindex(*batch):
        J = explicit(cell, params, xs, start, b)
        for w, (k, t) in enumerate(PAIRS):
            assert_allclose(found.log_singular_values[(w, *b)], plain(J[k:t]), rtol=1e-10, atol=1e-12)
    assert_array_equal(found.log_singular_values[2], 0.0)
    assert_array_equal(found.log_largest, found.log_singular_values[..., 0])
    assert found.log_singular_values.shape[:-1] == found.residual.shape == (4, *batch) and found.converged.all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_mask_resets_and_reading_order(reverse, method):
    cell, params = make("lstm")
    rng = np.random.default_rng(0)
    lengths, mask, resets = np.array([4, 0, 3]), np.ones((STEPS, 3), bool), np.zeros((STEPS, 3), bool)
    mask[2, 0], resets[1, 0] = False, True
    xs = inputs("lstm", STEPS, (3,))
    start = random_like(rng, cell.initial_state(params, (3,)))
    given = np.where((mask & (np.arange(STEPS)[:, None] < lengths))[..., None], xs, np.nan)
    options = {"initial_state": start, "lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse}
    found = window_singular_values(cell, params, given, PAIRS, method=method, **options)
    for b in range(3):
        J = explicit(
            cell, params, xs, start, (b,), length=int(lengths[b]), mask=mask[:, b], resets=resets[:, b], reverse=reverse
        )
        for w, (k, t) in enumerate(PAIRS):
            want = plain(J[k:t], reverse)
            assert_allclose(found.log_singular_values[w, b], want, rtol=1e-10, atol=1e-12)
    assert_array_equal(found.log_singular_values[0, 0], -np.inf, "a reset lets nothing through")
    assert_allclose(found.log_condition_number[0, :2], [np.inf, 0], atol=1e-13)
    assert found.converged.all() and not np.isnan(found.residual).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shared", ["begin", "end", "some"])
def test_windows_that_begin_or_end_together_are_those_of_passes_of_their_own(shared, reverse, method):
    cell, params = make("lstm")
    rng = np.random.default_rng(1)
    xs, start = inputs("lstm", 7, (2,)), random_like(rng, cell.initial_state(params, (2,)))
    mask, resets = np.ones((7, 2), bool), np.zeros((7, 2), bool)
    mask[4, 0], resets[2, 1] = False, True
    pairs = {
        "begin": [(1, 7), (1, 2), (1, 1), (1, 5), (1, 2)],
        "end": [(0, 6), (5, 6), (6, 6), (2, 6), (5, 6), (4, 6)],
        "some": [(0, 6), (1, 6), (2, 6), (3, 4), (2, 4), (0, 4), (5, 6)],
    }[shared]
    options = {"initial_state": start, "mask": mask, "resets": resets, "reverse": reverse}
    found = window_singular_values(cell, params, xs, pairs, method=method, **options)
    for b in range(2):
        J = explicit(cell, params, xs, start, (b,), mask=mask[:, b], resets=resets[:, b], reverse=reverse)
        for w, (k, t) in enumerate(pairs):
            want = plain(J[k:t], reverse)
            assert_allclose(found.log_singular_values[w, b], want, rtol=1e-10, atol=1e-12)
    assert found.converged.all() and found.log_singular_values.shape[:2] == (len(pairs), 2)


def factored(jaxpr):
    """How many matrices each QR of a program takes, loops and calls included."""
    counts = [equation.invars[0].aval.size // 9 for equation in jaxpr.eqns if equation.primitive.name == "qr"]
    return counts + [count for inner in inner_programs(jaxpr) for count in factored(inner)]


def test_windows_that_end_together_take_one_pass():
    J = np.random.default_rng(0).normal(size=(32, 3, 3))

    def in_the_scan(pairs):
        program = jax.make_jaxpr(lambda J: of_product(J, pairs, method="explicit"))(J).jaxpr
        return sorted(factored(program))[:-2]  # without the two that begin the decomposition of all products

    assert in_the_scan([(32 - 2**i, 32) for i in range(5)]) == in_the_scan([(3, 4 + i) for i in range(5)]) == [1]
    assert in_the_scan([(5 * i, 5 * i + 3) for i in range(5)]) == [5]


def compound(matrix, i):
    """The i-th compound: all minors of order i. It is multiplicative, and its norm is sigma_1 ... sigma_i."""
    sets = list(combinations(range(len(matrix)), i))
    return np.array([[np.linalg.det(matrix[np.ix_(r, c)]) for c in sets] for r in sets])


def test_small_singular_values_against_the_norms_of_compounds():
    J = np.random.default_rng(0).normal(size=(300, 4, 4))
    pairs, sums = [(0, 300), (100, 300), (7, 8)], {}
    for pair in pairs:
        for i in range(1, 5):
            product, log_scale = np.eye(len(list(combinations(range(4), i)))), 0.0
            for factor in J[slice(*pair)]:
                product = compound(factor, i) @ product
                size = np.abs(product).max()
                product, log_scale = product / size, log_scale + np.log(size)
            sums[pair, i] = np.log(np.linalg.norm(product, 2)) + log_scale
    found = of_product(J, pairs)
    for w, pair in enumerate(pairs):
        want = np.diff([0.0] + [sums[pair, i] for i in range(1, 5)])
        assert_allclose(found.log_singular_values[w], want, rtol=1e-11, atol=1e-11)
        assert_allclose(found.log_condition_number[w], want[0] - want[-1], rtol=1e-11)
    assert found.log_condition_number[0] > 300, "far beyond the 36 nats that a float64 spans"


@pytest.mark.parametrize(("dtype", "rtol"), [(jnp.float64, 1e-13), (jnp.float32, 2e-5)])
def test_products_whose_singular_values_are_known(dtype, rtol):
    # U_T D_T U_{T-1}^T ... U_1 D_1 U_0^T telescopes: its singular values are the products of the diagonals
    rng = np.random.default_rng(1)
    logs = 5 - np.linspace(0, 2.5, 12) + 0.3 * rng.normal(size=(400, 12))
    turns = [orthogonal(rng, 12) for _ in range(401)]
    J = np.stack([turns[i + 1] * np.exp(logs[i]) @ turns[i].T for i in range(400)])
    want = np.sort(logs.sum(0))[::-1]
    assert want[0] > 1900 and want[-1] < 1100, "overflows, and spans far more than a float"
    for top, method in ((None, "explicit"), (2, "matrix_free"))[: 1 + (dtype == jnp.float64)]:
        found = of_product(J, [(0, 400)], dtype, method=method, top=top)
        assert found.log_singular_values.dtype == found.residual.dtype == dtype
        assert_allclose(found.log_singular_values[0], want[:top], rtol=rtol)
        assert found.residual < (1e-13 if dtype == jnp.float64 else 1e-5) and found.converged.all()
        assert (found.iterations > 0) == (method == "matrix_free")


@pytest.mark.parametrize("method", METHODS)
def test_finite_in_float32_over_a_hundred_thousand_steps(method):
    turn = orthogonal(np.random.default_rng(0), 3)
    for growth in (0.5, -0.5):
        J = np.broadcast_to(np.exp(growth) * turn, (100_000, 3, 3))
        found = of_product(J, [(0, 100_000)], jnp.float32, method=method)
        assert_allclose(found.log_singular_values, np.full((1, 3), growth * 100_000), rtol=2e-6)


def test_an_orthogonal_linear_network_keeps_every_length():
    cell = elman(4, "identity", w_rec="orthogonal")
    params = cell.init(jax.random.key(0), 2)
    xs = np.random.default_rng(0).normal(size=(1000, 2))
    found = window_singular_values(cell, params, xs, [(0, 1000), (3, 777)])
    assert_allclose(found.log_singular_values, np.zeros((2, 4)), atol=1e-11)
    assert_allclose(found.log_condition_number, np.zeros(2), atol=1e-11)


def test_transient_growth_of_a_map_that_is_not_normal():
    # J = [[a, b], [0, c]]: J^t = [[a^t, b (a^t - c^t) / (a - c)], [0, c^t]], so sigma_1 > 1 although |a|, |c| < 1
    a, b, c = 0.9, 50.0, 0.5
    times = [1, 10, 300]
    found = of_product(np.broadcast_to([[a, b], [0, c]], (300, 2, 2)), [(0, t) for t in times])
    for w, t in enumerate(times):
        corner = b * (1 - (c / a) ** t) / (a - c)  # all in units of a^t
        frobenius, det = 1 + corner**2 + (c / a) ** (2 * t), (c / a) ** t
        log_first = t * np.log(a) + np.log((frobenius + np.sqrt(frobenius**2 - 4 * det**2)) / 2) / 2
        assert_allclose(found.log_singular_values[w], [log_first, t * np.log(a * c) - log_first], rtol=1e-11)
    assert found.log_largest[1] > np.log(40) and found.log_singular_values[2, 1] < found.log_largest[2] - 150


@pytest.mark.parametrize("method", METHODS)
def test_dead_directions_are_minus_infinity(method):
    cell, params = lstm(2), make("lstm")[1]
    params = params | {"w_rec": jnp.zeros((2, 8))}  # J = [[0, o tanh'(c) f], [0, f]]
    xs = jnp.asarray(inputs("lstm", STEPS, ()))
    found = window_singular_values(cell, params, xs, PAIRS, method=method)
    J = np.asarray(jacobians(cell, params, xs))
    for w in (0, 1, 3):
        want = plain(J[slice(*PAIRS[w])])
        assert_allclose(found.log_singular_values[w, :2], want[:2], rtol=1e-12)
        assert_array_equal(found.log_singular_values[w, 2:], [-np.inf, -np.inf])
    assert_array_equal(found.log_condition_number, [np.inf, np.inf, 0, np.inf])


def test_singular_factors():
    one, unit = np.zeros((4, 4)), np.eye(4)
    one[1, 2] = 2.0
    halves = np.kron(unit[:2, :2], np.full((2, 2), 0.5))  # rank 2
    logs = of_product(np.stack([one, unit, halves, 0 * unit]), PAIRS).log_singular_values
    dead = -np.inf
    assert_array_equal(logs[0], [dead] * 4)
    assert_array_equal(logs[1], [dead] * 4)
    assert_allclose(logs[3], [0, 0, dead, dead], atol=1e-15)
    logs = of_product(np.stack([one, unit, unit, unit]), PAIRS).log_singular_values
    assert_allclose(logs[0], [np.log(2), dead, dead, dead], rtol=1e-15)


def test_the_iteration_converges_from_below_and_says_how_far_it_is():
    J = np.random.default_rng(3).normal(size=(3, 40, 40)) / 6
    pairs = [(0, 1), (0, 3)]
    want = np.stack([plain(J[k:t])[:4] for k, t in pairs])
    whole = of_product(J, pairs, method="matrix_free", top=4)
    assert whole.converged.all() and whole.residual.max() < 1.5e-8 and 3 < whole.iterations < 100
    assert_allclose(whole.log_singular_values, want, atol=1e-12)
    found = of_product(J, pairs, method="matrix_free", top=4, iterations=2)
    short = want - found.log_singular_values
    assert found.iterations == 2 and not found.converged.any()
    assert (short > -1e-13).all() and (short.max(axis=-1) > 1e-6).all()
    assert (short.max(axis=-1) < found.residual).all() and (found.residual <= 1).all()


def test_float32_iterations_do_not_overflow():
    J = np.random.default_rng(4).normal(size=(12, 12))
    found = of_product(np.broadcast_to(30 * J, (400, 12, 12)), [(0, 400)], jnp.float32, method="matrix_free", top=2)
    growth = np.log(np.abs(np.linalg.eigvals(30 * J)).max())
    assert 400 * growth > 1000 and found.converged.all()
    assert_allclose(found.log_largest / 400, [growth], rtol=5e-3)


def test_the_noise_is_the_runs_own():
    cell = dropout(gru(3), recurrent=0.5)
    params, key = make(cell)[1], jax.random.key(3)
    xs = jnp.asarray(inputs("gru", STEPS, ()))
    J = np.asarray(jacobians(cell, params, xs, key=key))
    for method in METHODS:
        found = window_singular_values(cell, params, xs, PAIRS, key=key, method=method)
        assert_allclose(found.log_singular_values[3], plain(J[1:3]), rtol=1e-11)


def ring_start(params, batch):
    return jnp.zeros((*batch, 60))


def ring_step(params, state, x):
    return jnp.tanh(params * state + jnp.roll(state, 1, axis=-1) + x)


RING = from_functions(initial_state=ring_start, step=ring_step)


def inner_programs(jaxpr):
    """The programs of its loops and calls."""
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield inner


def largest_array(jaxpr):
    """The most elements of any array that a program makes, loops and calls included."""
    sizes = [v.aval.size for equation in jaxpr.eqns for v in equation.outvars]
    return max([0, *sizes, *map(largest_array, inner_programs(jaxpr))])


def test_matrix_free_never_forms_a_jacobian_and_auto_chooses_by_size(monkeypatch):
    xs, params = np.random.default_rng(0).normal(size=(20, 60)), jnp.asarray(0.5)

    def program(**options):
        return jax.make_jaxpr(lambda p: window_singular_values(RING, p, xs, [(0, 20)], **options))(params).jaxpr

    sizes = {method: largest_array(program(top=2, method=method)) for method in METHODS}
    assert sizes["explicit"] >= 20 * 60 * 60 and sizes["matrix_free"] < 60 * 60
    assert largest_array(program(top=2)) == sizes["explicit"]
    monkeypatch.setattr(windows, "EXPLICIT_ELEMENTS", 20 * 60 * 60 - 1)
    assert largest_array(program(top=2)) == sizes["matrix_free"]


def test_jit_vmap_and_16_bit():
    cell, params = make("gru")
    xs = jnp.asarray(inputs("gru", STEPS, (2,)))
    J = np.asarray(jacobians(cell, params, xs))
    want = np.array([[plain(J[k:t, b]) for b in range(2)] for k, t in PAIRS])

    def logs(x, cell=cell, params=params, **options):
        return window_singular_values(cell, params, x, PAIRS, **options).log_singular_values

    mapped = jax.jit(jax.vmap(partial(logs, method="matrix_free"), in_axes=1, out_axes=1))
    assert_allclose(mapped(xs), want, rtol=1e-10, atol=1e-12)
    low = logs(
        xs.astype(jnp.bfloat16),
        cell=gru(3, dtype=jnp.bfloat16),
        params=jax.tree.map(lambda p: p.astype(jnp.bfloat16), params),
    )
    assert low.dtype == jnp.float32
    assert_allclose(low[..., 0], want[..., 0], atol=0.05)


@pytest.mark.thorough
def test_the_gradient_of_a_small_singular_value():
    cell, params = make("gru")
    xs = jnp.asarray(inputs("gru", STEPS, ()))

    def by_windows(w):
        return window_singular_values(cell, params | {"w_rec": w}, xs, PAIRS).log_singular_values[0, 2]

    def by_svd(w):
        product = jrnn.jacobian_product(jacobians(cell, params | {"w_rec": w}, xs), 0, STEPS)
        return jnp.log(jnp.linalg.svd(product, compute_uv=False)[2])

    assert_allclose(jax.grad(by_windows)(params["w_rec"]), jax.grad(by_svd)(params["w_rec"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_do(method):
    cell, params = make("gru")
    xs = inputs("gru", STEPS, (2,))
    of = partial(window_singular_values, cell, params, method=method)
    assert_array_equal(of(xs[:0], [(0, 0)]).log_singular_values, np.zeros((1, 2, 3)))
    assert_array_equal(of(xs, [(4, 4), (0, 0)], top=2).log_singular_values, np.zeros((2, 2, 2)))
    assert of(xs[:, :0], [(0, 4)], top=1).log_singular_values.shape == (1, 0, 1)
    assert of(xs, []).log_singular_values.shape == (0, 2, 3)
    assert of(xs, [(4, 4)]).converged.all() and of(xs, []).iterations == 0


@pytest.mark.parametrize("bad", [[(0, 5)], [(2, 1)], [(-1, 2)], [(0, 1.0)], [(0, 1, 2)], 3, [(True, 2)]], ids=str)
def test_bad_windows_are_refused(bad):
    cell, params = make("gru")
    with pytest.raises(InputError, match="windows: got"):
        window_singular_values(cell, params, inputs("gru", STEPS, ()), bad)


def test_what_else_is_refused():
    cell, params = make("gru")
    of = partial(window_singular_values, cell, params, inputs("gru", STEPS, ()), [(0, 4)])
    for name, value in (("top", 4), ("top", 0), ("method", "svd"), ("iterations", 0)):
        with pytest.raises(InputError, match=f"{name}: got"):
            of(**{name: value})
    both = Bidirectional(gru(2))
    with pytest.raises(InputError, match="each direction"):
        window_singular_values(both, make(both)[1], inputs("gru", 2, ()), [(0, 1)])
    turning = from_functions(initial_state=lambda p, b: jnp.ones((*b, 2), jnp.complex128), step=lambda p, h, x: h * 1j)
    with pytest.raises(InputError, match="a state of dtype complex128"):
        window_singular_values(turning, (), None, [(0, 1)], length=1)


def test_spectral_radius_against_eigenvalues():
    rng = np.random.default_rng(0)
    J = rng.normal(size=(3, 2, 6, 6))
    want = np.abs(np.linalg.eigvals(J)).max(-1)
    assert np.iscomplexobj(np.linalg.eigvals(J))
    assert_allclose(spectral_radius(J), want, rtol=1e-13)
    assert_allclose(spectral_radius(J.astype(np.float32)), want, rtol=1e-5)
    turn = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    jordan, nilpotent, tilted = np.array([[0.9, 1], [0, 0.9]]), np.triu(np.ones((2, 2)), 1), [[0.9, 1e6], [0, 0.5]]
    known = np.stack([1e200 * turn, 1e-200 * turn, jordan, tilted, nilpotent, 0 * turn, np.nan * turn])
    assert_allclose(spectral_radius(known), [1e200, 1e-200, 0.9, 0.9, 0, 0, np.nan], rtol=1e-12)
    assert spectral_radius(J.astype(np.float32)).dtype == jnp.float32


def test_condition_number_against_numpy():
    J = np.random.default_rng(0).normal(size=(3, 2, 6, 6))
    assert_allclose(condition_number(J), np.linalg.cond(J), rtol=1e-12)
    singular = np.stack([np.diag([2.0, 0.0]), np.zeros((2, 2)), np.full((2, 2), 0.1), np.diag([1e-300, 3e-300])])
    assert_allclose(condition_number(singular), [np.inf, np.inf, np.inf, 3])
    assert_array_equal(condition_number(np.zeros((0, 3, 3))), np.zeros(0))
    for measure in (condition_number, spectral_radius):
        for bad in (np.zeros((2, 3)), np.zeros(3), np.zeros((2, 0, 0)), np.zeros((2, 2), int)):
            with pytest.raises(InputError, match="J: got"):
                measure(bad)


def test_the_front_door():
    for name in ("window_singular_values", "WindowSpectrum", "spectral_radius", "condition_number"):
        assert getattr(jrnn, name) is getattr(jrnn.flow, name)
