"""A stream against a loop that is written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn import InputError
from jrnn.cures import clip_by_global_norm, skip_nonfinite
from jrnn.training import Objective, stream

CELL = jrnn.learnable_initial_state(jrnn.elman(3))
OBJECTIVE = Objective("regress_each", 1)


def chunk(i, steps=4):
    """Chunk i of an endless series with resets."""
    rng = np.random.default_rng(i)
    resets = np.zeros((steps, 2), bool)
    resets[i % steps, i % 2] = i % 3 == 1
    return {"x": rng.normal(size=(steps, 2, 2)), "y": rng.normal(size=(steps, 2)), "resets": resets}


def test_a_stream_is_a_loop_over_chunks_with_the_gradient_cut_between(key):
    params, head = CELL.init(key, 2), OBJECTIVE.init(key, 3)
    params = jax.tree.map(lambda p: p + 0.1, params)
    traces = []

    def loss(loss_params, unrolled, batch):
        traces.append(1)
        return OBJECTIVE(loss_params, unrolled, batch)

    tx = skip_nonfinite(optax.chain(clip_by_global_norm(0.5), optax.sgd(0.1)))
    options = {"optimizer": tx, "flow_every": 2}
    results = list(
        itertools.islice(
            stream(CELL, loss, map(chunk, itertools.count()), params=params, loss_params=head, **options), 6
        )
    )
    assert len(traces) == 2  # of chunks that measure where the gradient goes, and of the others

    @jax.jit
    def loss_and_grads(weights, h, first, data):
        def total(weights):
            params, head = weights
            own = CELL.initial_state(params, (2,)).h
            state = jnp.where(first, own, h)
            losses = []
            for x, y, reset in zip(data["x"], data["y"], data["resets"], strict=True):
                state = jnp.where(jnp.broadcast_to(reset[:, None], (2, 3)), own, state)
                entering = CELL.initial_state(params, (2,))._replace(h=state)
                state = CELL.step(params, entering, x).h
                losses.append(jnp.square(state @ head["w"] + jnp.broadcast_to(head["bias"], (2, 1)) - y[:, None]))
            return jnp.stack(losses).mean(), state

        (value, state), grads = jax.value_and_grad(total, has_aux=True)(weights)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)))
        scale = jnp.minimum(1.0, 0.5 / norm)
        return value, jax.tree.map(lambda w, g: w - 0.1 * scale * g, weights, grads), state, norm

    weights, h = (params, head), jnp.zeros((2, 3))
    for i, result in enumerate(results):
        value, weights, h, norm = loss_and_grads(weights, h, i == 0, chunk(i))
        np.testing.assert_allclose(result.metrics["loss"], value, rtol=1e-12)
        np.testing.assert_allclose(result.metrics["grad_norm"], norm, rtol=1e-12)
        np.testing.assert_allclose(result.state.h, h, rtol=1e-11)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), (result.params, result.loss_params), weights
        )
    assert int(results[-1].opt_state.inner_state[0].steps) == 6

    again = stream(
        CELL,
        OBJECTIVE,
        [chunk(3), chunk(4)],
        params=results[2].params,
        loss_params=results[2].loss_params,
        optimizer=tx,
        initial_state=results[2].state,
        opt_state=results[2].opt_state,
    )
    for ours, theirs in zip(again, results[3:5], strict=True):  # a stream goes on where it was left
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), ours[:4], theirs[:4])


@pytest.mark.thorough
def test_noise_and_chunks_of_other_lengths(key):
    cell = jrnn.dropout(jrnn.elman(3), outputs=0.5)
    params, head = cell.init(key, 2), OBJECTIVE.init(key, 3)
    options = {"params": params, "loss_params": head, "optimizer": optax.sgd(0.0), "unroll_options": {"truncate": 2}}
    chunks = [chunk(0), chunk(0), chunk(0, steps=3)]
    noisy = [float(r.metrics["loss"]) for r in stream(cell, OBJECTIVE, chunks, key=key, **options)]
    again = [float(r.metrics["loss"]) for r in stream(cell, OBJECTIVE, chunks, key=key, **options)]
    quiet = [float(r.metrics["loss"]) for r in stream(cell, OBJECTIVE, chunks, **options)]
    assert noisy == again and len(set(noisy + quiet)) == 6


def test_bad_streams(key):
    cell = jrnn.elman(3)
    params, head = cell.init(key, 2), OBJECTIVE.init(key, 3)
    options = {"params": params, "loss_params": head, "optimizer": optax.sgd(0.1)}
    with pytest.raises(InputError, match="cell: got Bidirectional"):
        stream(jrnn.Bidirectional(cell), OBJECTIVE, [], **options)
    with pytest.raises(InputError, match="loss"):
        stream(cell, 3.0, [], **options)
    with pytest.raises(InputError, match="chunks: got a list as chunk 0"):
        next(stream(cell, OBJECTIVE, [[1]], **options))
    for name, value in (("loss_params", None), ("optimizer", optax.sgd), ("unroll_options", {"trunc": 2})):
        with pytest.raises(InputError, match=f"{name}: got"):
            stream(cell, OBJECTIVE, [], **{**options, name: value})
    other = {"x": np.zeros((4, 3, 2)), "y": np.zeros((4, 3))}
    with pytest.raises(InputError, match=r"chunks: got batch shape \(3,\) in chunk 1"):
        list(stream(cell, OBJECTIVE, [chunk(0), other], **options))
    assert list(stream(cell, OBJECTIVE, [], **options)) == []
