"""Bad input to `unroll`: refused with the argument's name, what was given and what is needed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrnn.cells import elman, from_functions, lstm
from jrnn.types import InputError
from jrnn.unrolling import unroll, value_and_grads

from .brute_force import inputs, make

CELL, PARAMS = make("lstm")
XS = inputs("lstm", 4, (3,))
START = CELL.initial_state(PARAMS, (3,))


def refused(argument, *pieces, xs=XS, cell=CELL, params=PARAMS, **options):
    with pytest.raises(InputError) as error:
        unroll(cell, params, xs, **options)
    message = str(error.value)
    assert error.value.argument == argument, message
    assert re.match(rf"{argument}: got .+; need .+", message), message
    for piece in pieces:
        assert piece in message, message


BAD = {
    "too few axes": ("xs", ["(4,)", "[T, *B, 1 feature axes]"], {"xs": np.zeros(4)}),
    "no axes": ("xs", ["[T, *B, F]"], {"xs": np.zeros(())}),
    "nested lists": ("xs", ["24 numbers", "arrays (not lists)"], {"xs": XS.tolist()}),
    "text": ("xs", ["'abc'", "array"], {"xs": "abc"}),
    "feature size": ("xs", ["(3, 5)", "2 features"], {"xs": np.zeros((4, 3, 5))}),
    "integers": ("xs", ["int64", "floating-point"], {"xs": np.zeros((4, 3, 2), int)}),
    "no length": ("length", ["None", "T >= 0"], {"xs": None}),
    "negative length": ("length", ["-1", "T >= 0"], {"xs": None, "length": -1}),
    "fractional length": ("length", ["2.5", "T >= 0"], {"xs": None, "length": 2.5}),
    "other length": ("length", ["5", "4"], {"length": 5}),
    "too long": ("lengths", ["5 at (1,)", "0 to T = 4"], {"lengths": np.array([4, 5, 0])}),
    "negative": ("lengths", ["-1 at (2,)", "0 to T = 4"], {"lengths": [4, 4, -1]}),
    "float lengths": ("lengths", ["float64", "integers"], {"lengths": np.ones(3)}),
    "one length": ("lengths", ["()", "(3,)"], {"lengths": 4}),
    "lengths of others": ("lengths", ["(2,)", "(3,)"], {"lengths": np.array([1, 2])}),
    "resets without batch": ("resets", ["(4,)", "(4, 3)"], {"resets": np.zeros(4, bool)}),
    "float resets": ("resets", ["float64", "bool"], {"resets": np.zeros((4, 3))}),
    "mask batch first": ("mask", ["(3, 4)", "(4, 3)"], {"mask": np.zeros((3, 4), bool)}),
    "float mask": ("mask", ["float64", "bool"], {"mask": np.full((4, 3), 0.5)}),
    "bare array": ("initial_state", ["float64[3, 2]", "LSTMState(h=float64[3, 2], c="], {"initial_state": START.h}),
    "bare tuple": ("initial_state", ["(float64", "LSTMState(h="], {"initial_state": tuple(START)}),
    "state of one": (
        "initial_state",
        ["LSTMState(h=float64[2],", "LSTMState(h=float64[3, 2],"],
        {"initial_state": CELL.initial_state(PARAMS, ())},
    ),
    "state text": ("initial_state", ["'zeros'"], {"initial_state": "zeros"}),
    "reset state": ("reset_state", ["float64[3, 2]", "LSTMState("], {"reset_state": START.c}),
    "tap shape": ("state_tap", ["float64[3, 2]", "float64[5, 3, 2]"], {"state_tap": START}),
    "remat word": ("remat", ["'all'", "'sqrt'"], {"remat": "all"}),
    "remat 0": ("remat", ["0", "'sqrt'"], {"remat": 0}),
    "remat float": ("remat", ["1.5", "'sqrt'"], {"remat": 1.5}),
    "truncate 0": ("truncate", ["0", "positive"], {"truncate": 0}),
    "truncate float": ("truncate", ["2.0", "positive"], {"truncate": 2.0}),
    "truncate bool": ("truncate", ["True", "positive"], {"truncate": True}),
    "unroll 0": ("unroll", ["0", "positive"], {"unroll": 0}),
    "unroll none": ("unroll", ["None", "positive"], {"unroll": None}),
    "time_axis -1": ("time_axis", ["-1", "non-negative"], {"time_axis": -1}),
    "time_axis 5": ("time_axis", ["5", "(4, 3, 2)"], {"time_axis": 5}),
    "time_axis text": ("time_axis", ["'batch'", "non-negative"], {"time_axis": "batch"}),
    "seed": ("key", ["3", "jax.random.key"], {"key": 3}),
    "a constructor": ("cell", ["function", "jrnn.lstm(64)"], {"cell": lstm}),
    "a class": ("cell", ["LSTM", "jrnn.lstm(64)"], {"cell": type(CELL)}),
    "no cell": ("cell", ["NoneType", "jrnn.lstm(64)"], {"cell": None}),
}


@pytest.mark.parametrize("case", list(BAD))
def test_refused(case):
    argument, pieces, options = BAD[case]
    refused(argument, *pieces, **options)


def test_leaves_of_different_length_or_batch():
    cell, params = make("pair")
    good = inputs("pair", 4, (3,))
    refused("xs", "(4, 3, 1)", "(3, 3, 2)", cell=cell, params=params, xs=good | {"value": good["value"][:3]})
    refused("xs", "(4, 3, 1)", "(4, 2, 2)", cell=cell, params=params, xs=good | {"value": good["value"][:, :2]})


def cell_with(step, start=jnp.zeros):
    return from_functions(initial_state=lambda params, batch: start((*batch, 2)), step=step)


def test_a_step_that_changes_its_state():
    xs = np.ones((3, 2))
    for step, piece in (
        (lambda p, h, x: (h + x).astype(jnp.float32), "float32[2]"),
        (lambda p, h, x: jnp.concatenate([h, x]), "float64[4]"),
        (lambda p, h, x: (h, x), "(float64[2], float64[2])"),
    ):
        refused("cell", "float64[2]", piece, "keeps the state's type", cell=cell_with(step), params=None, xs=xs)


def test_an_initial_state_without_its_batch():
    cell = from_functions(initial_state=lambda params, batch: jnp.zeros(2), step=lambda p, h, x: h + x)
    refused("cell", "float64[2]", "batch shape (5,)", cell=cell, params=None, xs=np.ones((3, 5, 2)))


def test_lengths_are_checked_inside_jit_where_they_are_known():
    lengths = np.array([1, 2, 9])
    with pytest.raises(InputError, match="lengths: got 9"):
        jax.jit(lambda p: unroll(CELL, p, XS, lengths=lengths).last)(PARAMS)
    with pytest.raises(InputError, match="lengths: got 9"):
        value_and_grads(CELL, PARAMS, XS, lambda u: jnp.sum(u.last), lengths=lengths)
    with pytest.raises(InputError, match="lengths: got 9"):
        jax.grad(lambda p: jnp.sum(unroll(CELL, p, XS, lengths=jnp.asarray(lengths)).last))(PARAMS)


def test_numpy_integers_are_counts():
    cell, params = elman(2), make(elman(2))[1]
    two = np.int64(2)
    out = unroll(cell, params, XS, truncate=two, remat=two, unroll=two, time_axis=np.int64(0))
    assert out.outputs.shape == (4, 3, 2)
    assert unroll(cell, make(elman(2), 0)[1], None, length=two).outputs.shape == (2, 2)


def test_flags_as_lists_and_the_batch_of_an_autonomous_run(key):
    """Lists of flags on any time axis; without inputs or state the mask tells the batch shape."""
    cell = elman(3)
    params = cell.init(key, 2)
    xs = jax.random.normal(key, (4, 2, 2))
    resets = [[False, True], [True, False], [False, False], [False, True]]
    first = unroll(cell, params, xs, resets=resets).outputs
    second = unroll(cell, params, jnp.swapaxes(xs, 0, 1), resets=np.array(resets).T.tolist(), time_axis=1).outputs
    np.testing.assert_array_equal(first, jnp.swapaxes(second, 0, 1))
    alone = elman(3)
    run = unroll(alone, alone.init(key, None), None, length=4, mask=np.ones((4, 5), bool))
    assert run.outputs.shape == (4, 5, 3)
    with pytest.raises(InputError, match="xs: got None; need inputs.*2 features"):
        unroll(cell, params, None, length=4)
