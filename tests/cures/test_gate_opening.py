"""`open_gates`: chrono's law, that nothing is lowered and nothing else is touched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import InputError
from jrnn.cures import open_gates

KEY = jax.random.key(5)


def parameters(cell, size=2):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), cell.init(jax.random.key(0), size))


def test_the_law_of_chrono():
    """Mean over units of sigmoid(b)^L at L = lag: int_0^1 exp(-1/x) dx = .1485 for any L, .1490 at 200."""
    cell, lag = jrnn.lstm(4096), 200
    bias = jnp.zeros(4 * 4096)
    params = {"w_in": jnp.zeros((0, 4 * 4096)), "w_rec": jnp.zeros((4096, 0)), "bias": bias}
    opened = open_gates(cell, params, lag, key=KEY)
    f = jax.nn.sigmoid(opened["bias"][4096:8192])
    assert abs(jnp.mean(f**lag) - 0.1490) < 0.006
    steps = 1 / (1 - f)
    assert steps.min() >= 2 and 195 < steps.max() <= lag + 1e-6


def test_biases_of_the_keeping_gate_alone_and_upwards():
    """Through a stack, both directions and wrappers, each with draws of its own; all else is the same object."""
    cell = jrnn.stack(
        jrnn.learnable_initial_state(jrnn.layer_norm(jrnn.lstm(5, dtype="bfloat16"))),
        jrnn.Bidirectional(jrnn.gru(5), jrnn.elman(3)),
        jrnn.dropout(jrnn.gru(5, reset_after=False), outputs=0.1),
    )
    params = parameters(cell)
    lstm, both, last = (p["cell"]["cell"] if i == 0 else p for i, p in enumerate(params))
    opened = open_gates(cell, params, 30, key=KEY)
    new_lstm, new_both, new_last = (p["cell"]["cell"] if i == 0 else p for i, p in enumerate(opened))
    drawn = []
    for before, after in ((lstm, new_lstm), (both["forward"], new_both["forward"]), (last, new_last)):
        old, new = np.float64(before["bias"]), np.float64(after["bias"])
        kept = np.arange(len(old)) // 5 == 1
        np.testing.assert_array_equal(new[~kept], old[~kept])
        assert (new >= old).all() and (new[kept] >= 0).all() and (new[kept] > old[kept]).any()
        assert new[kept].max() <= max(old[kept].max(), np.log(29) + 0.01)
        assert after["bias"].dtype == before["bias"].dtype
        drawn.append(new[kept])
    assert not np.array_equal(drawn[1], drawn[2])
    same = [a is b for a, b in zip(jax.tree.leaves(opened), jax.tree.leaves(params), strict=True)]
    assert same.count(False) == 3
    again = jax.jit(lambda p: open_gates(cell, p, 30, key=KEY))(params)
    jax.tree.map(np.testing.assert_array_equal, again, opened)
    twice = open_gates(cell, opened, 30, key=KEY)
    jax.tree.map(np.testing.assert_array_equal, twice, opened)


def test_what_has_no_gates():
    for cell in (jrnn.elman(3), jrnn.stack(jrnn.linear(2), jrnn.elman(3))):
        with pytest.raises(InputError, match="cell: got (Elman|Stack); need one with a gate .*jrnn.lstm, jrnn.gru"):
            open_gates(cell, parameters(cell), 20, key=KEY)
    with pytest.raises(InputError, match="lag: got 2; need a number of steps above 2"):
        open_gates(jrnn.gru(3), parameters(jrnn.gru(3)), 2, key=KEY)
