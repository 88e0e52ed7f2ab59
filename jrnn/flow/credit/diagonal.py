"""The credit map of a cell whose Jacobians are diagonal, by products of their diagonals: no step is differentiated.

With a_j the diagonal of J_j and d_t what output t pulls on h_t, part(t, k) = a_{k+1} ... a_t d_t (conj(a) of complex
numbers). States lie in blocks. Where t lies beyond the block of k, the product splits at that block's end: V_k from k
to the end, times Q_t from there to t with d_t. A block's ||part(t, k)||^2 = sum over units of Q_t^2 V_k^2 is then one
matrix product for all t and k. Within a block the way goes lag by lag. Nothing is divided by, so that resets (a = 0)
are exact. Each Q_t and V_k is scaled to 1; where no unit is large in both, less than 1e-19 is 0 in float32.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.flow.credit.lag_recursion import Run, Steps, entered, seeds
from jrnn.numerics import norm
from jrnn.types import Array, State, size_of, widened
from jrnn.unrolling.schedule import zero_unless
from jrnn.unrolling.step_rule import hold

SIZE = 32  # states in a block: about sqrt(T) makes the work least


class Blocks(NamedTuple):
    """The factors of the steps in blocks, sequences in front: leaves [b, blocks, SIZE, H]."""

    factors: Array
    """a_i, which leads from state i - 1 to state i (conjugated); 1 beyond the ends."""
    onto: Array
    """The product from the block's beginning to state i, a_i included."""
    off: Array
    """The product from state i to the block's end, a_i not included."""


class Rows(NamedTuple):
    """The outputs followed."""

    block: Array
    """[R]: in which the state lies that an output reads."""
    place: Array
    """[R]: where in the block."""
    pulls: Array
    """d_t [b, R, H]."""


def has_factors(cell: Any) -> bool:
    """Whether the cell says that its Jacobians are diagonal."""
    return getattr(cell, "factors", None) is not None


