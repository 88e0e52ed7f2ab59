"""The credit map of cells with diagonal Jacobians, by products of them, against the way that differentiates."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import jrnn
from jrnn.flow.credit import diagonal
from jrnn.types import InputError

CELLS = {
    "min_gru": jrnn.min_gru(5, candidate="tanh", t_max=50),
    "min_lstm": jrnn.min_lstm(5, t_max=9),
    "rg_lru": jrnn.rg_lru(5),
    "lru": jrnn.lru(5, outputs=3),
    "linear": jrnn.linear(5, decay=(-1.2, 1.2)),
    "wrapped": jrnn.layer_norm(jrnn.learnable_initial_state(jrnn.residual(jrnn.lru(5, outputs=2)))),
}
T, B, F = 75, 3, 2  # more than two blocks
RNG = np.random.default_rng(0)
EVENTS = {
    "lengths": np.array([T, 0, 41]),
    "resets": RNG.random((T, B)) < 0.05,
    "mask": RNG.random((T, B)) < 0.8,
}
OPTIONS = {
    "plain": {},
    "everything": EVENTS,
    "reverse": EVENTS | {"reverse": True, "truncate": 20},
    "some outputs": EVENTS | {"output_times": np.array([2, 33, 41, 70])},
    "a sample": {"max_pairs": 2000},
}


def loss(u):
    return jnp.sum(jnp.sin(u.outputs)) + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(u.final_state))


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name in CELLS for options in OPTIONS if options == "everything" or name == "lru"],
)
def test_the_same_credit(name, options):
    cell = CELLS[name]
    params = cell.init(jax.random.key(0), F)
    xs = np.random.default_rng(1).normal(size=(T, B, F))
    flow = jax.jit(partial(jrnn.gradient_flow, cell, loss=loss, **OPTIONS[options]), static_argnames="by_lag")
    wanted, found = (flow(params=params, xs=xs, by_lag=by_lag) for by_lag in (True, False))
    for field in ("credit", "credit_by_state", "state_gradients", "output_times", "exact", "segments", "state_norms"):
        one, other = (jax.tree.leaves(getattr(each, field)) for each in (found, wanted))
        for a, b in zip(one, other, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.max(np.abs(b), initial=0))
    if options == "plain":
        assert_allclose(found.credit, wanted.credit, rtol=1e-10, atol=0)  # small ones, too
    assert found.lag_norms is found.lag_gradients is None and found.lag_norms_by_gate == {}
    assert float(found.sum_error) <= 1e-13


@pytest.mark.thorough
def test_one_sequence_and_short_ones():
    cell = CELLS["min_gru"]
    params = cell.init(jax.random.key(0), F)
    for steps in (0, 1, 31, 32):
        xs = np.random.default_rng(1).normal(size=(steps, F))
        wanted, found = (jrnn.gradient_flow(cell, params, xs, loss, by_lag=by_lag) for by_lag in (True, False))
        assert_allclose(found.credit, wanted.credit, rtol=1e-10)


@pytest.mark.thorough
def test_no_step_is_differentiated(monkeypatch):
    """A cell without `factors` goes lag by lag; one with them does not."""
    seen = []
    monkeypatch.setattr("jrnn.flow.credit.splitting.follow", lambda *args: seen.append(args) or 1 / 0)
    xs = np.ones((4, 2, F))
    for cell in (jrnn.min_gru(3), jrnn.lru(3), CELLS["wrapped"]):
        jrnn.gradient_flow(cell, cell.init(jax.random.key(0), F), xs, loss, by_lag=False)
    assert not seen
    for cell, options in ((jrnn.gru(3), {"by_lag": False}), (jrnn.min_gru(3), {"by_lag": False, "parts": True})):
        with pytest.raises(ZeroDivisionError):
            jrnn.gradient_flow(cell, cell.init(jax.random.key(0), F), xs, loss, **options)


@pytest.mark.thorough
def test_other_cells_without_the_lags():
    cell = jrnn.gru(3)
    params, xs = cell.init(jax.random.key(0), F), np.random.default_rng(1).normal(size=(9, 2, F))
    wanted, found = (jrnn.gradient_flow(cell, params, xs, loss, by_lag=by_lag, parts=True) for by_lag in (True, False))
    for field in ("credit", "parts", "state_gradients"):
        assert_array_equal(getattr(found, field), getattr(wanted, field))
    assert found.lag_shares is None and found.verdict(5) == wanted.verdict(5)


@pytest.mark.parametrize("name", ["linear", "lru"])
def test_float32_over_many_decades(name):
    """Parts of 1e-25 and less: their squares are no numbers in float32."""
    cell = jrnn.linear(2, decay=(0.45, 0.45)) if name == "linear" else jrnn.lru(2, decay=(0.45, 0.45))
    cell = type(cell)(**(vars(cell) | {"dtype": jnp.dtype("float32")}))
    params = cell.init(jax.random.key(0), F)
    xs = np.random.default_rng(1).normal(size=(100, 1, F)).astype("float32")
    flow = jrnn.gradient_flow(cell, params, xs, lambda u: jnp.sum(u.last), by_lag=False)
    credit = np.asarray(flow.credit[-1, :, 0], np.float64)
    assert credit.dtype == np.float64 and flow.credit.dtype == jnp.float32
    assert_allclose(np.log(credit / credit[-1]), np.log(0.45) * np.arange(100, -1, -1), rtol=1e-5, atol=1e-5)


def test_arguments():
    cell = CELLS["min_gru"]
    params, xs = cell.init(jax.random.key(0), F), np.ones((4, F))
    with pytest.raises(InputError, match="by_lag: got 'no'"):
        jrnn.gradient_flow(cell, params, xs, loss, by_lag="no")
    with pytest.raises(InputError, match="lag_gradients: got True beside by_lag=False"):
        jrnn.gradient_flow(cell, params, xs, loss, by_lag=False, lag_gradients=True)
    with pytest.raises(InputError, match="by_lag=True"):
        jrnn.gradient_flow(cell, params, xs, loss, by_lag=False).effective_horizon()
    assert diagonal.has_factors(cell) and not any(
        map(diagonal.has_factors, (jrnn.gru(3), jrnn.residual(jrnn.gru(3)), jrnn.zoneout(cell), jrnn.leaky(cell, 9)))
    )
