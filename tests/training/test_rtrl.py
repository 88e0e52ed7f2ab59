"""RTRL in `stream` against backpropagation through the whole sequence, with the parameters held."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn import InputError
from jrnn.training import Objective, stream

OBJECTIVE = Objective("regress_each", 1)
COLLECT = optax.GradientTransformation(
    partial(jax.tree.map, jnp.zeros_like), lambda g, state, w=None: (jax.tree.map(jnp.zeros_like, g), g)
)
CELLS = {
    "linear": jrnn.linear(3),
    "wrapped": jrnn.layer_norm(jrnn.learnable_initial_state(jrnn.linear(3))),
}
K = 4


def chunk(i):
    """Chunk i, with resets within and at the border, and steps that do not happen."""
    rng = np.random.default_rng(i)
    resets = np.zeros((K, 2), bool)
    resets[1, 0], resets[0, 1] = i == 1, i == 2
    data = {"x": rng.normal(size=(K, 2, 2)), "y": rng.normal(size=(K, 2))}
    return data | {"resets": resets, "mask": rng.random((K, 2)) > 0.2}


@pytest.mark.thorough
@pytest.mark.parametrize("name", CELLS)
def test_the_sum_over_chunks_is_the_gradient_of_the_whole(name, key):
    cell, count = CELLS[name], 4
    rng = np.random.default_rng(5)
    params, head = cell.init(key, 2), OBJECTIVE.init(key, 3)
    params, head = jax.tree.map(lambda p: p + 0.1 * rng.normal(size=p.shape), (params, head))
    options = {"params": params, "loss_params": head, "optimizer": COLLECT, "flow_every": None}
    chunks = [chunk(i) for i in range(count)]
    results = list(stream(cell, OBJECTIVE, chunks, rtrl=True, **options))
    found = jax.tree.map(lambda *g: sum(g), *(r.opt_state["cell"] for r in results))
    whole = {k: np.concatenate([c[k] for c in chunks]) for k in chunks[0]}

    def total(params):
        run = jrnn.unroll(cell, params, whole["x"], resets=whole["resets"], mask=whole["mask"])
        parts = []
        for i in range(count):
            part = slice(i * K, (i + 1) * K)
            piece = run._replace(outputs=run.outputs[part], mask=run.mask[part])
            parts.append(OBJECTIVE(head, piece, {"y": whole["y"][part]})[0])
        return sum(parts)

    expected = jax.jit(jax.grad(total))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), found, expected)
    cut = list(stream(cell, OBJECTIVE, chunks, **options))
    apart = jax.tree.map(lambda a, *g: np.abs(a - sum(g)).max(), expected, *(r.opt_state["cell"] for r in cut))
    assert max(jax.tree.leaves(apart)) > 1e-3  # what the cuts leave out
    # dh/dtheta itself, and going on from it
    steps = {name: whole[name] for name in ("resets", "mask")}
    last = jax.jit(jax.jacrev(lambda p: jrnn.unroll(cell, p, whole["x"], **steps).final_state.h))(params)
    ours = results[-1].sensitivities
    for e, full in zip(ours, jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(e, full.sum(axis=1), rtol=1e-12, atol=1e-13)
    going = {"initial_state": results[1].state, "rtrl": results[1].sensitivities}
    rest = list(stream(cell, OBJECTIVE, chunks[2:], **options, **going))
    jax.tree.map(np.testing.assert_array_equal, rest[-1].opt_state, results[-1].opt_state)


def test_what_rtrl_does_not_do(key):
    for cell, match in (
        (jrnn.gru(3), "rtrl: got a GRU; need one diagonal layer, such as jrnn.linear.*not implemented"),
        (jrnn.stack(jrnn.linear(2), jrnn.linear(2)), "rtrl: got a Stack"),
    ):
        weights = {"params": cell.init(key, 2), "loss_params": OBJECTIVE.init(key, 2), "optimizer": optax.sgd(0.1)}
        with pytest.raises(InputError, match=match):
            stream(cell, OBJECTIVE, map(chunk, itertools.count()), rtrl=True, **weights)
    cell = jrnn.linear(2)
    weights = {"params": cell.init(key, 2), "loss_params": OBJECTIVE.init(key, 2), "optimizer": optax.sgd(0.1)}
    with pytest.raises(InputError, match="unroll_options: got truncate beside rtrl"):
        stream(cell, OBJECTIVE, [], rtrl=True, unroll_options={"truncate": 2}, **weights)


def test_a_given_state_owes_the_parameters_nothing(key):
    """The gradient of a learnt start is 0 beside `initial_state`, all others are those of BPTT; one trace in all."""
    cell = jrnn.learnable_initial_state(jrnn.linear(3))
    params, head = cell.init(key, 2), OBJECTIVE.init(key, 3)
    start = jrnn.LinearState(jnp.asarray(np.random.default_rng(1).normal(size=(2, 3))))
    traces = []

    def loss(*given):
        traces.append(given)
        return OBJECTIVE(*given)

    options = {"params": params, "loss_params": head, "optimizer": COLLECT, "flow_every": None, "rtrl": True}
    implementation = {"unroll_options": {"implementation": "associative"}}
    chunks = [{"x": c["x"], "y": c["y"]} for c in map(chunk, range(3))]
    found, counts = [], []
    for result in stream(cell, loss, chunks, initial_state=start, **options, **implementation):
        found.append(result.opt_state["cell"])
        counts.append(len(traces))
    assert counts[0] == counts[-1]
    whole = {k: np.concatenate([c[k] for c in chunks]) for k in ("x", "y")}

    def total(params):
        run = jrnn.unroll(cell, params, whole["x"], initial_state=start)
        return 3 * OBJECTIVE(head, run, whole)[0]

    expected = jax.jit(jax.grad(total))(params)
    found = jax.tree.map(lambda *g: sum(g), *found)
    assert not np.any(expected["initial_state"].h)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), found, expected)
    wrong = [e[:1] for e in result.sensitivities]
    with pytest.raises(InputError, match=r"rtrl: got sensitivities of shapes \[\(1, .*need \[\(2, "):
        next(stream(cell, loss, chunks, initial_state=start, **options | {"rtrl": wrong}))
    with pytest.raises(InputError, match="rtrl: got sensitivities without initial_state; need the state of"):
        stream(cell, loss, chunks, **options | {"rtrl": result.sensitivities})
