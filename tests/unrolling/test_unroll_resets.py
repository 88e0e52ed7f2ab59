"""What a reset goes to: the cell's own initial state, whatever state was carried in.

In other words: the run over a whole sequence is the runs of its segments, the one read first from the state that was
carried in, the others from `cell.initial_state(params)`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jrnn

from .brute_force import PAIR, compare, inputs, make, random_like

close = partial(assert_allclose, rtol=1e-10, atol=1e-10)
STEPS, BATCH = 7, (2,)
RESETS = np.array([0, 0, 1, 1, 0, 1, 0], bool)  # of both sequences: segments can be run by themselves
SEGMENTS = [(0, 2), (2, 3), (3, 5), (5, 7)]
FOREIGN = jrnn.from_step(
    lambda params, h, x: (jnp.tanh(h @ params["w"] + x), jnp.sin(h)),
    init=lambda key, size: {"w": jax.random.normal(key, (size, size)), "h": jnp.full(size, 0.3)},
    initial_state=lambda params, batch: jnp.broadcast_to(params["h"], (*batch, *params["h"].shape)),
)
CELLS = {
    "elman": jrnn.elman(2),
    "lstm": jrnn.lstm(2),
    "gru": jrnn.gru(2),
    "gru, reset before": jrnn.gru(2, reset_after=False),
    "linear": jrnn.linear(2),
    "of functions": PAIR,
    "of a step": FOREIGN,
    "learnable": jrnn.learnable_initial_state(jrnn.lstm(2)),
    "residual": jrnn.residual(jrnn.learnable_initial_state(jrnn.elman(2))),
    "layer norm": jrnn.layer_norm(jrnn.learnable_initial_state(jrnn.gru(2)), on="hidden"),
    "clipped": jrnn.clip_state_gradient(jrnn.learnable_initial_state(jrnn.gru(2)), 1e9),
    "dropout": jrnn.dropout(jrnn.learnable_initial_state(jrnn.gru(2)), outputs=0.5),
    "stack": jrnn.stack(jrnn.lstm(2), jrnn.learnable_initial_state(jrnn.gru(2))),
    "both directions": jrnn.Bidirectional(jrnn.learnable_initial_state(jrnn.lstm(2)), jrnn.gru(2)),
    "stack of both": jrnn.stack(
        jrnn.Bidirectional(jrnn.gru(2)), jrnn.learnable_initial_state(jrnn.elman(2)), jrnn.Bidirectional(jrnn.lstm(2))
    ),
}


def given(name):
    cell, params = make(CELLS[name])
    xs = inputs("pair" if name == "of functions" else name, STEPS, BATCH)
    return cell, params, xs, random_like(np.random.default_rng(3), cell.initial_state(params, BATCH))


def entering(cell, own, carried, reads_first):
    """The state that enters a segment; `reads_first[reverse]` says whether it is the one read first."""
    if isinstance(cell, jrnn.cells.Stack):
        return tuple(entering(*each, reads_first) for each in zip(cell.cells, own, carried, strict=True))
    if isinstance(cell, jrnn.Bidirectional):
        return jrnn.BidirectionalState(
            entering(cell.forward, own.forward, carried.forward, reads_first),
            entering(cell.backward, own.backward, carried.backward, reads_first[::-1]),
        )
    return carried if reads_first[0] else own


def by_segments(cell, params, xs, carried, reverse):
    outputs = []
    for a, b in SEGMENTS:
        reads_first = (b == STEPS, a == 0) if reverse else (a == 0, b == STEPS)
        start = entering(cell, cell.initial_state(params, BATCH), carried, reads_first)
        part = jax.tree.map(lambda x, a=a, b=b: x[a:b], xs)
        outputs.append(jrnn.unroll(cell, params, part, initial_state=start, reverse=reverse).outputs)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *outputs)


def held(cell, params, xs, carried, reverse, **options):
    """Values and all gradients of the whole run are those of the segments."""
    resets = np.broadcast_to(RESETS[:, None], (STEPS, *BATCH))

    def whole(params, carried):
        run = jrnn.unroll(cell, params, xs, initial_state=carried, resets=resets, reverse=reverse, **options)
        return run.outputs

    wanted, pull = jax.vjp(jax.jit(lambda p, h: by_segments(cell, p, xs, h, reverse)), params, carried)
    got, pulled = jax.vjp(whole, params, carried)
    jax.tree.map(close, got, wanted)
    cotangents = random_like(np.random.default_rng(9), wanted)
    jax.tree.map(close, pulled(cotangents), pull(cotangents))


BOTH_ORDERS = ("lstm", "of a step", "both directions", "stack of both")
ORDERS = [(name, i % 2 == 0) for i, name in enumerate(CELLS)]
ORDERS += [(name, not reverse) for name, reverse in ORDERS if name in BOTH_ORDERS]


@pytest.mark.parametrize("name, reverse", ORDERS)
def test_a_reset_goes_to_the_cells_own_initial_state(name, reverse):
    cell, params, xs, carried = given(name)
    held(cell, params, xs, carried, reverse)


OPTIONS = [{"implementation": name} for name in ("native", "xla", "reference")]
OPTIONS += [{"remat": "step"}, {"remat": "sqrt"}, {"remat": 3}, {"unroll": 2}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_whatever_computes_it(options):
    held(*given("learnable"), reverse=False, **options)


def test_the_parallel_scan():
    held(*given("linear"), reverse=True, implementation="associative")


@pytest.mark.parametrize(
    "name, reverse",
    [("gru", True), ("learnable", False), ("learnable", True), ("stack", False), ("of functions", True)],
)
def test_against_the_loop(name, reverse):
    """With lengths, masks, truncation and resets of each sequence's own; cotangents on states and taps too."""
    cell, params, xs, _ = given(name)
    rng = np.random.default_rng(5)
    when = dict(
        lengths=np.array([7, 4]), resets=rng.random((STEPS, *BATCH)) < 0.4, mask=rng.random((STEPS, *BATCH)) < 0.7
    )
    for truncate in (None, 3):
        static = dict(reverse=reverse, truncate=truncate)
        compare(cell, params, xs, steps=STEPS, batch=BATCH, own_restart=True, **when, **static)


