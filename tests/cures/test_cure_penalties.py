"""Omega, AR, TAR and the norm stabiliser: closed forms, NumPy loops, and finite differences with the deltas held."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import InputError
from jrnn.cures import activation_penalty, norm_stabilizer, omega, temporal_activation_penalty
from jrnn.training import Objective, fit

RNG = np.random.default_rng(0)
T, B = 6, 3
XS = RNG.normal(size=(T, B, 2))
LENGTHS = jnp.array([6, 0, 4])
CELLS = {
    "elman": jrnn.elman(4),
    "stack": jrnn.stack(jrnn.lstm(2), jrnn.gru(3)),
}


def run(cell, params, xs=XS, lengths=LENGTHS):
    """(unrolled, dL/dh_t) for the sum of sines of the outputs."""
    loss = lambda unrolled: jnp.sum(jnp.sin(unrolled.outputs))  # noqa: E731

    @jax.jit
    def both(params):
        unrolled = jrnn.unroll(cell, params, xs, lengths=lengths, return_states=True)
        return unrolled, jrnn.state_gradients(cell, params, xs, loss, lengths=lengths)

    return both(params)


def values(penalties, cell, params, xs, unrolled, deltas):
    """Of all of them, in one program."""
    every = jax.jit(lambda *given: [penalty(cell, params, xs, *given, None) for penalty in penalties])
    return every(unrolled, deltas)


def parameters(cell):
    return jax.tree.map(lambda a: 0.8 * RNG.normal(size=a.shape), cell.init(jax.random.key(0), 2))


@pytest.mark.parametrize("size", [1.0, 1.3])
def test_omega_of_an_orthogonal_matrix(size):
    """r_t = s at every step: (s - 1)^2 and (s^2 - 1)^2, zero for s = 1; also where delta_t is 1e-40 or smaller."""
    cell = jrnn.elman(4, "identity", w_rec=jrnn.initializers.orthogonal(size))
    params = cell.init(jax.random.key(0), 2)
    unrolled, deltas = run(cell, params)
    for scale in (1.0, 1e-200):
        some = jax.tree.map(lambda d, scale=scale: scale * d, deltas)
        found = values((omega(3.0), omega(3.0, "squares")), cell, params, XS, unrolled, some)
        np.testing.assert_allclose(found, [3 * (size - 1) ** 2, 3 * (size**2 - 1) ** 2], rtol=1e-12, atol=1e-24)


@pytest.mark.parametrize("name", CELLS)
def test_values_by_loops(name):
    """Over explicit Jacobians and NumPy norms, padding left out."""
    cell = CELLS[name]
    params = parameters(cell)
    unrolled, deltas = run(cell, params)
    J = np.asarray(jrnn.jacobians(cell, params, XS, lengths=LENGTHS))
    delta, ys = np.concatenate(jax.tree.leaves(deltas), axis=-1), np.asarray(unrolled.outputs)
    layers = unrolled.states if name == "stack" else (unrolled.states,)
    layers = [np.asarray(layer.h) for layer in layers]
    ratios, squares, changes, steady = [], [], [], 0.0
    for b, length in enumerate(np.asarray(LENGTHS)):
        for t in range(length):
            ratios.append(np.linalg.norm(J[t, b].T @ delta[t + 1, b]) / np.linalg.norm(delta[t + 1, b]))
            squares.append(np.mean(ys[t, b] ** 2))
            changes += [np.mean((ys[t, b] - ys[t - 1, b]) ** 2)] if t else []
            sizes = [[np.linalg.norm(layer[s, b]) for s in (t, t + 1)] for layer in layers]
            steady += sum((a - b) ** 2 for a, b in sizes)
    ratios = np.array(ratios)
    expected = {
        omega(2.0): 2 * np.mean((ratios - 1) ** 2),
        omega(2.0, "squares"): 2 * np.mean((ratios**2 - 1) ** 2),
        activation_penalty(3.0): 3 * np.mean(squares),
        temporal_activation_penalty(3.0): 3 * np.mean(changes),
        norm_stabilizer(3.0): 3 * steady / len(squares),
    }
    found = values(expected, cell, params, XS, unrolled, deltas)
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-12)
    # nothing happened: nothing to penalise
    empty, none = run(cell, params, XS[:0], 0 * LENGTHS)
    assert not np.any(values(expected, cell, params, XS[:0], empty, none))


@pytest.mark.parametrize("name", CELLS)
def test_gradients_by_finite_differences(name):
    """Deltas held, and with Omega the states too; whatever the padding holds."""
    cell = CELLS[name]
    params = parameters(cell)
    padded = np.where((np.arange(T)[:, None] < np.asarray(LENGTHS))[..., None], XS, np.nan)
    unrolled, deltas = run(cell, params, padded)
    penalties = [omega(), omega(1.0, "squares"), activation_penalty(), temporal_activation_penalty(), norm_stabilizer()]

    def both(params):
        moving = jrnn.unroll(cell, params, padded, lengths=LENGTHS, return_states=True)
        runs = [unrolled] * 2 + [moving] * 3
        return jnp.stack([p(cell, params, padded, u, deltas, None) for p, u in zip(penalties, runs, strict=True)])

    at, slopes = jax.jit(both), jax.jit(jax.jacrev(both))(params)
    way = jax.tree.map(lambda a: RNG.normal(size=a.shape), params)
    moved = [at(jax.tree.map(lambda p, w, s=s: p + s * w, params, way)) for s in (1e-5, -1e-5)]
    along = sum(jax.tree.leaves(jax.tree.map(lambda g, w: np.tensordot(g, w, w.ndim), slopes, way)))
    np.testing.assert_allclose(along, (moved[0] - moved[1]) / 2e-5, rtol=2e-7)
    assert np.abs(along).min() > 1e-3


@pytest.mark.thorough
def test_through_fit():
    data = {"x": RNG.normal(size=(4, 5, 2)), "y": np.arange(4) % 2, "lengths": np.array([5, 0, 3, 1])}
    penalties = [omega(), activation_penalty(), temporal_activation_penalty(), norm_stabilizer()]
    cell = jrnn.elman(2, dtype="bfloat16")
    options = {"steps": 2, "batch_size": 2, "flow_every": None}
    history = fit(cell, Objective("classify", 2), data, penalties=penalties, **options).history
    for name in ("omega", "activation_penalty", "temporal_activation_penalty", "norm_stabilizer"):
        assert np.isfinite(history[name]).all() and history[name].max() > 0
    both = jrnn.Bidirectional(jrnn.gru(2))
    unrolled = jrnn.unroll(both, both.init(jax.random.key(0), 2), XS, return_states=True)
    assert partial(norm_stabilizer(), both, None, XS)(unrolled, None, None) > 0
    unit = jrnn.lru(2)
    steady = jrnn.unroll(unit, unit.init(jax.random.key(0), 2), XS, return_states=True)
    with pytest.raises(
        InputError, match="penalties: got norm_stabilizer for a state of type LRUState; need one hidden"
    ):
        norm_stabilizer()(unit, None, XS, steady, None, None)
    with pytest.raises(InputError, match="cell: got Bidirectional; need a causal cell"):
        omega()(both, None, XS, unrolled, None, None)
