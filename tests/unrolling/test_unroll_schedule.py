"""lengths, resets, mask and reverse: against the oracle, and against the same thing said in other words.

Other words: a padded sequence run alone, a sequence with resets as separate runs of its segments, a mask as the run
with those steps deleted, reverse as flipping the valid prefix by hand.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.unrolling import unroll

from .brute_force import compare, inputs, make, random_like

close = partial(assert_allclose, rtol=1e-12, atol=1e-12)
STEPS, BATCH = 6, (4,)
LENGTHS = np.array([0, 6, 3, 1])
RESETS = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
MASK = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]], bool)


def check(name, **when):
    cell, params = make(name)
    compare(cell, params, inputs(name, STEPS, BATCH), steps=STEPS, batch=BATCH, **when)


# --- against the oracle: values, NaN and Inf planted in what is not read, every gradient ---------------------------


@pytest.mark.parametrize("name", ["lstm", "stack", "pair"])
def test_lengths(name):
    for lengths in (LENGTHS, np.full(BATCH, STEPS), np.zeros(BATCH, int)):  # one compilation
        check(name, lengths=lengths)


def test_resets():
    for resets in (RESETS, np.ones_like(RESETS), np.zeros_like(RESETS)):
        check("gru", resets=resets)


def test_mask():
    for mask in (MASK, np.ones_like(MASK), np.zeros_like(MASK)):
        check("lstm", mask=mask)


def test_reverse():
    check("stack", reverse=True)


@pytest.mark.parametrize("name", ["lstm", "pair"])
@pytest.mark.parametrize("reverse", [False, True])
def test_everything_together(name, reverse):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        check(
            name,
            lengths=rng.integers(0, STEPS + 1, BATCH),
            resets=rng.random((STEPS, *BATCH)) < 0.4,
            mask=rng.random((STEPS, *BATCH)) < 0.6,
            reverse=reverse,
            seed=seed,
        )


# --- the same in other words --------------------------------------------------------------------------------------


def run(cell, params, xs, start, **when):
    out = unroll(cell, params, xs, initial_state=start, **when)
    return out.outputs, out.final_state, out.last


def test_a_padded_sequence_equals_the_same_run_alone():
    cell, params = make("gru")
    clean = inputs("gru", 4, (3,))
    lengths = np.array([4, 0, 2])
    xs = clean.copy()
    xs[0:, 1], xs[2:, 2] = np.nan, np.inf
    start = random_like(np.random.default_rng(0), cell.initial_state(params, (3,)))

    def padded(params, xs, start):
        outputs, final, last = run(cell, params, xs, start, lengths=lengths)
        # a loss that is nonlinear, sees padding's zeros too, and mixes the three
        value = jnp.sum(jnp.cos(outputs) * (1 + final.h)[None] ** 2) + jnp.sum(final.h * jnp.exp(last))
        return value, (outputs, final, last)

    def alone(params, xs, start):
        value, outs = 0.0, []
        for b, n in enumerate(lengths):
            h = start._replace(h=start.h[b])
            outputs, final, last = run(cell, params, xs[:n, b], h) if n else (jnp.zeros((0, 3)), h, jnp.zeros(3))
            outputs = jnp.concatenate([outputs, jnp.zeros((4 - n, 3))])
            value += jnp.sum(jnp.cos(outputs) * (1 + final.h)[None] ** 2) + jnp.sum(final.h * jnp.exp(last))
            outs.append((outputs, final, last))
        return value, jax.tree.map(lambda *a: jnp.stack(a), *outs)

    grad = partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
    (value, (outputs, final, last)), grads = grad(padded)(params, jnp.asarray(xs), start)
    (expected, (by_sequence, *rest)), wanted = jax.jit(grad(alone))(params, jnp.asarray(clean), start)
    close(value, expected)
    close(outputs, jnp.swapaxes(by_sequence, 0, 1))
    jax.tree.map(close, [final, last], rest)
    jax.tree.map(close, grads, wanted)
    assert_array_equal(grads[1][:, 1], 0.0)
    assert_array_equal(final.h[1], start.h[1])


def test_length_zero_passes_the_gradient_to_the_initial_state():
    cell, params = make("lstm")
    start = random_like(np.random.default_rng(0), cell.initial_state(params, (2,)))
    xs = np.full((3, 2, 2), np.nan)
    xs[:, 0] = 1.0

    def loss(start):
        out = unroll(cell, params, xs, initial_state=start, lengths=np.array([3, 0]))
        return jnp.sum(out.final_state.h[1] ** 2) + 5 * jnp.sum(out.last[1] ** 2)

    grad = jax.grad(loss)(start)
    close(grad.h[1], 2 * start.h[1])
    assert_array_equal(grad.c, 0.0)
    assert_array_equal(grad.h[0], 0.0)


def segments(resets):
    edges = [0, *np.flatnonzero(resets), len(resets)]
    return [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]


@pytest.mark.parametrize("reverse", [False, True])
def test_resets_equal_separate_runs_of_the_segments(reverse):
    cell, params = make("elman")
    xs = jnp.asarray(inputs("elman", 6, ()))
    start, restart = (random_like(np.random.default_rng(i), cell.initial_state(params, ())) for i in range(2))
    resets = np.array([0, 0, 1, 1, 0, 0], bool)
    assert segments(resets) == [(0, 2), (2, 3), (3, 6)]

    def separate(params, start, restart):
        pieces = segments(resets)
        opening = pieces[-1] if reverse else pieces[0]
        runs = [run(cell, params, xs[a:b], start if (a, b) == opening else restart, reverse=reverse) for a, b in pieces]
        closing = runs[0] if reverse else runs[-1]
        return jnp.concatenate([r[0] for r in runs]), closing[1], closing[2]

    def at_once(params, start, restart):
        return run(cell, params, xs, start, reset_state=restart, resets=resets, reverse=reverse)

    wanted, pull = jax.vjp(jax.jit(separate), params, start, restart)
    got, pulled = jax.vjp(at_once, params, start, restart)
    jax.tree.map(close, got, wanted)
    cotangents = random_like(np.random.default_rng(9), wanted)
    jax.tree.map(close, pulled(cotangents), pull(cotangents))


def test_carried_state_with_resets_equals_the_whole_sequence():
    cell, params = make("lstm")
    xs, resets = inputs("lstm", 6, (4,)), RESETS
    fresh = random_like(np.random.default_rng(0), cell.initial_state(params, (4,)))
    whole = run(cell, params, xs, fresh, reset_state=fresh, resets=resets)
    first = run(cell, params, xs[:2], fresh, reset_state=fresh, resets=resets[:2])
    second = run(cell, params, xs[2:], first[1], reset_state=fresh, resets=resets[2:])
    close(jnp.concatenate([first[0], second[0]]), whole[0])
    jax.tree.map(close, second[1], whole[1])


def test_resets_act_on_masked_steps_and_not_in_padding():
    cell, params = make("gru")
    xs = inputs("gru", 4, ())
    start, restart = (random_like(np.random.default_rng(i), cell.initial_state(params, ())) for i in range(2))
    flags = np.array([0, 0, 1, 0], bool)
    masked = run(
        cell, params, xs, start, reset_state=restart, resets=flags, mask=np.array([1, 1, 0, 1], bool), lengths=4
    )
    jax.tree.map(close, masked[1], run(cell, params, xs[3:], restart)[1])
    padded = run(cell, params, xs, start, reset_state=restart, resets=flags, lengths=2)
    jax.tree.map(close, padded[1], run(cell, params, xs[:2], start)[1])
    both_ways = run(cell, params, xs, start, reset_state=restart, resets=flags, lengths=2, reverse=True)
    jax.tree.map(close, both_ways[1], run(cell, params, xs[:2], start, reverse=True)[1])


# inside and at the end; at the start; everything
@pytest.mark.parametrize("mask", [(1, 0, 1, 0), (0, 0, 1, 1), (0, 0, 0, 0)], ids=str)
def test_mask_equals_deleting_the_steps(mask):
    cell, params = make("elman")
    xs, keep = inputs("elman", 4, ()), np.array(mask, bool)
    poisoned = np.where(keep[:, None], xs, np.nan)
    start = random_like(np.random.default_rng(0), cell.initial_state(params, ()))

    def masked(params, start):
        outputs, *rest = run(cell, params, poisoned, start, mask=keep)
        return outputs[keep], *rest

    def deleted(params, start):
        return run(cell, params, xs[keep], start)

    got, pulled = jax.vjp(masked, params, start)
    wanted, pull = jax.vjp(deleted, params, start)
    jax.tree.map(close, got, wanted)
    cotangents = random_like(np.random.default_rng(9), wanted)
    jax.tree.map(close, pulled(cotangents), pull(cotangents))
    outputs = run(cell, params, poisoned, start, mask=keep)[0]
    assert_array_equal(outputs[~keep], 0.0)


def flip(array, lengths):
    """Each sequence's valid prefix, read backwards; the rest stays."""
    out = np.array(array)
    for b, n in enumerate(lengths):
        out[:n, b] = out[:n, b][::-1]
    return out


