"""The singular values of graded matrices against NumPy, and against QR where rows lie too far apart to mix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.flow.singular_values.graded import DEAD, normalised
from jrnn.flow.singular_values.scaled_svd import orthogonal_rows


def graded(exponent, rows):
    return normalised(jnp.asarray(exponent, jnp.int32), jnp.asarray(rows))


def up_to_signs(found, wanted, **tolerance):
    """Unit rows that agree but for their signs."""
    signs = np.sign(np.sum(found * wanted, axis=-1, keepdims=True))
    assert_allclose(found * signs, wanted, **tolerance)


@pytest.mark.parametrize("k", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_against_numpy(k, batch):
    rng = np.random.default_rng(k)
    exponent, rows = rng.integers(-8, 9, (*batch, k)), rng.normal(size=(*batch, k, k))
    found, cosine = jax.jit(orthogonal_rows)(graded(exponent, rows))
    _, values, wanted = np.linalg.svd(rows * np.exp2(exponent)[..., None])
    assert_allclose(np.exp(found.log_norms()), values, rtol=1e-10)
    rows = np.asarray(found.rows)
    up_to_signs(rows / np.linalg.norm(rows, axis=-1, keepdims=True), wanted, atol=1e-9)
    assert cosine.shape == batch and (cosine < 1e-14).all()


@pytest.mark.parametrize("k", [5, 6])
def test_rows_that_lie_400_powers_of_two_apart(k):
    # sigma_i -> 2^e_i |r_ii| and V -> Q for the longest row first: what is left out is below 2^-800 of it
    rng = np.random.default_rng(k)
    rows, order = rng.normal(size=(k, k)), rng.permutation(k)
    exponent = -400 * np.argsort(order)
    found, _ = orthogonal_rows(graded(exponent, rows))
    q, r = np.linalg.qr(rows[order].T)
    assert_allclose(found.log_norms(), np.log(np.abs(np.diag(r))) - 400 * np.arange(k) * np.log(2), rtol=1e-13)
    rows = np.asarray(found.rows)
    up_to_signs(rows / np.linalg.norm(rows, axis=-1, keepdims=True), q.T, atol=1e-12)


def test_the_golden_matrix_at_any_scale():
    # [[1, 1], [0, 1]]: the golden ratio and its inverse
    golden = np.log((1 + 5**0.5) / 2)
    for exponent in (0, 5000, -(10**8)):
        found, _ = orthogonal_rows(graded([exponent] * 2, [[1.0, 1.0], [0.0, 1.0]]))
        assert_allclose(found.log_norms() - exponent * np.log(2), [golden, -golden], atol=4e-16 * (1 + abs(exponent)))


def test_rows_of_zeros_and_numbers_that_are_not_finite():
    rows = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    found, cosine = orthogonal_rows(graded([0, 1, DEAD], rows))
    assert_allclose(found.log_norms(), [np.log(6), -np.inf, -np.inf])
    assert cosine == 0
    found, cosine = orthogonal_rows(graded([0, 0, 0], np.zeros((3, 3))))
    assert_array_equal(found.log_norms(), [-np.inf] * 3)
    several = np.stack([np.eye(3), np.full((3, 3), np.nan)])
    found, cosine = orthogonal_rows(graded(np.zeros((2, 3)), several))
    assert_allclose(found.log_norms()[0], np.zeros(3), atol=1e-15)
    assert np.isnan(cosine[1]) and np.isnan(found.log_norms()[1]).all()


@pytest.mark.thorough
def test_gradient_against_finite_differences():
    rng = np.random.default_rng(0)
    exponent, rows, push = np.array([0, -3, 7, 2]), rng.normal(size=(4, 4)), rng.normal(size=(4, 4))

    def logs(rows):
        return orthogonal_rows(graded(exponent, rows))[0].log_norms()

    slope = jax.jvp(logs, (rows,), (push,))[1]
    assert_allclose(slope, (logs(rows + 1e-6 * push) - logs(rows - 1e-6 * push)) / 2e-6, rtol=1e-6, atol=1e-8)
    back = jax.grad(lambda rows: logs(rows) @ np.arange(1.0, 5))(rows)
    assert_allclose(jnp.sum(back * push), slope @ np.arange(1.0, 5), rtol=1e-10)


def test_gradient_beside_a_dead_row():
    # ln of the norm of one row: the row over its norm squared
    for rows in ([[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 2.0]]):
        found = jax.grad(lambda rows: orthogonal_rows(graded([0, 0], rows))[0].log_norms()[0])(jnp.array(rows))
        assert_allclose(found, np.array(rows) / 5, atol=1e-15)


def test_cosines_whose_squares_are_zero_in_float32():
    rows = np.eye(4, dtype=np.float32)
    rows[2, 3], rows[:2, :2] = 1e-20, [[1, 0.5], [0.25, 1]]
    found, cosine = orthogonal_rows(graded(np.zeros(4), rows))
    values = np.linalg.svd(rows[:2, :2], compute_uv=False)
    assert_allclose(np.exp(found.log_norms()), np.sort([1, 1, *values])[::-1], rtol=1e-6)
    assert cosine < 1e-6