def test_chunks_with_the_state_carried_equal_the_whole_sequence():
    """Also with time on axis 1, and where only some of the sequences are reset."""
    cell, params, xs, _ = given("learnable")
    resets = np.random.default_rng(1).random((STEPS, *BATCH)) < 0.4
    whole = jrnn.unroll(cell, params, xs, resets=resets)
    first = jrnn.unroll(cell, params, xs[:3], resets=resets[:3])
    swapped = np.swapaxes(xs[3:], 0, 1), np.swapaxes(resets[3:], 0, 1)
    second = jrnn.unroll(cell, params, swapped[0], initial_state=first.final_state, resets=swapped[1], time_axis=1)
    assert resets[3:].any() and not resets[3:].all()
    close(jnp.concatenate([first.outputs, jnp.swapaxes(second.outputs, 0, 1)]), whole.outputs)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["learnable", "stack"])
def test_the_instruments_follow(name):
    """What the lags are heard from adds up to the training gradient, and J is that of the run."""
    cell, params, xs, carried = given(name)
    options = dict(initial_state=carried, resets=np.broadcast_to(RESETS[:, None], (STEPS, *BATCH)))

    def loss(run):
        return jnp.sum(jnp.sin(run.outputs))

    _, grads = jrnn.value_and_grads(cell, params, xs, loss, **options)
    flow = jrnn.gradient_flow(cell, params, xs, loss, **options)
    jax.tree.map(lambda parts, whole: close(parts.sum(0), whole), flow.lag_gradients, grads.params)
    J = jrnn.jacobians(cell, params, xs, **options)
    for t in np.flatnonzero(~RESETS):
        a = max(start for start, _ in SEGMENTS if start <= t)
        alone = jrnn.jacobians(cell, params, xs[a : t + 1], initial_state=carried if a == 0 else None)
        close(J[t], alone[-1])
    found = jrnn.window_singular_values(cell, params, xs, [(4, 5)], method="matrix_free", **options)
    alone = jrnn.window_singular_values(cell, params, xs[3:5], [(1, 2)])
    close(found.log_singular_values, alone.log_singular_values)
