"""A cell is a value: equal descriptions are equal, hash alike, share one trace, and survive pickle and copy."""

import copy
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import initializers
from tests.cells.cases import OWN, SEQUENCES, leaky_init, leaky_output, leaky_start, leaky_step

# every entry differs from every other one
DIFFERENT = [
    jrnn.elman(3),
    jrnn.elman(5),
    jrnn.elman(3, "relu"),
    jrnn.elman(3, dtype="float32"),
    jrnn.elman(3, dtype="bfloat16"),
    jrnn.elman(3, w_rec="identity"),
    jrnn.elman(3, w_rec=initializers.orthogonal(2.0)),
    jrnn.elman(3, w_in="glorot"),
    jrnn.elman(3, bias="pytorch"),
    jrnn.lstm(3),
    jrnn.lstm(3, bias=initializers.chrono(10)),
    jrnn.lstm(3, bias=initializers.chrono(11)),
    jrnn.lstm(3, bias=initializers.uniform_gate(10)),
    jrnn.lstm(3, refine=True),
    jrnn.gru(3, refine=True),
    jrnn.gru(3, reset_after=False, refine=True),
    jrnn.gru(3),
    jrnn.gru(3, reset_after=False),
    jrnn.linear(3),
    jrnn.linear(3, decay=(0.5, 0.9)),
    jrnn.cornn(3),
    jrnn.cornn(3, dt=0.1),
    jrnn.cornn(3, gamma=1.0),
    jrnn.cornn(3, epsilon=1.0),
    jrnn.unicornn(3),
    jrnn.unicornn(3, alpha=0.0),
    jrnn.lem(3),
    jrnn.lem(3, dt=0.5),
    jrnn.lem(3, t_max=9),
    jrnn.antisymmetric(3),
    jrnn.antisymmetric(3, gamma=0.2),
    jrnn.antisymmetric(3, epsilon=0.01),
    jrnn.indrnn(3),
    jrnn.indrnn(3, "tanh"),
    jrnn.indrnn(3, t_max=9),
    jrnn.linear(3, t_max=9),
    jrnn.min_gru(3),
    jrnn.min_gru(3, t_max=9),
    jrnn.min_gru(3, candidate="tanh"),
    jrnn.min_lstm(3),
    jrnn.rg_lru(3),
    jrnn.rg_lru(3, t_max=9),
    jrnn.rg_lru(3, decay=(0.5, 0.9)),
    jrnn.lru(3),
    jrnn.lru(3, outputs=2),
    jrnn.lru(3, max_phase=0.1),
    jrnn.stack(jrnn.elman(3)),
    jrnn.stack(jrnn.elman(3), jrnn.elman(3)),
    jrnn.stack(jrnn.elman(3), jrnn.lstm(3)),
    jrnn.residual(jrnn.elman(3)),
    jrnn.layer_norm(jrnn.elman(3)),
    jrnn.layer_norm(jrnn.elman(3), on="hidden"),
    jrnn.layer_norm(jrnn.elman(3), epsilon=1e-3),
    jrnn.learnable_initial_state(jrnn.elman(3)),
    jrnn.elman(3, w_rec=jrnn.orthogonal_map()),
    jrnn.elman(3, w_rec=jrnn.orthogonal_map("cayley")),
    jrnn.elman(3, w_rec=jrnn.orthogonal_map(start="cayley")),
    jrnn.elman(3, "modrelu"),
    jrnn.leaky(jrnn.elman(3), 9),
    jrnn.leaky(jrnn.elman(3), 10),
    jrnn.dropout(jrnn.elman(3), outputs=0.5),
    jrnn.dropout(jrnn.elman(3), recurrent=0.5),
    jrnn.Bidirectional(jrnn.elman(3)),
    jrnn.Bidirectional(jrnn.elman(3), jrnn.lstm(3)),
    OWN,
    jrnn.from_functions(init=leaky_init, initial_state=leaky_start, step=leaky_step),
    jrnn.dense(3),
    jrnn.dense(3, w="zeros"),
]


def test_different_descriptions_differ():
    assert len(set(DIFFERENT)) == len(DIFFERENT)
    for i, a in enumerate(DIFFERENT):
        for b in DIFFERENT[:i]:
            assert a != b


