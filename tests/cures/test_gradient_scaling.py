"""`scale_gradient` and `h_detach`: explicit Jacobians, all masks of a small net, and the product of forget gates."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cures import h_detach, scale_gradient
from jrnn.training import Objective, fit, load

RNG = np.random.default_rng(0)
T, P = 4, 0.3
XS = RNG.normal(size=(T, 2, 2))
STACK = jrnn.stack(jrnn.lstm(3), jrnn.gru(2))


def parameters(cell):
    return jax.tree.map(lambda a: 0.7 * RNG.normal(size=a.shape), cell.init(jax.random.key(0), 2))


def loss(run):
    return jnp.sum(jnp.sin(run.outputs)) + jnp.sum(run.last**2)


def test_forwards_nothing_changes_and_both_modes_are_scaled():
    """J diag(s on h, 1 on c), against the bare cell's explicit Jacobians, by forward mode and by reverse mode."""
    cell = jrnn.lstm(3)
    params = parameters(cell)
    state = jax.tree.map(lambda a: RNG.normal(size=a.shape), cell.initial_state(params, ()))
    slim = scale_gradient(cell, h=0.25)
    step = lambda own, s: jrnn.ravel_state(own.step(params, s, XS[0, 0]))  # noqa: E731
    np.testing.assert_array_equal(step(slim, state), step(cell, state))
    bare = np.concatenate(jax.tree.leaves(jax.jacfwd(partial(step, cell))(state)), axis=1)
    for mode in (jax.jacfwd, jax.jacrev):
        found = np.concatenate(jax.tree.leaves(mode(partial(step, slim))(state)), axis=1)
        np.testing.assert_allclose(found, bare * np.repeat([0.25, 1.0], 3), rtol=1e-12)
    infinite = state._replace(h=jnp.full(3, jnp.inf))
    np.testing.assert_array_equal(step(slim, infinite), step(cell, infinite))


class Masked(jrnn.cells.Wrapper):
    """sg(h) + s (h - sg(h)) by the words, the s of every layer given beside the inputs."""

    def __init__(self, cell):
        self.cell = cell

    def step(self, params, state, x):
        x, kept = x[:-2], x[-2:]
        kept = [s + 0 * layer.h for s, layer in zip(kept, state, strict=True)]
        held = [jax.lax.stop_gradient(layer.h) for layer in state]
        read = [h + s * (layer.h - h) for h, s, layer in zip(held, kept, state, strict=True)]
        return self.cell.step(params, tuple(layer._replace(h=h) for layer, h in zip(state, read, strict=True)), x)

    def output(self, params, state, x):
        return self.cell.output(params, state, x[:-2])


def test_the_mean_over_all_masks_is_the_scaled_gradient():
    """Of a stack of an LSTM and a GRU: all 2^8 masks of 4 steps and 2 layers, weighted by their probability."""
    params, own = parameters(STACK), Masked(STACK)

    def by_python(params, masks):
        state, outputs = STACK.initial_state(params, ()), []
        for t in range(T):
            x = jnp.concatenate([XS[t, 0], masks[t]])
            state = own.step(params, state, x)
            outputs.append(own.output(params, state, x))
        return jnp.sum(jnp.sin(jnp.stack(outputs))) + jnp.sum(outputs[-1] ** 2)

    masks = np.array(list(itertools.product([0.0, 1.0], repeat=2 * T))).reshape(-1, T, 2)
    weights = np.prod(np.where(masks == 1, 1 - P, P), axis=(1, 2))
    grads = jax.jit(jax.vmap(jax.grad(by_python), (None, 0)))(params, masks)
    mean = jax.tree.map(lambda g: np.einsum("m,m...->...", weights, g), grads)
    for cell in (scale_gradient(STACK, h=1 - P), h_detach(STACK, P)):  # without a key h_detach is its mean
        found = jax.jit(jax.grad(lambda p, cell=cell: loss(jrnn.unroll(cell, p, XS[:, 0]))))(params)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13), found, mean)
    # with a key, one of them: drawn anew by step, layer and key
    drawn = jax.jit(
        jax.vmap(jax.grad(lambda p, k: loss(jrnn.unroll(h_detach(STACK, P), p, XS[:, 0], key=k))), (None, 0))
    )
    some = drawn(params, jax.random.split(jax.random.key(1), 20))
    of = lambda tree: np.asarray(tree[0]["w_rec"]).reshape(-1, 36)  # noqa: E731
    apart = np.abs(of(some)[:, None] - of(grads)[None]).max(-1)
    assert apart.min(1).max() < 1e-12 and len(set(apart.argmin(1))) > 5


@pytest.mark.thorough
def test_all_detached_leaves_the_product_of_the_forget_gates():
    """p = 1: dc_t/dc_k = prod f, and no lag has another way."""
    cell = jrnn.lstm(3)
    params = parameters(cell)
    run = jrnn.unroll(cell, params, XS[:, 0], return_states=True)
    w = jnp.asarray([1.0, -2.0, 0.5])
    of_c = lambda unrolled: jnp.dot(unrolled.final_state.c, w)  # noqa: E731
    gone = h_detach(cell, 1.0)
    deltas = jrnn.state_gradients(gone, params, XS[:, 0], of_c)
    z = XS[:, 0] @ params["w_in"] + np.asarray(run.states.h[:-1]) @ params["w_rec"] + params["bias"]
    f = 1 / (1 + np.exp(-z[:, 3:6]))
    for k in range(T + 1):
        np.testing.assert_allclose(deltas.c[k], np.asarray(w) * np.prod(f[k:], axis=0), rtol=1e-12)
        np.testing.assert_array_equal(deltas.h[k], 0)
    some = h_detach(cell, P)
    flow = jrnn.gradient_flow(some, params, XS, loss, key=jax.random.key(4), lag_gradients=True)
    whole = jax.grad(lambda p: loss(jrnn.unroll(some, p, XS, key=jax.random.key(4))))(params)
    parts = jax.tree.map(lambda g: g.sum(0), flow.lag_gradients)
    assert flow.exact
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-12), parts, whole)


@pytest.mark.thorough
def test_through_fit(tmp_path):
    """Trained with draws, resumed with the same bits, saved and loaded."""
    cell = h_detach(jrnn.Bidirectional(jrnn.gru(2), jrnn.lstm(3)), 0.5)
    data = {"x": RNG.normal(size=(6, 5, 2)), "y": np.arange(6) % 2}
    options = {"batch_size": 3, "checkpoint_every": 2, "flow_every": None}
    whole = fit(cell, Objective("classify", 2), data, steps=4, out=tmp_path / "a", **options)
    for steps in (2, 4):
        parts = fit(cell, Objective("classify", 2), data, steps=steps, out=tmp_path / "b", resume=True, **options)
    jax.tree.map(np.testing.assert_array_equal, parts.params, whole.params)
    loaded = load(tmp_path / "a")
    assert loaded.cell == cell
    jax.tree.map(np.testing.assert_array_equal, loaded.params, whole.params)
