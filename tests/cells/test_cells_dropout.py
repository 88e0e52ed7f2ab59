"""Dropout: what each kind masks, when it draws anew, and that without a key it is not there.

The cells here are identities, so that the masks can be read off the outputs.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cells.cases import FOREIGN, SEQUENCES, Case

KEY = jax.random.key(2)
T, B, H = 6, 4, 5
COPY = jrnn.elman(H, "identity", w_in="identity", w_rec="zeros")  # h_t = x_t
KEEP = jrnn.elman(H, "identity", w_in="zeros", w_rec="identity")  # h_t = h_{t-1}
COPY_BOTH = jrnn.Bidirectional(COPY)  # reads the first H of the 2H outputs below it


def ones(*lead):
    return jnp.ones((*lead, H))


@pytest.mark.parametrize("case", [c for c in SEQUENCES if c.noisy], ids=str)
def test_without_a_key_the_cell_is_as_it_was(case):
    params, xs = case.params(), case.inputs((T, B))
    noisy = case.cell
    plain = noisy.cell if hasattr(noisy, "cell") else jrnn.stack(*(getattr(c, "cell", c) for c in noisy.cells))
    run = partial(jrnn.unroll, params=params, xs=xs)
    jax.tree.map(np.testing.assert_array_equal, run(noisy), run(plain))
    assert np.any(run(noisy, key=KEY).outputs != run(plain).outputs)
    # and the parameters are the cell's own
    a, b = (cell.init(jax.random.key(0), case.input_size) for cell in (noisy, plain))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_cells_without_noise_take_no_key():
    """Whatever is around them; of a stack or of both directions one that draws is enough."""
    plain, noisy = jrnn.gru(2), jrnn.dropout(jrnn.gru(2), outputs=0.5)
    quiet = [jrnn.lstm(3), jrnn.dropout(plain), jrnn.residual(plain), jrnn.layer_norm(plain), jrnn.stack(plain, plain)]
    quiet += [jrnn.Bidirectional(plain), jrnn.stack(jrnn.Bidirectional(plain), plain), FOREIGN]
    drawing = [noisy, jrnn.residual(noisy), jrnn.learnable_initial_state(noisy), jrnn.stack(plain, noisy)]
    drawing += [jrnn.Bidirectional(plain, noisy), jrnn.stack(plain, jrnn.Bidirectional(noisy, plain))]
    for cell in quiet:
        params = None if cell is FOREIGN else cell.init(KEY, 2)
        with pytest.raises(jrnn.InputError, match="^key: got a key for .*, which draws no noise; need None"):
            jrnn.unroll(cell, params, np.ones((T, 2)), key=KEY)
    for cell in drawing:
        run = partial(jrnn.unroll, cell, cell.init(KEY, 2), np.ones((T, 2)))
        assert np.any(run(key=KEY).outputs != run().outputs)


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.9])
def test_output_masks(rate):
    """Bernoulli with scale 1 / (1 - rate), independent over time, sequences and units; h itself is not touched."""
    cell = jrnn.dropout(COPY, outputs=rate)
    unrolled = jrnn.unroll(cell, cell.init(KEY, H), ones(40, 50), key=KEY, return_states=True)
    mask, count = np.asarray(unrolled.outputs), 40 * 50 * H
    assert set(np.unique(mask.round(12))) == {0.0, round(1 / (1 - rate), 12)}
    five_sigma = 5 * np.sqrt(rate * (1 - rate) / count)
    np.testing.assert_allclose(np.mean(mask != 0), 1 - rate, atol=five_sigma)
    np.testing.assert_allclose(mask.mean(), 1.0, atol=five_sigma / (1 - rate))
    np.testing.assert_array_equal(unrolled.states.h[1:], np.ones((40, 50, H)))
    kept = mask != 0
    for one, other in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1]), (kept[..., 1:], kept[..., :-1])):
        expected, spread = (1 - rate) ** 2, np.sqrt((1 - rate) ** 2 / one.size)
        np.testing.assert_allclose(np.mean(one & other), expected, atol=6 * spread)


def test_the_recurrent_mask_is_one_a_sequence():
    """With h_t = mask * h_{t-1}, kept units double every step and dropped ones stay at zero: the mask is constant."""
    cell = jrnn.dropout(KEEP, recurrent=0.5)
    params = cell.init(KEY, 1)
    start = jrnn.ElmanState(ones(200))
    ys = np.asarray(jrnn.unroll(cell, params, jnp.zeros((T, 200, 1)), initial_state=start, key=KEY).outputs)
    mask = ys[0]
    assert set(np.unique(mask)) == {0.0, 2.0}
    np.testing.assert_array_equal(ys, np.stack([mask**t for t in range(1, T + 1)]))
    np.testing.assert_allclose(np.mean(mask != 0), 0.5, atol=5 * 0.5 / np.sqrt(mask.size))
    assert len({tuple(row) for row in mask}) > 20  # of 32: the sequences have masks of their own
    other = jrnn.unroll(cell, params, jnp.zeros((1, 200, 1)), initial_state=start, key=jax.random.key(9)).outputs
    assert np.any(other[0] != mask)


def test_the_recurrent_mask_leaves_the_output_and_the_memory_alone():
    """An LSTM without recurrent weights reads nothing of h: dropping all of h changes neither h' nor c'."""
    plain = jrnn.lstm(3, w_rec="zeros")
    case = Case("", plain, 2, 0, 0)
    params, xs = case.params(), case.inputs((T, B))
    params["w_rec"] = np.zeros_like(params["w_rec"])
    start = case.state((B,))
    noisy = jrnn.unroll(jrnn.dropout(plain, recurrent=1.0), params, xs, initial_state=start, key=KEY)
    quiet = jrnn.unroll(
        plain, params, xs, initial_state=start, implementation="reference"
    )  # noise is drawn in the scan alone
    jax.tree.map(np.testing.assert_array_equal, noisy, quiet)


def test_the_recurrent_mask_of_an_lstm_is_on_h():
    plain = jrnn.lstm(3)
    case = Case("", plain, 2, 0, 0)
    params, state, x = case.params(), case.state((B,)), case.inputs((B,))
    dropped, _ = jrnn.step(jrnn.dropout(plain, recurrent=1.0), params, state, x, key=KEY)
    expected = plain.step(params, jrnn.LSTMState(jnp.zeros_like(state.h), state.c), x)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-14), dropped, expected)


@pytest.mark.parametrize("kind", ["outputs", "recurrent", "between"])
def test_rate_zero_and_one(kind):
    """Rate 0 is the cell itself; rate 1 gives zeros, not 0/0, and a finite gradient."""
    plain = jrnn.stack(jrnn.gru(3), jrnn.gru(3)) if kind == "between" else jrnn.gru(3)
    assert jrnn.dropout(plain, **{kind: 0.0}) == plain and jrnn.dropout(plain, **{kind: 0}) == plain
    assert jrnn.dropout(plain) == plain
    cell = jrnn.dropout(plain, **{kind: 1})
    params, xs = Case("", plain, 2, 0, 0).params(), Case("", plain, 2, 0, 0).inputs((T, B))

    def run(params, xs):
        return jrnn.unroll(cell, params, xs, key=KEY)

    _, grads = jax.value_and_grad(lambda p: jnp.sum(run(p, xs).outputs ** 2))(params)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))
    if kind == "outputs":
        np.testing.assert_array_equal(run(params, xs).outputs, np.zeros((T, B, 3)))
    elif kind == "recurrent":  # the weights read zeros, and h is carried on as without dropout
        np.testing.assert_array_equal(grads["w_rec"], np.zeros((3, 9)))
        without = params | {"w_rec": np.zeros_like(params["w_rec"])}
        np.testing.assert_allclose(run(params, xs).outputs, jrnn.unroll(plain, without, xs).outputs, rtol=1e-13)
    else:  # the upper layer reads nothing of the lower one
        np.testing.assert_array_equal(grads[0]["w_in"], np.zeros((2, 9)))
        np.testing.assert_array_equal(run(params, xs + 1).outputs, run(params, xs).outputs)


def test_between_is_on_every_layer_but_the_last():
    cell = jrnn.dropout(jrnn.stack(COPY, COPY, COPY), between=0.5)
    params = cell.init(KEY, H)
    unrolled = jrnn.unroll(cell, params, ones(T, 60), key=KEY, return_states=True)
    low, middle, top = (np.asarray(state.h[1:]) for state in unrolled.states)
    np.testing.assert_array_equal(low, np.ones((T, 60, H)))
    assert set(np.unique(middle)) == {0.0, 2.0}  # one mask below it
    assert set(np.unique(top)) == {0.0, 4.0}  # two
    assert not np.any((middle == 0) & (top != 0))
    np.testing.assert_allclose(np.mean(top[middle != 0] != 0), 0.5, atol=5 * 0.5 / np.sqrt(np.sum(middle != 0)))
    np.testing.assert_array_equal(unrolled.outputs, top)  # no mask on the last


def test_all_kinds_at_once_on_a_stack():
    cell = jrnn.dropout(jrnn.stack(jrnn.gru(3), jrnn.lstm(2)), outputs=0.1, recurrent=0.2, between=0.3)
    low, top = cell.cells
    assert (low.outputs, low.recurrent, top.outputs, top.recurrent) == (0.3, 0.2, 0.1, 0.2)


def test_masks_of_layers_and_directions_differ():
    start = jrnn.ElmanState(ones(50))
    both = jrnn.dropout(jrnn.Bidirectional(KEEP), recurrent=0.5)
    ys = jrnn.unroll(
        both, both.init(KEY, 1), jnp.zeros((1, 50, 1)), initial_state=jrnn.BidirectionalState(start, start), key=KEY
    ).outputs
    assert np.any(ys[0, :, :H] != ys[0, :, H:]) and set(np.unique(ys)) == {0.0, 2.0}
    copies = jrnn.dropout(jrnn.stack(COPY, COPY), between=0.5, outputs=0.5)
    unrolled = jrnn.unroll(copies, copies.init(KEY, H), ones(T, 50), key=KEY, return_states=True)
    lower = np.asarray(unrolled.states[1].h[1:]) != 0
    assert np.any((np.asarray(unrolled.outputs) == 0) & lower)


def test_bidirectional_masks_both_directions_at_their_own_times():
    cell = jrnn.dropout(jrnn.Bidirectional(COPY), outputs=0.5)
    assert isinstance(cell, jrnn.Bidirectional)
    xs = jnp.broadcast_to(jnp.arange(1.0, T + 1)[:, None, None], (T, 50, H))
    ys = np.asarray(jrnn.unroll(cell, cell.init(KEY, H), xs, key=KEY).outputs)
    for t in range(T):
        assert set(np.unique(ys[t])) == {0.0, 2.0 * (t + 1)}
    quiet = np.asarray(jrnn.unroll(cell, cell.init(KEY, H), xs).outputs)
    np.testing.assert_array_equal(quiet, np.concatenate([xs, xs], axis=-1))


def test_streaming_with_the_same_key_is_unrolling():
    cell = jrnn.dropout(jrnn.stack(jrnn.gru(3), jrnn.lstm(2)), outputs=0.4, recurrent=0.3, between=0.5)
    case = Case("", cell, 2, 0, 0)
    params, xs = case.params(), case.inputs((T, B))
    expected = jrnn.unroll(cell, params, xs, key=KEY)
    step = jax.jit(partial(jrnn.step, cell, key=KEY))
    state = cell.initial_state(params, (B,))
    for t, x in enumerate(xs):
        state, y = step(params, state, x, t=t)
        np.testing.assert_allclose(y, expected.outputs[t], rtol=1e-13)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-13), state, expected.final_state)


def test_the_mean_over_keys_is_the_output():
    cell = jrnn.dropout(COPY, outputs=0.3)
    params, xs = cell.init(KEY, H), jax.random.normal(KEY, (1, H))
    ys = jax.vmap(lambda key: jrnn.unroll(cell, params, xs, key=key).outputs)(jax.random.split(KEY, 4000))
    error = 5 * np.sqrt(0.3 / 0.7 / 4000)
    np.testing.assert_allclose(ys.mean(axis=0) / xs, np.ones((1, H)), atol=error)


def test_a_foreign_step_reads_one_dropped_state():
    """Where y_t comes from h_{t-1}, step and output are one function of one reading: y too sees the mask."""
    foreign = jrnn.from_step(
        lambda params, h, x: (h @ params + x, 3 * h), initial_state=lambda params, batch: jnp.zeros((*batch, H))
    )
    cell = jrnn.dropout(foreign, recurrent=0.5)
    after, y = jrnn.step(cell, jnp.eye(H), ones(50), jnp.zeros((50, H)), key=KEY)
    np.testing.assert_array_equal(y, 3 * after)
    assert set(np.unique(after)) == {0.0, 2.0}


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), True, "0.5", None, (0.5,)], ids=str)
@pytest.mark.parametrize("name", ["outputs", "recurrent", "between"])
def test_rates_outside(name, rate):
    with pytest.raises(jrnn.InputError, match=f"^{name}: got .*; need a rate from 0 to 1"):
        jrnn.dropout(jrnn.stack(jrnn.gru(2)), **{name: rate})


def test_what_cannot_be_dropped():
    with pytest.raises(jrnn.InputError, match=r"^between: got 0.5 around GRU; need a stack, jrnn.stack\(...\)"):
        jrnn.dropout(jrnn.gru(2), between=0.5)
    with pytest.raises(jrnn.InputError, match="^cell: got function; need a cell such as"):
        jrnn.dropout(jrnn.gru, outputs=0.5)
    cell = jrnn.dropout(jrnn.residual(jrnn.stack(jrnn.gru(2), jrnn.gru(2))), recurrent=0.5)
    params = cell.init(KEY, 2)
    with pytest.raises(jrnn.InputError, match="^recurrent: got 0.5 for a state of type tuple; .*wrap each layer"):
        jrnn.unroll(cell, params, jnp.ones((T, 2)), key=KEY)
    assert FOREIGN == jrnn.dropout(FOREIGN)


def test_a_stack_that_reads_the_future_drops_too():
    """It runs layer by layer, another path than a causal stack: every layer has its noise, the top one none here."""
    cell = jrnn.dropout(jrnn.stack(COPY_BOTH, COPY_BOTH, COPY_BOTH), between=0.5)
    unrolled = jrnn.unroll(cell, cell.init(KEY, H), ones(T, 60), key=KEY, return_states=True)
    low, middle, top = (np.asarray(state.forward.h[1:]) for state in unrolled.states)
    np.testing.assert_array_equal(low, np.ones((T, 60, H)))
    assert set(np.unique(middle)) == {0.0, 2.0} and set(np.unique(top)) == {0.0, 4.0}
    assert np.any((middle != 0) & (top == 0))
    np.testing.assert_array_equal(unrolled.outputs[..., :H], top)
