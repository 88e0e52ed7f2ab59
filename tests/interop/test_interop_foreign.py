"""Foreign cells under jrnn's instruments, against a plain scan over the library's own cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jrnn
from tests.interop.economy import drawn, jit
from tests.interop.foreign_cases import CASES, B, T

EXPLICIT = ("nnx.LSTMCell", "nnx, own", "linen.ConvLSTMCell", "equinox.LSTMCell", "haiku.DeepRNN")  # Jacobians too


def waves(tree, by):
    """Fixed values of a pytree's shapes, none like another."""
    return jax.tree.map(lambda a: by(1.0 + np.arange(a.size, dtype=a.dtype)).reshape(a.shape), tree)


def weighed(ys, final):
    """A loss with a cotangent of its own for every output and every part of the final state."""
    parts = jax.tree.map(lambda a, w: jnp.sum(w * a), final, waves(final, np.cos))
    return sum(jax.tree.leaves(parts)) + jnp.sum(waves(ys, np.sin) * ys**2)


@pytest.mark.parametrize("name", CASES)
def test_outputs_gradients_and_jacobians_are_the_librarys_own(name):
    case = CASES[name]()
    xs = drawn((T, B, *case.shape), 7)
    first = case.start()
    start = jax.tree.map(lambda h, w: np.asarray(h) + 0.3 * w, first, waves(first, np.sin))

    def by_jrnn(params, start, xs):
        run = jrnn.unroll(case.cell, params, xs, initial_state=start)
        return weighed(run.outputs, run.final_state), (run.outputs, run.final_state)

    def by_loop(params, state, xs):
        final, ys = jax.lax.scan(lambda h, x: case.one(params, h, x), state, xs)
        return weighed(ys, final), (ys, final)

    def of_first_step(params, state, x):
        """dh_1/dh_0 of one sequence by reverse mode."""
        flat, unravel = ravel_pytree(jax.tree.map(lambda h: h[-1:], state))
        return jax.jacrev(lambda h: ravel_pytree(case.one(params, unravel(h), x[-1:])[0])[0])(flat)

    @jit
    def both(params, start, xs):
        mine, theirs = (jax.value_and_grad(f, argnums=(0, 1, 2), has_aux=True) for f in (by_jrnn, by_loop))
        pairs = mine(params, start, xs), theirs(params, start, xs)
        if name not in EXPLICIT:
            return *pairs, None
        J = jrnn.jacobians(case.cell, params, xs[:1], initial_state=start)
        return *pairs, (J[0, -1], of_first_step(params, start, xs[0]))

    mine, theirs, J = both(case.params, start, xs)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    if J is not None:
        np.testing.assert_allclose(*J, rtol=1e-12, atol=1e-12)
    ours = case.cell.initial_state(case.params, (B,))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(first), strict=True):
        np.testing.assert_array_equal(a, b)
