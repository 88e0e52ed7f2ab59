"""Batch axes, `vmap` and `jit` change nothing: any number of axes equals the sequences run one by one."""

from functools import partial

import jax
import numpy as np
import pytest

import jrnn
from tests.cells.cases import CASES, normal_like

SAME = {"rtol": 1e-12, "atol": 1e-14}


@partial(jax.jit, static_argnums=0)
def forms(cell, params, many, state, xs, x1):
    """One step in each form: a batch, by vmap, two batch axes, one by one (`lax.map` maps no axis of the step
    itself); and over several sets of parameters, by vmap and one by one."""
    one = partial(jrnn.step, cell)
    batched = one(params, state, xs)
    mapped = jax.vmap(one, (None, 0, 0))(params, state, xs)
    fold = partial(jax.tree.map, lambda a: a.reshape(2, 3, *a.shape[1:]))
    two = one(params, fold(state), fold(xs))
    alone = jax.lax.map(lambda each: one(params, *each), (state, xs))
    models = jax.vmap(one, (0, 0, None))(many, state, x1)
    models_alone = jax.lax.map(lambda each: one(*each, x1), (many, state))
    return (batched, mapped, jax.tree.map(lambda a: a.reshape(6, *a.shape[2:]), two)), alone, models, models_alone


@pytest.mark.parametrize("case", CASES, ids=str)
def test_batch_axes_and_vmap_equal_single_runs(case):
    params, state, xs = case.params(), case.state((6,)), case.inputs((6,))
    many = jax.tree.map(lambda *p: np.stack(p), *[case.params(seed) for seed in range(6)])
    x1 = case.inputs((), seed=20)
    batches, alone, models, models_alone = forms(case.cell, params, many, state, xs, x1)
    for got, expected in (*((got, alone) for got in batches), (models, models_alone)):
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, **SAME), got, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sizes_and_types(case):
    """N and K are what the table says; the initial state has every batch axis and the state's own type."""
    params = case.params()
    for batch_shape in ((), (3,), (2, 0), (1, 2, 3)):
        start = jax.eval_shape(lambda p, b=batch_shape: case.cell.initial_state(p, b), params)
        sizes = [int(np.prod(a.shape[len(batch_shape) :])) for a in jax.tree.leaves(start)]
        assert all(a.shape[: len(batch_shape)] == batch_shape for a in jax.tree.leaves(start))
        assert sum(sizes) == case.state_size
        x = case.inputs(batch_shape)
        after, y = jax.eval_shape(partial(jrnn.step, case.cell), params, start, x)
        assert y.shape == (*batch_shape, case.output_size)
        assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(lambda a: (a.shape, a.dtype), start)
    assert jrnn.output_size(case.cell, case.input_size) == case.output_size
    assert jrnn.output_size(case.cell, case.input_size, params) == case.output_size
    assert jrnn.ravel_state(case.state((3,)), 1).shape == (3, case.state_size)


@pytest.mark.parametrize("case", [c for c in CASES if c.name in ("linear", "gru_reset_after", "nested")], ids=str)
def test_initialisation_is_reproducible(case):
    one, two = (jax.tree.leaves(case.cell.init(jax.random.key(4), case.input_size)) for _ in range(2))
    other = jax.tree.leaves(case.cell.init(jax.random.key(5), case.input_size))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(one, other, strict=True))


def test_layers_are_drawn_apart():
    """Equal layers of a stack, and the two directions, begin with different weights."""
    stacked = jrnn.stack(jrnn.elman(3), jrnn.elman(3)).init(jax.random.key(0), 3)
    both = jrnn.Bidirectional(jrnn.elman(3)).init(jax.random.key(0), 3)
    for one, other in (stacked, (both["forward"], both["backward"])):
        for name in ("w_in", "w_rec"):
            assert np.all(np.asarray(one[name]) != np.asarray(other[name]))


def test_leaves_of_the_table_have_random_states():
    """The table's own states must not be zero, or these tests would see nothing of the recurrence."""
    for case in CASES:
        for leaf in jax.tree.leaves(case.state((2,))):
            assert np.all(np.asarray(leaf) != 0)
    leaves = jax.tree.leaves(normal_like({"a": np.zeros(3), "b": np.zeros(3)}, 0))
    assert np.all(np.asarray(leaves[0]) != np.asarray(leaves[1]))