def test_reverse_equals_flipping_the_valid_prefix_by_hand():
    cell, params = make("gru")
    xs, mask = inputs("gru", STEPS, BATCH), np.array(MASK)
    start = random_like(np.random.default_rng(0), cell.initial_state(params, BATCH))
    got = unroll(cell, params, xs, initial_state=start, lengths=LENGTHS, mask=mask, reverse=True, return_states=True)
    by_hand = unroll(
        cell,
        params,
        flip(xs, LENGTHS),
        initial_state=start,
        lengths=LENGTHS,
        mask=flip(mask, LENGTHS),
        return_states=True,
    )
    close(got.outputs, flip(by_hand.outputs, LENGTHS))
    close(got.last, by_hand.last)
    jax.tree.map(close, got.final_state, by_hand.final_state)
    assert_array_equal(got.mask, flip(by_hand.mask, LENGTHS))
    for b, n in enumerate(LENGTHS):
        close(got.states.h[: n + 1, b], by_hand.states.h[: n + 1, b][::-1])  # states[t]: after step t was read
        close(got.states.h[n:, b], np.broadcast_to(start.h[b], (STEPS + 1 - n, 3)))  # the initial state at the end
        read = [t for t in range(n) if mask[t, b]]
        close(got.last[b], got.outputs[read[0], b] if read else np.zeros(3))


def test_states_are_the_run_itself():
    cell, params = make("lstm")
    xs = inputs("lstm", STEPS, BATCH)
    out = unroll(cell, params, xs, lengths=LENGTHS, return_states=True)
    assert_array_equal(out.states.h[0], 0.0)
    for b, n in enumerate(LENGTHS):
        close(out.outputs[:n, b], out.states.h[1 : n + 1, b])
        assert_array_equal(out.outputs[n:, b], 0.0)
        close(out.states.c[n:, b], np.broadcast_to(out.final_state.c[b], (STEPS + 1 - n, 2)))
        close(out.last[b], out.outputs[n - 1, b] if n else np.zeros(2))
    assert_array_equal(out.mask, np.arange(STEPS)[:, None] < LENGTHS)
    assert unroll(cell, params, xs).states is None
