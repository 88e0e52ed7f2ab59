"""Zoneout: which units stay, how often, and what is left of it without a key."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from jrnn.training import Objective, fit

KEY = jax.random.key(2)
T, B, H = 60, 4, 5


class Counted(NamedTuple):
    h: Any
    steps: Any


def test_units_stay_with_their_rate():
    """A counter h_t = h_{t-1} + 1 tells at every step whether it stayed; the mean without a key."""
    counter = jrnn.elman(H, "identity", w_in="zeros", w_rec="identity", bias=jrnn.initializers.constant(1.0))
    cell, xs = jrnn.zoneout(counter, 0.3), jnp.zeros((T, B, 1))
    params = cell.init(KEY, 1)
    run = jax.jit(lambda key: jrnn.unroll(cell, params, xs, key=key, return_states=True).states.h)
    moved = np.diff(run(KEY), axis=0)
    assert set(moved.ravel()) == {0.0, 1.0} and abs(moved.mean() - 0.7) < 4 * (0.21 / moved.size) ** 0.5
    for axis in range(3):  # of its own for every step, sequence and unit
        assert len(np.unique(moved, axis=axis).tolist()) and np.ptp(moved, axis=axis).any()
        assert (np.take(moved, 0, axis) != np.take(moved, 1, axis)).any()
    np.testing.assert_allclose(jrnn.unroll(cell, params, xs).last, 0.7 * T, rtol=1e-12)
    state, again = cell.initial_state(params, (B,)), []
    for t in range(5):
        state, y = jrnn.step(cell, params, state, xs[t], t=t, key=KEY)
        again.append(y)
    np.testing.assert_array_equal(jnp.stack(again), run(KEY)[1:6])


def test_h_and_c_have_their_own_rates_and_masks():
    plain = jrnn.lstm(200)
    params, xs = plain.init(KEY, 2), jnp.ones((2,))
    before = jax.tree.map(lambda a: a + 9.0, plain.initial_state(params, ()))
    after = plain.step(params, before, xs)

    def stayed(cell):
        drawn = cell.step(params, before, xs, noise=cell.noise(params, KEY, 0, ()))
        assert all(((d == b) | (d == a)).all() for d, b, a in zip(drawn, before, after, strict=True))
        return [np.asarray(d == b) for d, b in zip(drawn, before, strict=True)]

    h, c = stayed(jrnn.zoneout(plain, 0.1, memory=0.6))
    assert abs(h.mean() - 0.1) < 0.09 and abs(c.mean() - 0.6) < 0.14
    h, c = stayed(jrnn.zoneout(plain, 0.5))
    assert 60 < (h != c).sum() < 140
    mean = jrnn.zoneout(plain, 0.1, memory=0.6).step(params, before, xs)
    for found, z, b, a in zip(mean, (0.1, 0.6), before, after, strict=True):
        np.testing.assert_allclose(found, z * b + (1 - z) * a, rtol=1e-12)


def test_through_fit_with_dropout_inside():
    cell = jrnn.zoneout(jrnn.dropout(jrnn.elman(2), outputs=0.2), 0.2)
    data = {"x": np.random.default_rng(0).normal(size=(4, 5, 2)), "y": np.arange(4) % 2}
    history = fit(cell, Objective("classify", 2), data, steps=2, batch_size=4, flow_every=None).history
    assert np.isfinite(history["loss"]).all()
    both = jrnn.zoneout(jrnn.stack(jrnn.gru(2), jrnn.Bidirectional(jrnn.lstm(2))), 0.2)
    assert both == jrnn.stack(jrnn.zoneout(jrnn.gru(2), 0.2), jrnn.Bidirectional(jrnn.zoneout(jrnn.lstm(2), 0.2)))


def test_counters_do_not_stay():
    def start(params, batch):
        return Counted(jnp.zeros((*batch, H)), jnp.zeros(batch, int))

    counting = jrnn.from_functions(
        initial_state=start, step=lambda p, s, x: Counted(s.h + 1, s.steps + 1), output=lambda p, s, x: s.h
    )
    cell = jrnn.zoneout(counting, 0.5)
    for key in (None, KEY):
        state = jrnn.unroll(cell, (), jnp.zeros((9, B, 1)), key=key).final_state
        np.testing.assert_array_equal(state.steps, 9)
        assert np.max(state.h) < 9
