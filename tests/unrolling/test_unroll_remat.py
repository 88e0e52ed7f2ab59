"""`remat` recomputes instead of storing: the same numbers, less memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jrnn.unrolling import unroll
from jrnn.unrolling.reading import segment_of

from .brute_force import compare, inputs, make, random_like

STEPS, BATCH = 7, (3,)
LENGTHS = np.array([7, 0, 4])


@pytest.mark.parametrize("remat", ["step", "sqrt", 3, 7, 9])
def test_equals_storing_everything(remat):
    # 3 does not divide 7; "sqrt" makes segments of 3; taps, NaN in the padding and every gradient are in `compare`
    reverse = remat in ("sqrt", 9)
    cell, params = make("gru")
    lengths = None if remat == 7 else LENGTHS
    compare(
        cell,
        params,
        inputs("gru", STEPS, BATCH),
        steps=STEPS,
        batch=BATCH,
        lengths=lengths,
        remat=remat,
        reverse=reverse,
    )


def test_words_for_the_same_segments():
    assert segment_of("step", STEPS) == segment_of(True, STEPS) == segment_of(1, STEPS) == 1
    assert segment_of(None, STEPS) is segment_of(False, STEPS) is None
    for steps in (0, 1, 4, 5, 9, 10, 100):
        assert segment_of("sqrt", steps) == max(int(np.ceil(np.sqrt(steps))), 1)


def test_with_truncation_and_resets():
    cell, params = make("elman")
    resets = np.random.default_rng(0).random((STEPS, *BATCH)) < 0.3
    compare(
        cell,
        params,
        inputs("elman", STEPS, BATCH),
        steps=STEPS,
        batch=BATCH,
        lengths=LENGTHS,
        resets=resets,
        remat=3,
        truncate=2,
        reverse=True,
    )


@pytest.mark.parametrize("remat", ["step", "sqrt", 2])
def test_empty(remat):
    cell, params = make("elman")
    assert unroll(cell, params, inputs("elman", 0, (2,)), remat=remat).outputs.shape == (0, 2, 3)


def memory(remat, steps, reverse=False, name=None):
    """Bytes of temporaries that the compiled gradient needs."""
    cell, params = make("lstm")
    xs = jax.ShapeDtypeStruct((steps, 16, 2), jnp.float64)

    def loss(params, xs):
        return jnp.sum(unroll(cell, params, xs, remat=remat, reverse=reverse, implementation=name).last)

    return jax.jit(jax.grad(loss)).lower(params, xs).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", [None, "xla"])
def test_memory_grows_like_the_root_of_the_length(name):
    short, long = 1024, 16384
    full, root, step = (
        np.array([memory(remat, steps, name=name) for steps in (short, long)]) for remat in (None, "sqrt", "step")
    )
    assert full[1] / full[0] > 12  # linear: 16
    assert root[1] / root[0] < 6  # a root: 4
    assert root[1] < full[1] / 30
    assert step[1] < 0.7 * full[1]  # the states stay, what the gates keep goes
    assert memory("sqrt", long, reverse=True, name=name) < full[1] / 30


def test_second_derivatives_pass():
    cell, params = make("elman")
    xs = jnp.asarray(inputs("elman", 5, (2,)))
    direction = random_like(np.random.default_rng(0), params)

    def curved(remat):
        def grad(p):
            return jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, remat=remat).outputs ** 3))(p)

        return jax.jvp(grad, (params,), (direction,))[1]

    jax.tree.map(partial(assert_allclose, rtol=1e-11, atol=1e-12), curved(2), curved(None))
