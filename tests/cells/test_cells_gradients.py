"""Derivatives of one step for every case: finite differences, forward = reverse, second order.

The loss is the inner product of random cotangents with (h_t, y_t), so no output can hide. With a key, dropout's masks
are fixed by it and the step is an ordinary function.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cells.cases import CASES, inner, normal_like

KEY = jax.random.key(11)
BATCH = (2,)


def arguments(case):
    return case.params(), case.state(BATCH), case.inputs(BATCH)


def key_of(case):
    return KEY if case.noisy else None


@partial(jax.jit, static_argnums=0)
def derivatives(cell, args, directions, key):
    """The slope by reverse mode, forward mode and differences along each argument alone, and the gradient."""

    def f(args):
        params, state, x = args
        return jrnn.step(cell, params, state, x, key=key, t=3)

    cotangent = normal_like(jax.eval_shape(f, args), 8)

    def loss(args):
        return inner(f(args), cotangent)

    value, gradient = jax.value_and_grad(loss)(args)

    def slopes(chosen):
        """`chosen` [3] says which arguments move."""
        v = tuple(jax.tree.map(lambda d, c=c: c * d, d) for c, d in zip(chosen, directions, strict=True))
        _, forward = jax.jvp(f, (args,), (v,))
        # the five-point central rule: its error is of order h^4, so float64 leaves 10 digits and more
        h = 1e-3
        along = jax.lax.map(
            lambda s: loss(jax.tree.map(lambda a, d: a + s * d, args, v)), jnp.array([-2 * h, -h, h, 2 * h])
        )
        difference = jnp.dot(along, jnp.array([1.0, -8.0, 8.0, -1.0])) / (12 * h)
        return inner(gradient, v), inner(forward, cotangent), difference

    return value, gradient, jax.lax.map(slopes, jnp.concatenate([jnp.eye(3), jnp.ones((1, 3))]))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_is_the_slope(case):
    args = arguments(case)
    # short steps keep ReLU's units on their side of the kink
    directions = jax.tree.map(lambda a: 0.3 * a, normal_like(args, 9))
    value, gradient, slopes = derivatives(case.cell, args, directions, key_of(case))
    assert np.isfinite(value)
    reverse, forward, difference = map(np.asarray, slopes)
    np.testing.assert_allclose(reverse, forward, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(reverse, difference, rtol=1e-10, atol=2e-11)
    if case.name not in ("learnable_initial_state", "nested"):  # there h_0, a parameter, takes no part in a later step
        assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient) if leaf.size)


@partial(jax.jit, static_argnums=0)
def curvature(cell, args, v, w, key):
    """v^T (d^2 L) w by forward over reverse, and by reverse over forward with the two exchanged."""

    def loss(args):
        state, y = jrnn.step(cell, *args, key=key, t=3)
        return inner(jax.tree.map(jnp.sin, (state, y)), jax.tree.map(jnp.ones_like, (state, y)))

    _, of_gradient = jax.jvp(jax.grad(loss), (args,), (w,))
    of_slope = jax.grad(lambda a: jax.jvp(loss, (a,), (v,))[1])(args)
    return inner(of_gradient, v), inner(of_slope, w)


TWICE = ("elman_tanh", "lstm", "gru_reset_before", "layer_norm_hidden", "from_step")


@pytest.mark.parametrize("case", [c for c in CASES if c.name in TWICE], ids=str)
def test_second_derivatives_are_symmetric(case):
    """Regularisers and curvature differentiate a step twice, in any order of the modes."""
    args = arguments(case)
    one, other = curvature(case.cell, args, normal_like(args, 4), normal_like(args, 5), key_of(case))
    assert abs(one) > 1e-6
    np.testing.assert_allclose(one, other, rtol=1e-11)
