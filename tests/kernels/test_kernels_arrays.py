"""The array functions: what they are given is checked before a kernel reads it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels import Events, Weights, problem_of, recur

from .cases import IMPLEMENTATIONS

EVERYONE = (*IMPLEMENTATIONS, "reference")
CELL = jrnn.lstm(4, dtype="float64")
STEPS, ROWS = 5, 2


def given(**changes):
    h = jnp.full((ROWS, 4), 0.5)
    arguments = {"weights": CELL.kernel(params()), "xs": jnp.ones((STEPS, ROWS, 3)), "start": (h, h)}
    return problem_of(**(arguments | {"steps": STEPS, "batch_shape": (ROWS,)} | changes))


def params():
    return CELL.init(jax.random.key(0), 3)


@pytest.mark.parametrize("name", EVERYONE)
def test_the_same_by_every_implementation(name):
    none, half = jnp.zeros((ROWS, 4)), jnp.full((ROWS, 4), 0.5)
    problem = given(events=Events(resets=jnp.ones((STEPS, ROWS), bool)), reset_state=(none, half))
    wanted = CELL.step(params(), jrnn.LSTMState(none, half), jnp.ones((ROWS, 3)))
    for found, each in zip(recur(problem, name)[0], wanted, strict=True):
        np.testing.assert_allclose(found, jnp.broadcast_to(each, found.shape), rtol=1e-12)
    for found, each in zip(recur(problem, name)[1], wanted, strict=True):
        np.testing.assert_allclose(found, each, rtol=1e-12)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"events": Events(resets=np.ones((STEPS, ROWS), bool))}, "reset_state: got None"),
        ({"xs": np.ones((STEPS, ROWS, 300))}, r"xs: got shape \(5, 2, 300\); need \(5, 2, 3\)"),
        ({"start": (np.ones((ROWS, 3)),) * 2}, r"start: got shape \(2, 3\); need \(2, 4\)"),
        ({"reset_state": (np.ones((1, 4)),) * 2}, r"reset_state: got shape \(1, 4\)"),
        ({"tap": (np.ones((STEPS + 1, ROWS, 4)),) * 2}, r"tap: got shape \(6, 2, 4\)"),
        ({"start": (np.ones((ROWS, 4)),)}, r"start: got 1 arrays; need 2: h, c"),
        ({"tap": (np.ones((STEPS, ROWS, 4)),) * 3}, "tap: got 3 arrays"),
        ({"steps": 0, "xs": np.ones((0, ROWS, 3))}, "steps: got 0; need 1 or more"),
        (
            {"events": Events(valid=np.ones((STEPS, ROWS), np.int32))},
            r"events.valid: got int32\[5, 2\]; need bool\[5, 2\]",
        ),
        ({"events": Events(cuts=np.ones((STEPS, 1), bool))}, r"events.cuts: got bool\[5, 1\]"),
    ],
)
def test_shapes_are_checked(changes, message):
    with pytest.raises(jrnn.InputError, match=message):
        given(**changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "rnn"}, "weights.kind: got 'rnn'; need one of"),
        ({"kind": "gru"}, r"weights.bias_rec: got None; need \[H\]"),
        ({"bias_rec": np.ones(4)}, "weights.bias_rec: got an array; need None"),
        ({"kind": "tanh"}, r"weights.w_rec: got float64\[4, 16\]; need float64\[4, 4\]"),
        ({"w_in": np.ones((3, 4))}, r"weights.w_in: got float64\[3, 4\]; need float64\[3, 16\]"),
        ({"w_in": np.ones((3, 16), np.float32)}, r"weights.w_in: got float32\[3, 16\]; need float64"),
        ({"bias": np.ones(4)}, r"weights.bias: got float64\[4\]; need float64\[16\]"),
        ({"w_rec": np.ones(())}, "weights: got a number for a matrix"),
    ],
)
def test_weights_are_checked(changes, message):
    """A kernel would read beyond their ends."""
    with pytest.raises(jrnn.InputError, match=message):
        given(weights=CELL.kernel(params())._replace(**changes))


@pytest.mark.parametrize("name", EVERYONE)
def test_everything_is_in_the_dtype_of_the_weights(name):
    narrow = Weights("lstm", *(None if w is None else w.astype(jnp.bfloat16) for w in CELL.kernel(params())[1:]))
    states, xs = (jnp.full((ROWS, 4), 0.5, jnp.bfloat16),) * 2, jnp.ones((STEPS, ROWS, 3), jnp.bfloat16)
    found, own = recur(given(weights=narrow), name), recur(given(weights=narrow, xs=xs, start=states), name)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(own), strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", EVERYONE)
def test_no_sequences(name):
    def loss(params):
        empty = {"xs": jnp.zeros((STEPS, 0, 3)), "start": (jnp.zeros((0, 4)),) * 2, "batch_shape": (0,)}
        found = recur(given(weights=CELL.kernel(params), **empty), name)
        return sum(jnp.sum(a) for a in jax.tree.leaves(found))

    value, grads = jax.jit(jax.value_and_grad(loss))(params())
    assert value == 0 and all((g == 0).all() for g in jax.tree.leaves(grads))


def test_names_and_refusals():
    with pytest.raises(jrnn.InputError, match="implementation: got 'fast'"):
        recur(given(), "fast")
    with pytest.raises(jrnn.InputError, match="associative, but it is for linear recurrences"):
        recur(given(), "associative")
