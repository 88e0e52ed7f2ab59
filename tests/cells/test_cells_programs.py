"""Cells that differ in their initialisers alone are other cells that run by the same compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cells import program_of

PAIRS = {
    "elman": lambda gain: jrnn.elman(3, w_rec=jrnn.initializers.orthogonal(gain)),
    "lstm": lambda gain: jrnn.lstm(3, bias=jrnn.initializers.forget_bias(gain)),
    "gru": lambda gain: jrnn.gru(3, w_in=jrnn.initializers.gaussian(gain)),
    "linear": lambda gain: jrnn.linear(3, decay=(gain / 4, gain / 2)),
    "stack": lambda gain: jrnn.stack(jrnn.elman(3), jrnn.lstm(2, bias=jrnn.initializers.constant(gain))),
    "wrapped": lambda gain: jrnn.layer_norm(jrnn.gru(3, w_rec=jrnn.initializers.orthogonal(gain))),
    "both": lambda gain: jrnn.Bidirectional(jrnn.gru(2), jrnn.gru(2, w_rec=jrnn.initializers.orthogonal(gain))),
}


@pytest.fixture
def compiled():
    """The number of programs compiled so far."""
    counts = [0]

    def count(event, duration, **_):
        counts[0] += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(count)
    yield counts
    jax.monitoring.clear_event_listeners()


def everything(cell, params, xs):
    loss = lambda run: jnp.sum(run.last**2)  # noqa: E731
    jrnn.unroll(cell, params, xs)
    if isinstance(cell, jrnn.cells.Stack):
        jrnn.jacobians(cell, params, xs)
        jrnn.gradient_flow(cell, params, xs, loss)
        jrnn.lyapunov_spectrum(cell, params, xs)
        jrnn.window_singular_values(cell, params, xs, [(0, 2)], top=1, method="matrix_free")


@pytest.mark.parametrize("name", PAIRS)
def test_another_gain_compiles_nothing(name, compiled):
    one, other = PAIRS[name](1.0), PAIRS[name](1.5)
    assert one != other and program_of(one) == program_of(other) and hash(program_of(one)) == hash(program_of(other))
    xs = jnp.ones((4, 2, 2))
    params = one.init(jax.random.key(0), 2), other.init(jax.random.key(0), 2)
    everything(one, params[0], xs)
    before = compiled[0]
    everything(other, params[1], xs)
    assert compiled[0] == before
    everything(PAIRS[name](1.0), params[0], jnp.ones((13, 2, 2)))
    assert compiled[0] > before  # another length is another program: the count is alive


def test_starts_are_no_part_of_a_program(compiled):
    """Time constants and rotations at the start act in `init` alone; what is made of the latter is compiled once."""
    maps = jrnn.orthogonal_map(start="henaff"), jrnn.orthogonal_map(start="identity")
    cells = [jrnn.leaky(jrnn.elman(3, w_rec=each), t_max) for each, t_max in zip(maps, (9, 20), strict=True)]
    assert cells[0] != cells[1] and program_of(cells[0]) == program_of(cells[1])
    assert program_of(cells[0]) != program_of(jrnn.leaky(jrnn.elman(3, w_rec=jrnn.orthogonal_map("cayley")), 9))
    params = [cell.init(jax.random.key(0), 2) for cell in cells]
    for cell, own in zip(cells, params, strict=True):
        before = compiled[0]
        jax.block_until_ready(jrnn.cells.prepared(cell, own))
    assert compiled[0] == before


def test_init_under_jit_draws_what_the_cell_says():
    init = jax.jit(lambda cell, key: cell.init(key, 2), static_argnums=0)
    one, other = (init(PAIRS["elman"](gain), jax.random.key(0)) for gain in (1.0, 1.5))
    np.testing.assert_allclose(other["w_rec"], 1.5 * one["w_rec"], rtol=1e-12)


def test_a_cell_of_ones_own_keeps_its_fields():
    @jrnn.cells._base.static_cell
    class Own(jrnn.cells.LSTM):
        def step(self, params, state, x):
            return super().step(params, state, x)

    cell = Own(3, "glorot", "orthogonal", "zeros", None)
    assert program_of(cell) is cell
    assert program_of(None) is None and program_of(3) == 3


@pytest.mark.parametrize("name", PAIRS)
def test_a_chunk_with_the_state_carried_in_compiles_nothing(name, compiled):
    """Nor do other names that choose the same implementation."""
    cell = PAIRS[name](1.0)
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((5, 3, 2))
    first = jrnn.unroll(cell, params, xs, implementation="reference")
    before = compiled[0]
    jrnn.unroll(cell, params, xs, initial_state=first.final_state, implementation=("reference", "xla"))
    assert compiled[0] == before
    jrnn.unroll(cell, params, xs[:4], implementation="reference")
    assert compiled[0] > before
