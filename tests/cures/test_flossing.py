"""Flossing against closed forms, a NumPy loop over explicit Jacobians, finite differences and `lyapunov_spectrum`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import InputError
from jrnn.cures import floss, lyapunov_penalty
from jrnn.cures.exponents import growth_along, random_directions
from jrnn.cures.flossing import Floss
from jrnn.training import Objective, fit

RNG = np.random.default_rng(0)
T = 50
ALL = np.ones(T, bool)
KEY = jax.random.key(3)


def value_and_slope(cell, params, objective, xs, valid, w_of):
    """(loss, gradient, central differences) with respect to the vector w that `w_of` puts into the parameters."""

    @jax.jit
    def both(w):
        return jax.value_and_grad(lambda w: objective.loss(cell, w_of(params, w), xs, valid, None, KEY)[0])(w)

    def at(w):
        loss, slope = both(w)
        moves = 1e-5 * np.eye(len(w))
        return loss, slope, [(both(w + move)[0] - both(w - move)[0]) / 2e-5 for move in moves]

    return at


@pytest.mark.parametrize("diagonal", [True, False])
def test_a_diagonal_in_closed_form(diagonal):
    """lambda_i = ln |w_i|, largest first; the loss's gradient is 2 (ln |w_i| - target) / (k w_i)."""
    w, k, target = jnp.array([0.2, -1.7, 0.02]), 2, 0.1
    if diagonal:
        cell, w_of = jrnn.linear(3), lambda p, w: p | {"w_rec": w}
    else:
        cell, w_of = jrnn.elman(3, "identity"), lambda p, w: p | {"w_rec": jnp.diag(w)}
    params = cell.init(jax.random.key(0), 2)
    xs = RNG.normal(size=(T, 2))
    loss, slope, differences = value_and_slope(cell, params, Floss(k, target, 40), xs, jnp.array(ALL), w_of)(w)
    over = np.log(np.abs(w)) - target
    np.testing.assert_allclose(loss, (over[0] ** 2 + over[1] ** 2) / k, rtol=1e-9)
    expected = np.where(np.arange(3) < 2, 2 * over / (k * np.asarray(w)), 0)
    np.testing.assert_allclose(slope, expected, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(slope, differences, atol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_an_orthogonal_matrix_has_nothing_to_floss(k):
    cell = jrnn.elman(5, "identity")
    params = cell.init(jax.random.key(0), 2)
    loss, dead = Floss(k, 0.0, 30).loss(cell, params, RNG.normal(size=(T, 3, 2)), jnp.ones((T, 3), bool), None, KEY)
    assert loss < 1e-20 and not dead


@pytest.mark.parametrize("k", [1, 2, 4])
def test_every_derivative_of_a_gated_cell(k):
    """Value against a loop over explicit Jacobians and NumPy's QR, gradient against central differences."""
    cell = jrnn.lstm(2)
    params = jax.tree.map(lambda a: 0.7 * RNG.normal(size=a.shape), cell.init(jax.random.key(0), 2))
    leaves, treedef = jax.tree.flatten(params)
    w = jnp.concatenate([leaf.reshape(-1) for leaf in map(jnp.asarray, leaves)])
    ends = np.cumsum([leaf.size for leaf in leaves])

    def w_of(_, w):
        parts = [w[end - a.size : end].reshape(a.shape) for a, end in zip(leaves, ends, strict=True)]
        return treedef.unflatten(parts)

    xs = RNG.normal(size=(20, 2))
    valid = jnp.arange(20) != 8
    loss, slope, differences = value_and_slope(cell, params, Floss(k, -0.2, 40), xs, valid, w_of)(w)
    np.testing.assert_allclose(slope, differences, atol=1e-6 * np.abs(slope).max())
    jacobians = np.asarray(jrnn.jacobians(cell, params, xs, mask=valid))
    q = np.asarray(random_directions(jax.random.split(KEY, 3)[2], (), k, 4, "float64")).T
    gains = []
    for t in range(20):
        if t != 8:
            q, r = np.linalg.qr(jacobians[t] @ q)
            gains += [np.log(np.abs(np.diag(r)))] if t >= 5 else []
    np.testing.assert_allclose(loss, np.mean((np.mean(gains, axis=0) + 0.2) ** 2), rtol=1e-10)


@pytest.mark.thorough
def test_the_spectrum_of_the_result():
    """By other code: k exponents come to the target, for two keys in one program; padding is never read."""
    cell, k = jrnn.elman(20, w_rec="gaussian"), 2
    params = cell.init(jax.random.key(1), 2)
    xs, lengths = 0.3 * RNG.normal(size=(120, 2, 2)), jnp.array([120, 70])
    xs[70:, 1] = np.nan
    flossed = partial(floss, cell, params, xs, k=k, steps=400, window=40, lengths=lengths)
    many = jax.jit(jax.vmap(lambda key: flossed(key=key)))(jax.random.split(KEY))
    found = [jax.tree.map(lambda leaf, i=i: leaf[i], many) for i in (0, 1)]
    measured = partial(jrnn.lyapunov_spectrum, cell, xs=xs, k=k, lengths=lengths, warmup=20)
    before, *after = (np.abs(measured(params=p).exponents.mean(0)) for p in (params, *found))
    assert before.max() > 0.15 and np.max(after) < 0.05
    assert np.abs(found[0]["w_rec"] - found[1]["w_rec"]).max() > 1e-3


@pytest.mark.thorough
def test_shapes_and_dtypes():
    """No batch, many batch axes, one step, no inputs, 16 bits (moved in 32), k above N, no update."""
    cell = jrnn.learnable_initial_state(jrnn.elman(2, dtype="bfloat16"))
    params = cell.init(jax.random.key(0), 2)
    for shape, steps in (((1, 2), 2), ((6, 2, 1, 2), 2), ((4, 2), 0)):
        found = floss(cell, params, RNG.normal(size=shape), steps=steps)
        assert jax.tree.structure(found) == jax.tree.structure(params)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("bfloat16")}
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True))
    cell = jrnn.elman(3)
    params = cell.init(jax.random.key(0), None)
    found = floss(cell, params, None, steps=3)
    assert np.abs(found["w_rec"] - params["w_rec"]).max() > 1e-4


