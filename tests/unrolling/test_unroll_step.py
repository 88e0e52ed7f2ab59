"""Streaming: `step` after `step` equals `unroll`, noise included."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import dropout, elman, from_step, gru, layer_norm, lstm, residual, stack
from jrnn.types import InputError
from jrnn.unrolling import step, unroll

from .brute_force import CELLS, inputs, make, random_like

close = partial(assert_allclose, rtol=1e-12, atol=1e-12)
NOISY = {
    "outputs": dropout(gru(3), outputs=0.4),
    "recurrent": dropout(gru(3), recurrent=0.4),
    "stack": dropout(stack(gru(3), elman(2)), between=0.5, outputs=0.2, recurrent=0.3),
    "wrapped": stack(residual(dropout(elman(2), outputs=0.5)), layer_norm(gru(4), on="hidden")),
}


def stream(cell, params, xs, state, key=None):
    one = jax.jit(lambda params, state, x, t: step(cell, params, state, x, key=key, t=t))
    outputs, steps = [], jax.tree.leaves(xs)[0].shape[0]
    for t in range(steps):
        state, y = one(params, state, jax.tree.map(lambda a: a[t], xs), t)  # noqa: B023
        outputs.append(y)
    return jax.tree.map(lambda *ys: jnp.stack(ys), *outputs), state


@pytest.mark.parametrize(("name", "batch"), [*((name, (3,)) for name in CELLS), ("lstm", ()), ("pair", ())], ids=str)
def test_streaming_equals_unrolling(name, batch):
    cell, params = make(name)
    xs = inputs(name, 4, batch)
    start = random_like(np.random.default_rng(0), cell.initial_state(params, batch))
    run = unroll(cell, params, xs, initial_state=start)
    outputs, final = stream(cell, params, xs, start)
    jax.tree.map(close, (outputs, final), (run.outputs, run.final_state))


@pytest.mark.parametrize("kind", list(NOISY))
def test_streaming_draws_the_same_noise(kind):
    cell = NOISY[kind]
    params = make(cell)[1]
    key, xs = jax.random.key(7), inputs("gru", 5, (3,))
    run = unroll(cell, params, xs, key=key)
    outputs, final = stream(cell, params, xs, cell.initial_state(params, (3,)), key)
    jax.tree.map(close, (outputs, final), (run.outputs, run.final_state))
    quiet = unroll(cell, params, xs)
    assert np.abs(run.outputs - quiet.outputs).max() > 1e-3, "there is noise"
    other = unroll(cell, params, xs, key=jax.random.key(8))
    assert np.abs(run.outputs - other.outputs).max() > 1e-3, "another key draws anew"


def test_output_dropout_is_new_every_step_and_recurrent_dropout_is_not():
    key, xs = jax.random.key(3), np.zeros((6, 2, 2))
    plain = elman(40, "identity", w_in="zeros", bias=jax.nn.initializers.ones, w_rec="zeros")
    params = make(plain)[1] | {"w_in": jnp.zeros((2, 40)), "w_rec": jnp.zeros((40, 40)), "bias": jnp.ones(40)}
    kept = np.asarray(unroll(dropout(plain, outputs=0.5), params, xs, key=key).outputs) != 0
    assert (kept[0] != kept[1]).any() and (kept[:, 0] != kept[:, 1]).any()
    carried = params | {"w_rec": jnp.eye(40), "bias": jnp.zeros(40)}
    start = plain.initial_state(params, (2,))._replace(h=jnp.ones((2, 40)))
    held = unroll(dropout(plain, recurrent=0.5), carried, xs, key=key, initial_state=start).outputs
    for t in range(6):  # one mask a sequence: what is kept once is kept, and doubled, every time
        assert_array_equal(held[t] != 0, held[0] != 0)
        close(np.max(held[t]), 2.0 ** (t + 1))


def test_foreign_step_streams_its_own_output():
    cell = from_step(
        lambda p, h, x: (jnp.tanh(p * h + x), h + x), initial_state=lambda p, batch: jnp.zeros((*batch, 2))
    )
    xs, params = inputs("elman", 4, (3,)), jnp.asarray(0.5)
    run = unroll(cell, params, xs)
    outputs, final = stream(cell, params, xs, jnp.zeros((3, 2)))
    jax.tree.map(close, (outputs, final), (run.outputs, run.final_state))


def test_bad_state_or_input_is_refused():
    cell, params = make("lstm")
    with pytest.raises(InputError, match=r"state.*float64\[3, 2\].*LSTMState"):
        step(cell, params, jnp.zeros((3, 2)), jnp.zeros((3, 2)))
    with pytest.raises(InputError, match="state"):
        step(cell, params, cell.initial_state(params, (4,)), jnp.zeros((3, 2)))
    with pytest.raises(InputError, match="xs"):
        step(cell, params, cell.initial_state(params, (3,)), jnp.zeros((3, 5)))


def test_a_layer_left_out_of_the_state_begins_by_itself():
    cell = stack(lstm(3), gru(2))
    params = cell.init(jax.random.key(0), 2)
    own, x = cell.initial_state(params, (4,)), jnp.ones((4, 2))
    given = jax.tree.map(lambda h: h + 0.5, own[1])
    for state in ((None, given), (own[0], given)):
        after, y = step(cell, params, state, x)
        whole = unroll(cell, params, x[None], initial_state=state)
        jax.tree.map(close, (after, y), (whole.final_state, whole.last))
    partly, fully = (step(cell, params, state, x) for state in ((None, given), (own[0], given)))
    jax.tree.map(close, partly, fully)
