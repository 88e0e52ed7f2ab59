"""`jax_debug_nans` on: no instrument makes a NaN of finite data, whatever dies or is zero. JAX itself is the judge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.flow.lyapunov.orthonormal import by_cholesky, by_householder

from .instruments import CELLS, INSTRUMENTS, OFTEN, Case, a_case, as_float64, lyapunov_spectrum, renewed_seldom

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def hunting_nan():
    with jax.debug_nans(True):
        yield


def with_a_dead_unit() -> Case:
    case = a_case(lambda dtype: jrnn.elman(3, "relu", dtype=dtype), "float32")
    return Case(case.cell, case.params | {"bias": case.params["bias"].at[0].set(-100)}, case.xs, case.options)


def with_zero_weights() -> Case:
    case = a_case(CELLS["gru"], "float32")
    return Case(case.cell, jax.tree.map(jnp.zeros_like, case.params), case.xs, case.options)


@pytest.mark.parametrize(
    "case, instrument",
    [*((with_a_dead_unit, name) for name in INSTRUMENTS), *((with_zero_weights, f.__name__) for f in OFTEN)],
)
def test_nothing_is_nan(case, instrument):
    for field, value in as_float64(INSTRUMENTS[instrument](case())).items():
        assert not np.isnan(value).any(), field


def test_the_dead_unit_is_said_to_be_dead():
    """-inf is no NaN: the exponent of a direction that dies."""
    case = with_a_dead_unit()
    found = jrnn.lyapunov_spectrum(case.cell, case.params, case.xs)
    assert np.isneginf(found.exponents[:, -1]).all() and np.isposinf(found.condition_growth).all()


@pytest.mark.parametrize("measure", [lyapunov_spectrum, renewed_seldom])
def test_no_operation_of_a_lyapunov_step_makes_one(measure):
    """Operation by operation: what a compiled program would hide, a hunt for someone else's NaN would run into."""
    case = with_a_dead_unit()
    short = Case(case.cell, case.params, case.xs[:3], {"lengths": jnp.array([3, 1, 0])})
    with jax.disable_jit():
        measure(short)


def test_a_factorisation_that_fails_is_told_without_a_nan():
    """Rows that depend on one another, a row of zeros, rows whose squares overflow, and good ones of any size."""
    a = np.random.default_rng(0).normal(size=(5, 4, 20))
    a[0, 2] = a[0, 0] - 2 * a[0, 1]
    a[1, 3] = 0
    a[2] *= 1e200
    a[3] *= np.array([1e3, 1e-100, 1.0, 1e100])[:, None]
    a[4, 3] = a[4, 0] + 1e-9 * a[4, 3]
    exact, q, size = by_cholesky(jnp.asarray(a))
    assert exact.tolist() == [False, False, True, True, False]
    np.testing.assert_allclose(size[2:4], by_householder(jnp.asarray(a[2:4]), drop=False)[1], rtol=1e-12)
    assert np.isfinite(q).all()


def test_the_median_of_what_is_clipped_leaves_zeros_out():
    """The per-step clip's own limit, beside NumPy: an odd and an even number of sizes, and none."""
    from jrnn.cures.proving import typical

    for sizes in ([0.0, 3.0, 1.0, 2.0], [0.0, 4.0, 1.0, 2.0, 0.0, 3.0], [5.0]):
        some = np.array(sizes)[np.array(sizes) > 0]
        np.testing.assert_array_equal(typical(jnp.asarray(sizes).reshape(1, -1)), np.median(some))
    assert typical(jnp.zeros((2, 3))) == jnp.inf and typical(jnp.zeros((0, 3))) == jnp.inf


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_told_by_its_segment(reverse):
    """-1 where no state is; what a NaN said before."""
    case = a_case(CELLS["elman"], "float32")
    lengths = np.asarray(case.options["lengths"])
    flow = jrnn.gradient_flow(
        case.cell, case.params, case.xs, lambda run: jnp.sum(run.outputs), lengths=lengths, reverse=reverse
    )
    k = np.arange(6)[:, None]
    padding = (k >= lengths) & (k < 5) if reverse else k > lengths
    np.testing.assert_array_equal(np.asarray(flow.segments) < 0, padding)
    assert (np.asarray(flow.state_norms)[padding] == 0).all()