def test_directions_that_die_are_said():
    cell = jrnn.elman(3, "relu", bias=jrnn.initializers.constant(-9.0))
    params = cell.init(jax.random.key(0), 2)
    with pytest.warns(UserWarning, match=r"floss: in 4 of 4 updates a direction died \(\|R_ii\| < 1e-12\)"):
        found = floss(cell, params, np.zeros((9, 2)), k=1, steps=4)
    jax.tree.map(np.testing.assert_array_equal, found, params)


@pytest.mark.thorough
def test_the_penalty():
    """Its value and gradient from the run's states, held; one window in `every`; through `fit`."""
    cell, penalty = jrnn.elman(3), lyapunov_penalty(0.5, k=2, target=-0.1, window=20)
    params = cell.init(jax.random.key(0), 2)
    xs = RNG.normal(size=(22, 2, 2))
    xs[:, 1] = np.nan  # padding
    lengths = jnp.array([22, 0])
    unrolled = jrnn.unroll(cell, params, xs, lengths=lengths, return_states=True)

    @jax.jit
    def value(params, key):
        return penalty(cell, params, xs, unrolled, None, key)

    slopes = jax.jit(jax.grad(value))(params, KEY)
    drawn = jax.random.split(KEY)[1]  # the first of the two says whether it is this update's turn
    states = jax.tree.map(lambda h: h[:-1], unrolled.states)
    loss = Floss(2, -0.1, 20).loss(cell, params, xs, unrolled.mask, states, drawn)[0]
    np.testing.assert_allclose(value(params, KEY), 0.5 * loss, rtol=1e-12)
    way = jax.tree.map(lambda a: RNG.normal(size=a.shape), params)
    moved = [value(jax.tree.map(lambda p, w, s=s: p + s * w, params, way), KEY) for s in (1e-5, -1e-5)]
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, w: jnp.sum(g * w), slopes, way)))
    np.testing.assert_allclose(slope, (moved[0] - moved[1]) / 2e-5, rtol=1e-6)

    sometimes = lyapunov_penalty(0.5, k=2, target=-0.1, window=20, every=3)
    thinned = jax.jit(partial(sometimes, cell, params, xs, unrolled, None))
    pairs = np.array([(thinned(key), value(params, key)) for key in jax.random.split(KEY, 60)])
    taken = pairs[:, 0] != 0
    np.testing.assert_allclose(pairs[taken, 0], 3 * pairs[taken, 1], rtol=1e-12)
    assert 10 <= taken.sum() <= 30

    data = {"x": RNG.normal(size=(4, 12, 2)), "y": np.zeros(4, int)}
    run = fit(cell, Objective("classify", 2), data, steps=2, batch_size=2, penalties=[penalty])
    assert (run.history["lyapunov_penalty"] > 0).all()


def test_what_cannot_be_flossed():
    with pytest.raises(InputError, match="cell: got Bidirectional; need a causal cell"):
        floss(jrnn.Bidirectional(jrnn.elman(2)), {}, np.ones((3, 2)))


def test_an_orthogonal_matrix_is_made_once_a_run():
    """Not in every step: the loop over time has none of what makes it."""
    cell = jrnn.elman(3, "modrelu", w_rec=jrnn.cells.orthogonal_map())
    params, xs, valid = cell.init(KEY, 2), jnp.ones((7, 2)), jnp.ones(7, bool)

    def growth(params):
        return growth_along(cell, params, xs, cell.initial_state(params), jnp.eye(1, 3), valid, valid)[0]

    def made(jaxpr, inside=False):
        for equation in jaxpr.eqns:
            if equation.params.get("name") == "made":
                yield inside
            looped = inside or equation.primitive.name == "scan" and equation.params["length"] == 7
            for inner in jax.tree.leaves(list(equation.params.values())):
                inner = getattr(inner, "jaxpr", inner)
                yield from made(inner, looped) if hasattr(inner, "eqns") else ()

    assert list(made(jax.make_jaxpr(growth)(params).jaxpr)) == [False]