@pytest.mark.parametrize("case", SEQUENCES, ids=str)
def test_copies_and_pickles_are_equal(case):
    for other in (copy.copy(case.cell), copy.deepcopy(case.cell), pickle.loads(pickle.dumps(case.cell))):
        assert other == case.cell and hash(other) == hash(case.cell)
    assert jax.tree.leaves(case.cell) == []  # a static pytree: no arrays inside


@pytest.mark.parametrize("make", [jrnn.elman, jrnn.lstm, jrnn.gru, jrnn.linear, jrnn.dense])
def test_equal_configurations_are_equal(make):
    assert make(3) == make(3) and hash(make(3)) == hash(make(3))
    assert make(3) == make(np.int64(3)) and repr(make(3)) == repr(make(np.int64(3)))
    spellings = [jnp.float32, "float32", np.float32, np.dtype("float32"), jnp.dtype(jnp.float32)]
    assert len({make(3, dtype=dtype) for dtype in spellings}) == 1
    assert len({make(3, dtype=dtype) for dtype in (jnp.bfloat16, "bfloat16", jnp.dtype("bfloat16"))}) == 1
    assert make(3, dtype=float) == make(3, dtype="float64")


def test_names_are_the_functions_they_stand_for():
    assert jrnn.elman(3, w_rec="orthogonal") == jrnn.elman(3, w_rec=initializers.orthogonal()) == jrnn.elman(3)
    assert jrnn.lstm(3, t_max=20) == jrnn.lstm(3, bias=initializers.chrono(20.0)) != jrnn.lstm(3)
    assert jrnn.gru(3, False, t_max=20) == jrnn.gru(3, False, bias=initializers.chrono(20.0))
    assert jrnn.lstm(3, bias="unit_forget") == jrnn.lstm(3, bias=initializers.forget_bias(1.0)) == jrnn.lstm(3)
    again = jrnn.from_functions(init=leaky_init, initial_state=leaky_start, step=leaky_step, output=leaky_output)
    assert again == OWN
    assert jrnn.Bidirectional(jrnn.gru(2)) == jrnn.Bidirectional(jrnn.gru(2), jrnn.gru(2))


def test_cells_are_immutable():
    with pytest.raises(AttributeError):
        jrnn.elman(3).hidden = 4


def test_an_argument_of_jit_is_traced_once_for_equal_cells():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(cell, params, xs):
        return jrnn.unroll(cell, params, xs).outputs

    cells = [jrnn.stack(jrnn.elman(3, dtype=d), jrnn.layer_norm(jrnn.gru(2, dtype=d))) for d in ("float32", np.float32)]
    params, xs = cells[0].init(jax.random.key(0), 2), jnp.ones((5, 2))
    np.testing.assert_array_equal(run(cells[0], params, xs), run(cells[1], params, xs))
    with pytest.raises(AssertionError, match="traced"):  # another cell does need another trace
        other = jrnn.stack(cells[0].cells[0], jrnn.layer_norm(jrnn.gru(2, reset_after=False, dtype="float32")))
        run(other, other.init(jax.random.key(0), 2), xs)


def test_closed_over_and_as_argument_alike():
    cell = jrnn.lstm(3)
    params, x = cell.init(jax.random.key(0), 2), jnp.ones(2)
    state = cell.initial_state(params, ())
    closed = jax.jit(lambda params, state, x: cell.step(params, state, x))(params, state, x)
    given = jax.jit(lambda cell, params, state, x: cell.step(params, state, x))(jrnn.lstm(3), params, state, x)
    jax.tree.map(np.testing.assert_array_equal, closed, given)
    # and out again, as part of a result
    assert jax.jit(lambda cell: (cell, 1.0))(cell)[0] == cell


def test_unroll_itself_traces_once_per_shape():
    """Called eagerly, over and over, with equal cells: the step's Python body runs for one trace only."""
    calls = []

    def step(params, state, x):
        calls.append(1)
        return jnp.tanh(state @ params + x)

    def cell():
        return jrnn.from_functions(initial_state=start, step=step)

    def start(params, batch_shape):
        return jnp.zeros((*batch_shape, 2))

    params = jnp.eye(2)
    jrnn.unroll(cell(), params, jnp.ones((5, 2)))
    jrnn.unroll(cell(), params, jnp.ones((5, 2)))
    traced = len(calls)
    for scale in range(3):
        jrnn.unroll(cell(), params * scale, jnp.zeros((5, 2)))
    assert len(calls) == traced
    jrnn.unroll(cell(), params, jnp.ones((6, 2)))  # another length is another program
    assert len(calls) > traced
