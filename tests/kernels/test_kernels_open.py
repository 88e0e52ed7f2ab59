"""A recurrence of one's own is one class: here h_t = a_t h_{t-1} + b_t, which reads a and b and has no weights."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import kernels
from jrnn.types import InputError


class NoWeights(NamedTuple):
    pass


class Kernel(NamedTuple):
    kind: str = "gated"


@dataclass(frozen=True)
class Gated:
    name = "gated"
    parts = ("h",)
    weights = NoWeights
    native = None
    units: int = 3

    def check(self, weights):
        pass

    def sizes(self, weights):
        return 2 * self.units, self.units

    def step(self, weights, state, x):
        a, b = jnp.split(x, 2, axis=-1)
        return (a * state[0] + b,)

    def gates_saved(self, dtype):
        return 0

    def terms(self, weights, xs):
        a, b = jnp.split(xs, 2, axis=-1)
        return a, b


class GatedCell(jrnn.cells._base.HiddenOutput):
    """The smallest cell around it; `step` is its own."""

    def init(self, key, input_size):
        return {}

    def initial_state(self, params, batch_shape=()):
        return jrnn.cells.LinearState(jnp.zeros((*batch_shape, 3)))

    def step(self, params, state, x):
        a, b = jnp.split(x, 2, axis=-1)
        return jrnn.cells.LinearState(a * state.h + b)

    def kernel(self, params):
        return Kernel()


GatedCell = jax.tree_util.register_static(dataclass(frozen=True)(GatedCell))
STEPS, ROWS = 7, 2


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(kernels.RECURRENCES, "gated", Gated())


def by_hand(xs, start):
    """States and, for the loss sum(h_T^2 / 2), the gradients of a, b and h_0: the loop, there and back."""
    a, b = np.split(np.asarray(xs), 2, axis=-1)
    hs = [np.asarray(start)]
    for t in range(STEPS):
        hs.append(a[t] * hs[-1] + b[t])
    delta, da, db = hs[-1], np.zeros_like(a), np.zeros_like(b)
    for t in reversed(range(STEPS)):
        da[t], db[t], delta = delta * hs[t], delta, delta * a[t]
    return np.stack(hs[1:]), np.concatenate([da, db], axis=-1), delta


@pytest.mark.parametrize("name", ["reference", "associative"])
def test_values_and_gradients(name):
    xs = jax.random.normal(jax.random.key(0), (STEPS, ROWS, 6))
    start = jax.random.normal(jax.random.key(1), (ROWS, 3))

    def states(xs, start):
        return kernels.recur(kernels.problem_of(Kernel(), xs, (start,), STEPS, (ROWS,)), name)[0][0]

    hs, dxs, dstart = by_hand(xs, start)
    np.testing.assert_allclose(states(xs, start), hs, rtol=1e-12)
    found = jax.grad(lambda *given: jnp.sum(states(*given)[-1] ** 2) / 2, argnums=(0, 1))(xs, start)
    for ours, theirs in zip(found, (dxs, dstart), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_a_cell_takes_the_implementations_that_can_run_it():
    cell = GatedCell()
    why = kernels.explain(cell, {}, ("native", "xla", "associative"))
    assert why.chosen == "associative" and why.refused.keys() == {"native", "xla"}
    assert why.refused["native"] == "it has no gated"
    xs = jax.random.normal(jax.random.key(0), (STEPS, ROWS, 6))
    one, other = (jrnn.unroll(cell, {}, xs, implementation=name).outputs for name in ("associative", "reference"))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_name_that_nobody_knows():
    with pytest.raises(InputError, match="weights.kind: got 'other'; need one of"):
        kernels.problem_of(Kernel("other"), jnp.ones((STEPS, ROWS, 6)), (jnp.ones((ROWS, 3)),), STEPS, (ROWS,))
