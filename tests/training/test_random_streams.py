"""The random numbers of a run are those of every version before, so that old runs resume with the same bits."""

import jax
import numpy as np
import pytest
from helpers import cases

import jrnn
from jrnn.training import Objective
from jrnn.training.batches import Cases
from jrnn.training.fit_step import step_keys
from jrnn.training.random_streams import RandomStream, stream_key
from jrnn.training.training_step import TrainingStep
from jrnn.training.weights import initial_weights

PINNED = {
    "PARAMS": ([3625411723, 1954958720], [3138182779, 3994207322]),
    "HEAD": ([195045567, 4062205631], [2645361454, 4044176579]),
    "BATCHES": ([966301609, 1948237315], [2380753930, 2002213571]),
    "NOISE": ([276534068, 1641862660], [2494649705, 475266033]),
    "TANGENTS": ([51277378, 3088387524], [1920670888, 3366089766]),
    "PENALTIES": ([3583082021, 1947592014], [1400128608, 1700204917]),
}
"""The key of each stream for seed 7, and the key of its step 3."""


@pytest.mark.parametrize("name", PINNED)
def test_the_keys_of_a_stream_never_change(name):
    stream = RandomStream[name]
    for key, pinned in zip((stream_key(7, stream), stream_key(7, stream, 3)), PINNED[name], strict=True):
        assert np.asarray(jax.random.key_data(key)).tolist() == pinned


def test_each_draw_of_a_run_is_from_its_stream():
    cell, objective = jrnn.dropout(jrnn.elman(4), outputs=0.5), Objective("classify", 3)
    data = cases(8, lengths=False)
    source = Cases(data, objective, 8, seed=7)
    drawn = np.asarray(source.batch(source.arguments(0))["x"])[0]
    np.testing.assert_array_equal(drawn, data["x"][[7, 3, 6, 4, 5, 1, 0, 2], 0])
    weights = initial_weights(cell, objective, None, None, source.batch(source.arguments(0)), 7)
    of_cell, of_head = (stream_key(7, stream) for stream in (RandomStream.PARAMS, RandomStream.HEAD))
    np.testing.assert_array_equal(weights["cell"]["w_in"], cell.init(of_cell, 3)["w_in"])
    np.testing.assert_array_equal(weights["loss"]["w"], objective.init(of_head, 4)["w"])
    keys = step_keys(TrainingStep(cell, objective, None), 7, 3)
    assert np.asarray(jax.random.key_data(keys.noise)).tolist() == PINNED["NOISE"][1] and keys.penalties is None
    assert step_keys(TrainingStep(jrnn.elman(4), objective, None), 7, 3).noise is None
