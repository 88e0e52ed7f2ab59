"""`truncate` cuts the gradient every k steps that are read: against BPTT, chunks by hand, and the sum over pairs.

A truncated gradient is the sum of the ways from step k to output t within one chunk.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.unrolling import unroll

from .brute_force import at, compare, flat, inputs, look, make, random_like

close = partial(assert_allclose, rtol=1e-12, atol=1e-12)


def gradient(cell, params, xs, start, weights, **options):
    """d/dparams of a fixed linear functional of the outputs, and dL/d initial_state."""

    def loss(params, start):
        return jnp.sum(weights * unroll(cell, params, xs, initial_state=start, **options).outputs)

    return jax.grad(loss, argnums=(0, 1))(params, start)


def setup(name, steps, batch):
    cell, params = make(name)
    xs = jnp.asarray(inputs(name, steps, batch))
    rng = np.random.default_rng(4)
    start = random_like(rng, cell.initial_state(params, batch))
    return cell, params, xs, start, jnp.asarray(rng.normal(size=(steps, *batch, start[0].shape[-1])))


def test_no_shorter_than_the_sequence_is_full_backpropagation():
    case = setup("gru", 5, (2,))
    full = gradient(*case)
    for k in (5, 8):
        jax.tree.map(assert_array_equal, gradient(*case, truncate=k), full)
    short = gradient(*case, truncate=4)
    assert np.abs(short[0]["w_rec"] - full[0]["w_rec"]).max() > 1e-6, "a shorter one is not"


@pytest.mark.parametrize("k", [1, 2, 3])
def test_equals_chunks_with_a_stopped_state(k):
    cell, params, xs, start, weights = setup("lstm", 5, (2,))

    def by_hand(params, start):
        value, state = 0.0, start
        for a in range(0, 5, k):
            state = jax.lax.stop_gradient(state) if a else state
            out = unroll(cell, params, xs[a : a + k], initial_state=state)
            value, state = value + jnp.sum(weights[a : a + k] * out.outputs), out.final_state
        return value

    wanted = jax.jit(jax.grad(by_hand, argnums=(0, 1)))(params, start)
    jax.tree.map(close, gradient(cell, params, xs, start, weights, truncate=k), wanted)


@pytest.mark.parametrize("reverse", [False, True])
def test_equals_the_sum_over_pairs_in_the_same_chunk(reverse):
    steps, length, k = 7, 6, 3
    cell, params, xs, start, weights = setup("gru", steps, ())
    order = list(range(length))[::-1] if reverse else list(range(length))
    h, points = flat(start), []
    for t in order:
        points.append(jax.tree.map(np.asarray, look(cell, params, start._replace(h=h), at(xs, t))))
        h = points[-1].h
    total, to_start = np.zeros(flat(params).size), np.zeros_like(h)
    for last, t in enumerate(order):
        for first in range(last + 1):
            if first // k != last // k:  # in another chunk
                continue
            way = np.eye(h.size)
            for i in range(first + 1, last + 1):
                way = points[i].J @ way
            row = np.asarray(weights[t]) @ points[last].y_h @ way
            total += row @ points[first].h_params
            if first == 0:
                to_start += row @ points[0].J
    got = gradient(cell, params, xs, start, weights, truncate=k, lengths=length, reverse=reverse)
    close(flat(got[0]), total, rtol=1e-11)
    close(flat(got[1]), to_start)


@pytest.mark.parametrize("reverse", [False, True])
def test_counts_each_sequence_in_its_own_reading_order(reverse):
    cell, params = make("elman")
    rng = np.random.default_rng(0)
    for lengths in ([7, 0, 4, 5], [1, 2, 3, 6]):
        compare(
            cell,
            params,
            inputs("elman", 7, (4,)),
            steps=7,
            batch=(4,),
            lengths=np.array(lengths),
            resets=rng.random((7, 4)) < 0.3,
            mask=rng.random((7, 4)) < 0.7,
            truncate=2,
            reverse=reverse,
        )


def test_padding_cuts_nothing():
    # the state is held through the padding, and the loss on final_state must reach the sequence that ended early
    cell, params = make("gru")
    xs, start = inputs("gru", 6, ()), cell.initial_state(params, ())

    def loss(params, n, steps):
        return jnp.sum(unroll(cell, params, xs[:steps], initial_state=start, lengths=n, truncate=4).final_state.h)

    padded, alone = jax.grad(loss)(params, 3, 6), jax.grad(loss)(params, 3, 3)
    assert np.abs(alone["w_in"]).max() > 1e-3
    jax.tree.map(close, padded, alone)
