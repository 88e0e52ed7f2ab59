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


def test_minimal_gates():
    """1 - z of the minimal GRU and f / (f + i) of the minimal LSTM, without inputs: of 2 to lag steps, by NumPy; what
    was open stays, and the candidate's bias is untouched."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    for cell, share in (
        (jrnn.min_gru(500), lambda z, n: 1 - sigmoid(z)),
        (jrnn.min_lstm(500), lambda f, i, n: sigmoid(f) / (sigmoid(f) + sigmoid(i))),
    ):
        params = parameters(cell)
        before, zeros = params["bias"], params | {"bias": jnp.zeros_like(params["bias"])}
        after = open_gates(cell, params, 30, key=KEY)["bias"]
        kept, law, drawn = (
            share(*np.split(np.asarray(b), len(cell.gates)))
            for b in (before, after, open_gates(cell, zeros, 30, key=KEY)["bias"])
        )
        assert (1 / (1 - drawn)).min() >= 2 and 28 < (1 / (1 - drawn)).max() <= 30 + 1e-9
        assert (law >= np.maximum(kept, drawn) - 1e-15).all() and (law > kept).mean() > 0.8
        np.testing.assert_array_equal(after[-500:], before[-500:])


def test_what_has_no_gates():
    for cell in (jrnn.elman(3), jrnn.stack(jrnn.linear(2), jrnn.elman(3))):
        with pytest.raises(InputError, match="cell: got (Elman|Stack); need one with a gate .*jrnn.lstm, jrnn.gru"):
            open_gates(cell, parameters(cell), 20, key=KEY)
    with pytest.raises(InputError, match="lag: got 2; need a number of steps above 2"):
        open_gates(jrnn.gru(3), parameters(jrnn.gru(3)), 2, key=KEY)