def diagonal_credit(run: Run, steps: Steps, outputs: Array | None) -> tuple[State, State]:
    """(||part(t, k)|| of each leaf of the state [R, T+1, *B], sum_t part(t, k) [T+1, *B, H]), in reading order.

    Args:
      outputs: the steps [R] of the outputs to follow, or None for all.
    """
    count = len(steps.time)
    at = jnp.arange(count, dtype=jnp.int32) if outputs is None else outputs
    pulls = seeds(run, jax.tree.map(lambda a: a[at], steps)).here
    leaves, tree = jax.tree.flatten(pulls)
    factors = jax.vmap(partial(factor, run))(steps, steps.entering)

    def sequences_first(array: Array) -> Array:
        return jnp.moveaxis(array.reshape(array.shape[0], size_of(run.batch_shape), array.shape[-1]), 1, 0)

    def batch_last(array: Array, axes: int) -> Array:
        array = jnp.moveaxis(array, 0, axes)
        return array.reshape(*array.shape[:axes], *run.batch_shape, *array.shape[axes + 1 :])

    blocks = in_blocks(sequences_first(factors))
    rows = Rows((at + 1) // SIZE, (at + 1) % SIZE, sequences_first(number(leaves)))
    sizes, total = far(blocks, rows, near(blocks, rows))
    if outputs is None:
        total = total + within(blocks, rows.pulls)
    sizes = [batch_last(size[:, :, : count + 1], 2) for size in sizes]
    total = [batch_last(part[:, : count + 1], 1) for part in parts_of(total)]
    return tree.unflatten(sizes), tree.unflatten(total)


def factor(run: Run, now: Steps, entering: State) -> Array:
    """What multiplies dL/dh_t on its way to h_{t-1}: conj(a), 1 where nothing happens, 0 behind a reset or cut."""
    step = entered(run, now, run.params, entering, run.begin(run.params)[1])
    a = jnp.conj(run.cell.factors(step.params, step.state, step.x))
    a = hold(step.valid, a, jnp.ones_like(a))
    for ends in (now.schedule.resets, now.schedule.cuts):
        a = a if ends is None else zero_unless(~ends, a)
    return a


def number(leaves: list[Array]) -> Array:
    """The leaves of a state as one array of real or complex numbers."""
    wide = [widened(leaf) for leaf in leaves]
    return wide[0] if len(wide) == 1 else jax.lax.complex(*wide)


def parts_of(array: Array) -> tuple[Array, ...]:
    """The inverse of `number`."""
    return (array.real, array.imag) if jnp.iscomplexobj(array) else (array,)


def in_blocks(factors: Array) -> Blocks:
    """From the factors of the steps [b, T, H]: state 0 is entered by none, and the last block is filled up."""
    b, count, units = factors.shape
    blocks = (count + SIZE) // SIZE
    ends = [jnp.ones_like(factors, shape=(b, n, units)) for n in (1, blocks * SIZE - count - 1)]
    factors = jnp.concatenate([ends[0], factors, ends[1]], axis=1).reshape(b, blocks, SIZE, units)
    later = jnp.concatenate([factors[:, :, 1:], jnp.ones_like(factors[:, :, :1])], axis=2)
    return Blocks(factors, jax.lax.cumprod(factors, 2), jax.lax.cumprod(later, 2, reverse=True))


def near(blocks: Blocks, rows: Rows) -> tuple[Array, ...]:
    """||part(t, k)|| for the k of t's own block, [b, R, SIZE] of each leaf; zero for k > t."""
    b, _, _, units = blocks.factors.shape
    factors = blocks.factors.reshape(b, -1, units)
    reads = rows.block * SIZE + rows.place

    def one_lag(parts: Array, lag: Array) -> tuple[Array, tuple[Array, ...]]:
        sizes = tuple(map(norm, parts_of(parts)))
        return parts * jnp.take(factors, jnp.maximum(reads - lag, 0), axis=1), sizes

    _, by_lag = jax.lax.scan(one_lag, rows.pulls, jnp.arange(SIZE, dtype=jnp.int32))
    lag = rows.place[:, None] - jnp.arange(SIZE, dtype=jnp.int32)[None]  # [R, SIZE]
    row = jnp.broadcast_to(jnp.arange(len(lag), dtype=jnp.int32)[:, None], lag.shape)

    def by_state(sizes: Array) -> Array:
        return jnp.moveaxis(zero_unless(lag >= 0, jnp.moveaxis(sizes, 1, 2)[jnp.maximum(lag, 0), row]), 2, 0)

    return tuple(map(by_state, by_lag))


def far(blocks: Blocks, rows: Rows, own: tuple[Array, ...]) -> tuple[list[Array], Array]:
    """(||part(t, k)|| of each leaf, [b, R, blocks SIZE], `own` in t's own block; the sum of the parts beyond it)."""
    entering = rows.pulls * blocks.onto[:, rows.block, rows.place]

    def one_block(Q: Array, block: tuple) -> tuple[Array, tuple]:
        index, whole, V = block
        here = rows.block == index
        sizes = [jnp.where(here[None, :, None], a, s) for a, s in zip(own, product_norms(Q, V), strict=True)]
        total = V * jnp.sum(Q, axis=1, keepdims=True)
        Q = jnp.where(here[None, :, None], entering, Q * whole[:, None])
        return Q, (sizes, total)

    order = jnp.arange(blocks.off.shape[1], dtype=jnp.int32)
    given = order, jnp.moveaxis(blocks.onto[:, :, -1], 1, 0), jnp.moveaxis(blocks.off, 1, 0)
    _, (sizes, total) = jax.lax.scan(one_block, jnp.zeros_like(rows.pulls), given, reverse=True)
    joined = [jnp.moveaxis(size, 0, 2) for size in sizes]
    joined = [size.reshape(*size.shape[:2], -1) for size in joined]
    total = jnp.moveaxis(total, 0, 1)
    return joined, total.reshape(total.shape[0], -1, total.shape[-1])


def product_norms(Q: Array, V: Array) -> list[Array]:
    """||Q_r V_i|| over units, [b, R, n] from [b, R, H] and [b, n, H]; of complex numbers that of each part."""
    (Q, of_Q), (V, of_V) = scaled(Q), scaled(V)
    if not jnp.iscomplexobj(Q):
        squares = [squares_of([Q * Q], [V * V])]
    else:
        left = [Q.real * Q.real, Q.imag * Q.imag, 2 * Q.real * Q.imag]
        re, im, both = V.real * V.real, V.imag * V.imag, V.real * V.imag
        squares = [squares_of(left, [re, im, -both]), squares_of(left, [im, re, both])]
    scale = of_Q * jnp.swapaxes(of_V, 1, 2)
    return [scale * root(square) for square in squares]


def squares_of(left: list[Array], right: list[Array]) -> Array:
    """The sum over terms and units of their products."""
    pair = [jnp.concatenate(terms, axis=-1) for terms in (left, right)]
    return jnp.einsum("brh,bnh->brn", *pair, precision="highest")


def scaled(array: Array) -> tuple[Array, Array]:
    """(array / size, size), the largest magnitude of its units, so that no square under- or overflows by itself."""
    size = jnp.max(jnp.stack([jnp.max(jnp.abs(p), axis=-1, keepdims=True) for p in parts_of(array)]), axis=0)
    size = jnp.where((size > 0) & jnp.isfinite(size), size, jnp.ones_like(size))
    return array / size.astype(array.dtype), size


def root(square: Array) -> Array:
    """Its square root; 0 where rounding left less than nothing."""
    none = square <= 0
    return jnp.where(none, jnp.zeros_like(square), jnp.sqrt(jnp.where(none, jnp.ones_like(square), square)))


def within(blocks: Blocks, pulls: Array) -> Array:
    """The sum of part(t, k) over the t of k's own block, [b, blocks SIZE, H], where all outputs are followed."""
    b, count, size, units = blocks.factors.shape
    last = jnp.zeros_like(pulls, shape=(b, count * size - pulls.shape[1] - 1, units))
    pulls = jnp.concatenate([jnp.zeros_like(pulls[:, :1]), pulls, last], axis=1).reshape(blocks.factors.shape)

    def one_state(later: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        factor, pull = state
        here = pull + later
        return factor * here, here

    given = jax.tree.map(lambda a: jnp.moveaxis(a, 2, 0), (blocks.factors, pulls))
    _, sums = jax.lax.scan(one_state, jnp.zeros_like(pulls[:, :, 0]), given, reverse=True)
    return jnp.moveaxis(sums, 0, 2).reshape(b, count * size, units)
