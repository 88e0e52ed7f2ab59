"""Every singular value of a matrix whose rows differ by any number of nats, each to a relative accuracy.

One-sided Jacobi rotations make the rows orthogonal (Demmel and Veselic 1992), after two QR steps that bring them nearer
to it (Drmac and Veselic 2008): at k = 128 they take 6 to 9 sweeps instead of 10 or 11.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jrnn.flow.singular_values.graded import DEAD, FAR, Graded, normalised, norms, times_two_to
from jrnn.types import Array

SWEEPS = 30  # of rotations at most

matmul = partial(jnp.matmul, precision="highest")


class Rotated(NamedTuple):
    """Rows on their way to being orthogonal."""

    product: Graded
    cosine: Float[Array, "*B"]
    """[*B]: the largest |cosine| between two rows."""


@jax.custom_jvp
def orthogonal_rows(product: Graded) -> tuple[Graded, Array]:
    """(Sigma V^T of the product's singular value decomposition, longest row first; the largest |cosine| left)."""
    # A = Q_2 M P Q_1^T with M of the second step, P the order that it took the rows of the first in
    first, (_, q) = triangular(product)
    second, (order, _) = triangular(first)
    (exponent, rows), cosine = by_rotations(second)
    basis = jnp.take_along_axis(jnp.swapaxes(q, -1, -2), order[..., None], axis=-2)
    return Graded(exponent, matmul(rows, basis)), cosine


@orthogonal_rows.defjvp
def _derivative(product: tuple[Graded], pushed: tuple[Graded]) -> tuple[Any, Any]:
    """That of the rotations alone: QR has none where a row is dead."""
    return jax.jvp(by_rotations, product, pushed)


def by_rotations(product: Graded) -> tuple[Graded, Array]:
    """The same without the QR steps."""
    *lead, k = product.exponent.shape
    even = [(0, 0)] * len(lead) + [(0, k % 2)]  # a row of zeros is a partner for the last one
    padded = Graded(jnp.pad(product.exponent, even, constant_values=DEAD), jnp.pad(product.rows, [*even, (0, k % 2)]))
    start = Rotated(padded, largest_cosine(padded))
    # a fixed number, most of them skipped, because a loop that ends when it has converged has no reverse mode
    rotated, cosine = jax.lax.fori_loop(0, SWEEPS, lambda _, state: jacobi_sweep(state), start)
    exponent, rows = longest_first(rotated)[0]
    return Graded(exponent[..., :k], rows[..., :k, :k]), cosine


def longest_first(product: Graded) -> tuple[Graded, Int[Array, "*B k"]]:
    """The rows by length, and where each was."""
    order = jnp.argsort(product.log_norms(), axis=-1, descending=True)
    rows = jnp.take_along_axis(product.rows, order[..., None], axis=-2)
    return Graded(jnp.take_along_axis(product.exponent, order, axis=-1), rows), order


def triangular(product: Graded) -> tuple[Graded, tuple[Array, Array]]:
    """(R, (order, Q)) of A[order] = R^T Q^T, the longest row first: R has the singular values of A, and R R^T is nearer
    to a diagonal than A A^T."""
    (exponent, rows), order = longest_first(product)
    q, r = jnp.linalg.qr(jnp.swapaxes(rows, -1, -2))
    # R_ij = 2^e_i (r_ij 2^(e_j - e_i)) for j >= i; a longer row's exponent may be a little smaller
    behind = exponent[..., None, :] - exponent[..., :, None]
    return normalised(exponent, times_two_to(jnp.triu(r), jnp.clip(behind, -FAR, 64))), (order, q)


def largest_cosine(product: Graded) -> Float[Array, "*B"]:
    """The largest |cosine| between two rows."""
    unit = product.rows / norms(product)[..., None]
    cosines = matmul(unit, jnp.swapaxes(unit, -1, -2))
    return jnp.max(jnp.abs(jnp.where(jnp.eye(unit.shape[-2], dtype=bool), 0, cosines)), axis=(-2, -1))


def jacobi_sweep(state: Rotated) -> Rotated:
    """k - 1 rounds, in which every two rows meet once; none where all are orthogonal already."""
    k, dtype = state.product.rows.shape[-1], state.product.rows.dtype

    def rounds(state: Rotated) -> Rotated:
        (e_1, e_2), (rows_1, rows_2) = (jnp.split(a, 2, axis) for a, axis in zip(state.product, (-1, -2), strict=True))
        start = Graded(e_1, rows_1), Graded(e_2, rows_2)
        one, two = jax.lax.fori_loop(0, k - 1, lambda _, pair: jacobi_round(*pair), start)
        exponent = jnp.concatenate([one.exponent, two.exponent], axis=-1)
        product = normalised(exponent, jnp.concatenate([one.rows, two.rows], axis=-2))
        return Rotated(product, largest_cosine(product))

    orthogonal = jnp.all(state.cosine <= k * float(jnp.finfo(dtype).eps))
    return jax.lax.cond(orthogonal, lambda state: state, rounds, state)


def jacobi_round(one: Graded, two: Graded) -> tuple[Graded, Graded]:
    """Makes row m of one and row m of two orthogonal, for every m, then lets them change partners.

    tan = 2 rho c / (1 - rho^2 + sqrt((1 - rho^2)^2 + 4 rho^2 c^2)), rho <= 1 the ratio of lengths, c the cosine. Powers
    of two, which rounding leaves alone, go into the factors of the rows, so that these are read twice and written once.
    """
    (e_1, length_1, unit_1), (e_2, length_2, unit_2) = map(split_lengths, (one, two))
    c = jnp.sum(one.rows * two.rows, axis=-1) * (unit_1 * unit_2) / (length_1 * length_2)
    swap = (times_two_to(length_2, jnp.clip(e_2 - e_1, -FAR, FAR)) > length_1) & (e_2 > DEAD)
    relative = jnp.where(swap, length_1 / length_2, length_2 / length_1)
    rho = times_two_to(relative, jnp.maximum(jnp.where(swap, e_1 - e_2, e_2 - e_1), -FAR))
    gap = 1 - rho**2
    none = jnp.abs(c) < 2 * float(jnp.finfo(c.dtype).tiny) ** 0.5  # whose square is zero
    bottom = gap + jnp.sqrt(jnp.where(none, 1, gap**2 + 4 * (rho * c) ** 2))
    ratio = jnp.where(none, 0, 2 * c / jnp.where(none, 1, bottom))  # tan / rho, finite for rho = 0
    cos = 1 / jnp.sqrt(1 + (ratio * rho) ** 2)
    of_small, of_big = cos * ratio * rho**2 / relative, -cos * ratio * relative  # what the big, the small row takes
    of_two, of_one = jnp.where(swap, of_big, of_small), jnp.where(swap, of_small, of_big)
    # the pair is not left sorted by length: rows that changed places would miss partners
    new_1 = wide(cos * unit_1) * one.rows + wide(of_two * unit_2) * two.rows
    new_2 = wide(cos * unit_2) * two.rows + wide(of_one * unit_1) * one.rows
    exponents, rows = next_seats(e_1, e_2, -1), next_seats(new_1, new_2, -2)
    return Graded(exponents[0], rows[0]), Graded(exponents[1], rows[1])


def split_lengths(product: Graded) -> tuple[Array, Array, Array]:
    """(exponent, length, unit): the row is 2^exponent (unit row), with unit a power of two and ||unit row|| = length in
    [1/2, 1]; where the row is zero the length is 1/2 or 1, too."""
    square = jnp.sum(product.rows**2, axis=-1)
    dead = (product.exponent == DEAD) | (square == 0)
    length = jnp.sqrt(jnp.where(dead, 1, square))
    power = jnp.frexp(jax.lax.stop_gradient(length))[1].astype(jnp.int32)
    unit = times_two_to(jnp.ones_like(length), -power)
    return jnp.where(dead, DEAD, product.exponent + power), length * unit, unit


def wide(factor: Array) -> Array:
    """[*B, m] against rows [*B, m, k]."""
    return factor[..., None]


def next_seats(one: Array, two: Array, axis: int) -> tuple[Array, Array]:
    """The round robin: the first of 2m rows stays, the others move on by one seat; after 2m - 1 rounds all are back."""
    m, part = one.shape[axis], partial(jax.lax.slice_in_dim, axis=axis % one.ndim)
    if m == 1:
        return one, two
    above = part(one, 0, 1), part(two, 0, 1), part(one, 1, m - 1)
    return jnp.concatenate(above, axis=axis), jnp.concatenate([part(two, 1, m), part(one, m - 1, m)], axis=axis)
