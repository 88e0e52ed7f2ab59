"""A tap that is known to be zero gives the derivatives of one that is added, in both modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.unrolling import ZeroTap, unroll

LENGTHS = jnp.array([5, 0, 3])
RESETS = jnp.zeros((5, 3), bool).at[2, 0].set(True)
CASES = {
    "plain": (jrnn.lstm(3), {}),
    "padded": (jrnn.elman(3), {"lengths": LENGTHS, "reverse": True}),
    "cut": (jrnn.stack(jrnn.gru(2), jrnn.elman(3)), {"truncate": 2, "resets": RESETS, "remat": "sqrt"}),
    "both": (jrnn.Bidirectional(jrnn.elman(3), jrnn.gru(2)), {"lengths": LENGTHS, "remat": "step"}),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_tangents_are_those_of_a_tap_that_is_added(name, key):
    cell, options = CASES[name]
    xs = jax.random.normal(key, (5, 3, 2))
    params = cell.init(key, 2)
    states = jax.eval_shape(lambda: unroll(cell, params, xs, return_states=True, **options).states)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), states)
    push = jax.tree.map(lambda s: jax.random.normal(key, s.shape, s.dtype), states)

    def loss(params, tap, wrap):
        run = unroll(cell, params, xs, state_tap=wrap(tap), **options)
        return jnp.sin(run.outputs).sum() + sum((h**2).sum() for h in jax.tree.leaves(run.final_state))

    def derivatives(wrap):
        def of(params, tap):
            return loss(params, tap, wrap)

        value, grads = jax.value_and_grad(of, argnums=(0, 1))(params, zeros)
        tangent = jax.jvp(of, (params, zeros), (params, push))[1]
        curved = jax.jvp(jax.grad(of), (params, zeros), (params, jax.tree.map(jnp.zeros_like, zeros)))[1]
        return value, grads, tangent, curved

    ours, added = jax.jit(lambda: (derivatives(ZeroTap), derivatives(lambda tap: tap)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), ours, added)
    assert any(float(jnp.abs(d).max()) > 0 for d in jax.tree.leaves(ours[1][1]))


def test_its_values_are_not_read(key):
    cell = jrnn.elman(3)
    params, xs = cell.init(key, 2), jnp.ones((4, 2, 2))
    tap = jrnn.cells.ElmanState(jnp.full((5, 2, 3), 7.0))
    found = unroll(cell, params, xs, state_tap=ZeroTap(jax.tree.map(lambda a: a.at[0].set(0.0), tap)))
    np.testing.assert_array_equal(found.outputs, unroll(cell, params, xs).outputs)
