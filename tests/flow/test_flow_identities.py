"""Exact identities that belong to the gradient: other ways to the same numbers, none of which reads time backwards.

`notes/analysis.md`, section 7, number in brackets. RTRL: Williams, Zipser 1989. The rest of the list is held where its
subject is: Jacobians, lags, credit, truncation, unrolling.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import elman, gru, linear, lstm
from jrnn.flow import gradient_flow
from jrnn.unrolling import unroll

from ..unrolling.brute_force import flat, inputs, like, look, make, random_like

close = partial(assert_allclose, rtol=1e-10, atol=1e-13)
STEPS = 6


def setup(name):
    """(cell, params, xs [T, F], h_0, g [T, K]): a loss sum_t <y_t, g_t> of one sequence."""
    cell, params = make(name)
    rng = np.random.default_rng(4)
    xs = jnp.asarray(inputs(name, STEPS, ()))
    start = random_like(rng, cell.initial_state(params, ()))
    return cell, params, xs, start, rng.normal(size=(STEPS, start[0].shape[-1]))


def along(cell, params, xs, start):
    """Every step with all its partial derivatives, as NumPy, forwards in time."""
    h, points = flat(start), []
    for x in xs:
        points.append(jax.tree.map(np.asarray, look(cell, params, like(start, h), x)))
        h = points[-1].h
    return points


def gradient(cell, params, xs, start, g, **options):
    """Backpropagation through time by `jax.grad`, flat."""
    return flat(jax.grad(lambda p: jnp.sum(g * unroll(cell, p, xs, initial_state=start, **options).outputs))(params))


def G_of(cell, params, xs, start, g, **options):
    """G_tau of the same loss, like the parameters."""
    flow = gradient_flow(cell, params, xs, lambda u: jnp.sum(g * u.outputs), initial_state=start, **options)
    return flow.lag_gradients


def by_lag(G):
    """[T+1, P]."""
    return np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in jax.tree.leaves(G)], axis=1)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_real_time_recurrent_learning_is_backpropagation_through_time(name):
    # (13) P_t = J_t P_{t-1} + d+h_t/dtheta and dL/dtheta = sum_t g_t^T (dy_t/dh_t P_t + d+y_t/dtheta), forwards only
    cell, params, xs, start, g = setup(name)
    P, total = np.zeros((flat(start).size, flat(params).size)), 0.0
    for point, pull in zip(along(cell, params, xs, start), g, strict=True):
        P = point.J @ P + point.h_params
        total = total + pull @ (point.y_h @ P + point.y_params)
    close(total, gradient(cell, params, xs, start, g))


@pytest.mark.thorough
def test_a_sliding_window_hears_the_lags_below_its_length():
    # (13) k1 = 1, k2 = k, weights frozen: the last k steps of every output = sum of G_tau over tau < k
    cell, params, xs, start, g = setup("lstm")
    G, states = by_lag(G_of(cell, params, xs, start, g)), [flat(start)]
    states += [point.h for point in along(cell, params, xs, start)]

    def window(p, h, xs, pull):
        for x in xs:
            h = cell.step(p, h, x)
        return jnp.vdot(cell.output(p, h, xs[-1]), pull)

    by_window = jax.jit(jax.grad(window))
    for k in (1, 3, STEPS):
        total = 0.0
        for t in range(1, STEPS + 1):
            first = max(t - k, 0)
            total = total + flat(by_window(params, like(start, states[first]), xs[first:t], g[t - 1]))
        close(total, G[:k].sum(0))
    close(G.sum(0), gradient(cell, params, xs, start, g))  # k >= T is all of it


def test_chunks_hear_the_pairs_in_one_chunk():
    # (13) truncated every k steps: of output t, the lags below its place in its chunk, and nothing else
    cell, params, xs, start, g = setup("gru")
    of_output = jax.jit(lambda t: G_of(cell, params, xs, start, g, output_times=t))
    by_output = [by_lag(of_output(jnp.array([t + 1]))) for t in range(STEPS)]
    k = 4  # a whole chunk and a short one
    pairs = sum(G[: t % k + 1].sum(0) for t, G in enumerate(by_output))
    close(gradient(cell, params, xs, start, g, truncate=k), pairs)
    cut = by_lag(G_of(cell, params, xs, start, g, truncate=k))
    close(cut[:k].sum(0), pairs)
    assert_array_equal(cut[k:], 0.0)
    assert np.abs(pairs - gradient(cell, params, xs, start, g)).max() > 1e-3, "it is not the whole gradient"


def test_an_orthogonal_linear_network_hands_back_all_it_was_given():
    # (4) ||part(T, k)|| = ||g_T|| at every lag of a thousand; and G_tau of the bias alone, the same norm
    cell = elman(4, "identity", w_rec="orthogonal")
    params = cell.init(jax.random.key(0), 2)
    xs = np.random.default_rng(0).normal(size=(1000, 2))
    flow = gradient_flow(cell, params, xs, lambda u: jnp.sum(u.last * jnp.arange(1.0, 5.0)), output_times=[1000])
    assert_allclose(flow.credit[0], np.sqrt(30.0), rtol=1e-11)
    of_bias = np.linalg.norm(flow.lag_gradients["bias"], axis=-1)
    assert_allclose(of_bias[:1000], np.sqrt(30.0), rtol=1e-11)
    assert of_bias[1000] == 0  # the initial state has no bias


def test_powers_of_a_scalar_at_every_time():
    # (5) h_t = w^t h_0: derivatives t w^(t-1) h_0 and t (t-1) w^(t-2) h_0, for all t of one run, by both modes
    cell, h0, t = linear(1), 1.3, np.arange(1, 41)
    start = cell.initial_state({"w_in": jnp.zeros((1, 1)), "bias": jnp.zeros(1), "w_rec": jnp.ones(1)}, ())

    def states(w):
        params = {"w_in": jnp.zeros((1, 1)), "bias": jnp.zeros(1), "w_rec": w[None]}
        return unroll(cell, params, np.zeros((40, 1)), initial_state=start._replace(h=jnp.full(1, h0))).outputs[:, 0]

    for w in (0.9, -1.1):
        at = jnp.asarray(w)
        for first in (jax.jacrev(states), jax.jacfwd(states)):
            assert_allclose(first(at), t * w ** (t - 1.0) * h0, rtol=1e-13)
        assert_allclose(jax.jacfwd(jax.jacrev(states))(at), t * (t - 1) * w ** (t - 2.0) * h0, rtol=1e-13)


@pytest.mark.parametrize("cell", [lstm(3), gru(3)], ids=["lstm", "gru"])
def test_the_steps_are_taken_back_in_the_right_order(cell):
    # (2) elixir-nx/axon PR 644: per-step Jacobians multiplied in forward order gave every weight a wrong gradient
    params = random_like(np.random.default_rng(0), cell.init(jax.random.key(0), 2))
    start = random_like(np.random.default_rng(1), cell.initial_state(params, ()))
    xs, g = np.random.default_rng(2).normal(size=(4, 2)), np.random.default_rng(3).normal(size=3)
    points = along(cell, params, jnp.asarray(xs), start)
    delta = points[-1].y_h.T @ g
    right = wrong = delta
    for last, first in zip(reversed(points), points, strict=True):
        right, wrong = last.J.T @ right, first.J.T @ wrong

    def last_output(h, lengths=None):
        padded = np.concatenate([xs, np.full((2, 2), 7.0)]) if lengths else xs
        return jnp.vdot(unroll(cell, params, padded, initial_state=h, lengths=lengths).last, g)

    close(flat(jax.grad(last_output)(start)), right)
    close(flat(jax.grad(last_output)(start, 4)), right)  # and where the number of steps is only known at run time
    assert np.abs(right - wrong).max() > 1e-3 * np.abs(right).max(), "the order matters here"
