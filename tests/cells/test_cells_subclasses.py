"""Cells that a user derives from jrnn's: what they replace is what runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cells import LSTM, Dropout, LayerNorm, LSTMState
from jrnn.cells._base import static_cell
from jrnn.kernels import Weights


@static_cell
class Doubled(LSTM):
    def output(self, params, state, x):
        return 2 * state.h


@static_cell
class Halved(LSTM):
    def step(self, params, state, x):
        after = super().step(params, state, x)
        return after._replace(h=after.h / 2)


@static_cell
class HalvedNorm(LayerNorm):
    def step(self, params, state, x, noise=None):
        after = super().step(params, state, x, noise)
        return after._replace(h=after.h / 2)


@static_cell
class Own:
    """None of jrnn's classes, but a kernel and an output of its own."""

    inner: LSTM

    def init(self, key, input_size):
        return self.inner.init(key, input_size)

    def initial_state(self, params, batch_shape=()):
        return self.inner.initial_state(params, batch_shape)

    def step(self, params, state, x):
        return self.inner.step(params, state, x)

    def output(self, params, state, x):
        return jnp.tanh(state.c) + x[..., :1]

    def kernel(self, params) -> Weights:
        return self.inner.kernel(params)


def derived(which):
    fields = vars(jrnn.lstm(3))
    return {
        "doubled": lambda: Doubled(**fields),
        "halved": lambda: Halved(**fields),
        "layer norm": lambda: HalvedNorm(**vars(jrnn.layer_norm(jrnn.lstm(3)))),
        "within dropout": lambda: Dropout(
            **(vars(jrnn.dropout(jrnn.lstm(3), outputs=0.5)) | {"cell": Halved(**fields)})
        ),
        "own": lambda: Own(jrnn.lstm(3)),
        "in a stack": lambda: jrnn.stack(Doubled(**fields), Halved(**fields)),
    }[which]()


@pytest.mark.parametrize("which", ["doubled", "halved", "layer norm", "within dropout", "own", "in a stack"])
def test_what_a_subclass_replaces_is_what_runs(which):
    cell = derived(which)
    params, xs = cell.init(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (4, 2))
    state, outputs = cell.initial_state(params, ()), []
    for x in xs:
        state = cell.step(params, state, x)
        outputs.append(cell.output(params, state, x))
    lengths = {"lengths": jnp.asarray(4)}
    for options in ({}, lengths, {"implementation": "reference"}):
        run = jrnn.unroll(cell, params, xs, **options)
        np.testing.assert_allclose(run.outputs, jnp.stack(outputs), rtol=1e-12)
        np.testing.assert_allclose(run.last, outputs[-1], rtol=1e-12)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), run.final_state, state)
    found = (jrnn.jacobians(cell, params, xs, method=method) for method in ("auto", "jacfwd"))
    np.testing.assert_allclose(*found, atol=1e-12)
    _, y = jrnn.step(cell, params, cell.initial_state(params, ()), xs[0])
    np.testing.assert_allclose(y, outputs[0], rtol=1e-12)


def test_a_subclass_keeps_what_it_does_not_replace():
    params = jrnn.lstm(3).init(jax.random.key(0), 2)
    chosen = [jrnn.kernels.explain(derived(which), params).chosen for which in ("doubled", "halved", "own")]
    assert chosen[1] == "reference" and chosen[0] == chosen[2] == jrnn.kernels.explain(jrnn.lstm(3), params).chosen
    assert isinstance(derived("halved").initial_state(params), LSTMState)
