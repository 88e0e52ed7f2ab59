"""`Bidirectional` and stacks of it against separate runs of each direction, put together by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import Bidirectional, BidirectionalState, elman, gru, lstm, stack
from jrnn.types import InputError
from jrnn.unrolling import step, unroll

from .brute_force import inputs, random_like

close = partial(assert_allclose, rtol=1e-12, atol=1e-12)
BOTH = Bidirectional(lstm(2), elman(3))
LENGTHS = np.array([4, 0, 2])
RESETS = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]], bool)


def made(cell, size=2):
    params = cell.init(jax.random.key(0), size)
    return random_like(np.random.default_rng(0), params)


def by_hand(cell, params, xs, start, **when):
    """A direction each, as plain runs; the backward one sequence by sequence on a flipped prefix."""
    ahead = unroll(cell.forward, params["forward"], xs, initial_state=start.forward, **when)
    lengths, resets = when.get("lengths"), when.get("resets")
    outputs, finals, lasts = [], [], []
    for b in range(xs.shape[1]):
        n = int(xs.shape[0] if lengths is None else lengths[b])
        own = None
        if resets is not None:  # a segment's first step going back is the last one going forward
            own = np.concatenate([[False], resets[1:n, b][::-1]])[:n]
        back = unroll(
            cell.backward,
            params["backward"],
            xs[:n, b][::-1],
            initial_state=jax.tree.map(lambda h: h[b], start.backward),  # noqa: B023
            resets=own,
        )
        outputs.append(jnp.concatenate([back.outputs[::-1], jnp.zeros((xs.shape[0] - n, back.outputs.shape[-1]))]))
        finals.append(back.final_state)
        lasts.append(back.last)
    side = jnp.stack(outputs, 1)
    final = BidirectionalState(ahead.final_state, jax.tree.map(lambda *a: jnp.stack(a), *finals))
    return (
        jnp.concatenate([ahead.outputs, side], -1),
        final,
        jnp.concatenate([ahead.last, jnp.stack(lasts)], -1),
    )


def test_equals_two_separate_runs():
    when = {"lengths": LENGTHS, "resets": RESETS}
    params, xs = made(BOTH), jnp.asarray(inputs("gru", 4, (3,)))
    start = random_like(np.random.default_rng(1), BOTH.initial_state(params, (3,)))

    def at_once(params, xs, start):
        out = unroll(BOTH, params, xs, initial_state=start, **when)
        return out.outputs, out.final_state, out.last

    got, pulled = jax.vjp(at_once, params, xs, start)
    wanted, pull = jax.vjp(jax.jit(lambda *a: by_hand(BOTH, *a, **when)), params, xs, start)
    jax.tree.map(close, got, wanted)
    cotangents = random_like(np.random.default_rng(2), wanted)
    jax.tree.map(close, pulled(cotangents), pull(cotangents))


def test_states_taps_and_structure():
    params, xs = made(BOTH), jnp.asarray(inputs("gru", 4, (3,)))
    out = unroll(BOTH, params, xs, lengths=LENGTHS, return_states=True)
    assert jax.tree.structure(out.states) == jax.tree.structure(BOTH.initial_state(params, (3,)))
    # each direction's final state is the one its own reading ended in
    jax.tree.map(close, jax.tree.map(lambda s: s[4], out.states.forward), out.final_state.forward)
    close(np.asarray(out.states.backward.h)[0], np.asarray(out.final_state.backward.h))
    tap = jax.tree.map(jnp.zeros_like, out.states)

    def loss(tap):
        seen = unroll(BOTH, params, xs, lengths=LENGTHS, state_tap=tap)
        return jnp.sum(seen.outputs**2)

    grads = jax.grad(loss)(tap)
    for side, reverse in (("forward", False), ("backward", True)):
        alone = getattr(BOTH, side)
        slot = slice(0, 2) if side == "forward" else slice(2, 5)
        own = jax.grad(
            lambda t: jnp.sum(
                unroll(alone, params[side], xs, lengths=LENGTHS, state_tap=t, reverse=reverse).outputs ** 2  # noqa: B023
            )
        )(getattr(tap, side))
        jax.tree.map(close, getattr(grads, side), own)
        assert out.outputs[..., slot].shape == (4, 3, slot.stop - slot.start)


def test_reverse_swaps_who_reads_from_where():
    params, xs = made(BOTH), jnp.asarray(inputs("gru", 4, (3,)))
    turned = unroll(BOTH, params, xs, reverse=True)
    plain = unroll(BOTH, params, xs[::-1])
    close(turned.outputs, plain.outputs[::-1])
    close(turned.last, plain.last)


def test_stack_with_bidirectional_layers_runs_layer_by_layer():
    cell = stack(Bidirectional(elman(2)), elman(3))
    params, xs = made(cell), jnp.asarray(inputs("gru", 4, (3,)))
    start = random_like(np.random.default_rng(1), cell.initial_state(params, (3,)))

    def layers(params, xs, start):
        finals = []
        for layer, own, h in zip(cell.cells, params, start, strict=True):
            out = unroll(layer, own, xs, initial_state=h, lengths=LENGTHS, resets=RESETS)
            xs = out.outputs
            finals.append(out.final_state)
        return out.outputs, tuple(finals), out.last

    def at_once(params, xs, start):
        out = unroll(cell, params, xs, initial_state=start, lengths=LENGTHS, resets=RESETS, return_states=True)
        assert jax.tree.structure(out.states) == jax.tree.structure(start)
        return out.outputs, out.final_state, out.last

    poisoned = jnp.where((np.arange(4)[:, None] < LENGTHS)[..., None], xs, np.nan)
    got, pulled = jax.vjp(at_once, params, poisoned, start)
    wanted, pull = jax.vjp(layers, params, xs, start)
    jax.tree.map(close, got, wanted)
    cotangents = random_like(np.random.default_rng(2), wanted)
    jax.tree.map(close, pulled(cotangents), pull(cotangents))
    assert_array_equal(got[0][:, 1], 0.0)


def test_a_causal_stack_equals_its_layers_one_after_the_other():
    cell = stack(gru(2), lstm(3))
    params, xs = made(cell), jnp.asarray(inputs("gru", 4, (3,)))
    below = unroll(gru(2), params[0], xs, lengths=LENGTHS, resets=RESETS)
    above = unroll(lstm(3), params[1], below.outputs, lengths=LENGTHS, resets=RESETS)
    out = unroll(cell, params, xs, lengths=LENGTHS, resets=RESETS)
    close(out.outputs, above.outputs)
    jax.tree.map(close, out.final_state, (below.final_state, above.final_state))


@pytest.mark.parametrize("cell", [BOTH, stack(Bidirectional(gru(2)), elman(3))], ids=["alone", "in a stack"])
def test_cannot_be_streamed(cell):
    params = made(cell)
    with pytest.raises(InputError, match="causal"):
        step(cell, params, cell.initial_state(params, (3,)), jnp.zeros((3, 2)))


def test_states_of_another_kind_are_refused():
    params, xs = made(BOTH), inputs("gru", 4, (3,))
    with pytest.raises(InputError, match="initial_state.*LSTMState.*BidirectionalState"):
        unroll(BOTH, params, xs, initial_state=lstm(2).initial_state(params["forward"], (3,)))
    cell = stack(BOTH, elman(2))
    params = made(cell)
    with pytest.raises(InputError, match="initial_state.*2 layers"):
        unroll(cell, params, xs, initial_state=(BOTH.initial_state(params[0], (3,)),))
