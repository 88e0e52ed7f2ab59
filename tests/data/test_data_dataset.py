"""`Dataset`: what it keeps, what it converts, and every refusal by its message."""

import dataclasses

import numpy as np
import pytest

from jrnn.data import Dataset
from jrnn.types import InputError

CASES, T, F = 6, 5, 2


def fields(**changes):
    rng = np.random.default_rng(0)
    base = {
        "name": "made",
        "x": rng.normal(size=(CASES, T, F)),
        "y": np.array([0, 1, 2, 0, 1, 2]),
        "lengths": None,
        "task": "classify",
        "outputs": 3,
        "train": [0, 1, 2, 3],
        "test": [4, 5],
        "lag": 4,
        "lag_reason": "made",
        "source": "made",
    }
    return base | changes


def changed(name, index, value, **others):
    array = fields(**others)[name].copy()
    array[index] = value
    return array


def test_types_and_subset():
    given = fields(lengths=np.array([5, 4, 3, 2, 1, 5]))
    data = Dataset(**given)
    assert data.x.dtype == np.float32 and data.y.dtype == np.int32 and data.lengths.dtype == np.int32
    part = data.subset(data.test)
    assert sorted(part) == ["lengths", "x", "y"]
    np.testing.assert_array_equal(part["x"][1], given["x"][5].astype(np.float32))
    np.testing.assert_array_equal(part["y"], [1, 2])
    np.testing.assert_array_equal(part["lengths"], [1, 5])
    part["x"][:] = 7
    assert not (data.x == 7).any()
    assert sorted(Dataset(**fields()).subset([0])) == ["x", "y"]
    assert len(data.subset([])["x"]) == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.lag = 2


def test_integers_are_converted_and_the_given_arrays_stay():
    x = np.arange(CASES * T * F).reshape(CASES, T, F)
    kept = x.copy()
    data = Dataset(**fields(x=x, lengths=np.full(CASES, 2)))
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(data.x[:, :2], kept[:, :2].astype(np.float32))
    assert (data.x[:, 2:] == 0).all()


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e300])
def test_padding_is_set_to_zero(padding):
    lengths = np.array([5, 4, 3, 2, 1, 5])
    x, y = fields()["x"], np.zeros((CASES, T, 1))
    for case, length in enumerate(lengths):
        x[case, length:] = padding
        y[case, length:] = padding
    data = Dataset(**fields(x=x, y=y, task="regress_each", outputs=1, lengths=lengths))
    for case, length in enumerate(lengths):
        assert (data.x[case, length:] == 0).all() and (data.y[case, length:] == 0).all()
        np.testing.assert_array_equal(data.x[case, :length], x[case, :length].astype(np.float32))


def test_label_padding_is_set_to_zero():
    y = np.full((CASES, T), -1)
    y[:, 0] = 2
    data = Dataset(**fields(y=y, task="classify_each", lengths=np.ones(CASES, int)))
    np.testing.assert_array_equal(data.y[0], [2, 0, 0, 0, 0])


def test_one_step_has_lag_zero():
    assert Dataset(**fields(x=np.ones((CASES, 1, F)), lag=0)).lag == 0


def test_length_zero_is_all_padding():
    data = Dataset(**fields(x=changed("x", 4, np.nan), lengths=np.array([5, 4, 3, 2, 0, 0])))
    assert (data.x[4:] == 0).all() and list(data.lengths[4:]) == [0, 0]


BAD = [
    ({"x": np.ones((CASES, T))}, "x: got a float64 array of shape [6, 5]; need the axes [cases, time, features]"),
    ({"x": np.ones((CASES, 0, F))}, "x: got a float64 array of shape [6, 0, 2]; need at least one of each"),
    ({"x": np.ones((0, T, F))}, "x: got a float64 array of shape [0, 5, 2]; need at least one of each"),
    ({"x": np.ones((CASES, T, 0))}, "x: got a float64 array of shape [6, 5, 0]; need at least one of each"),
    ({"x": np.ones((CASES, T, F), bool)}, "x: got a bool array of shape [6, 5, 2]; need real numbers"),
    ({"x": np.ones((CASES, T, F), complex)}, "x: got a complex128 array"),
    ({"x": np.ones((CASES, T, F)).astype(object)}, "x: got a Python object array"),
    ({"x": np.ones((CASES, T, F)).astype(str)}, "x: got a text array"),
    ({"x": [[1.0], [1.0, 2.0]]}, "x: got list ("),
    ({"x": changed("x", (3, 2, 1), np.nan)}, "x: got nan at case 3, time 2, feature 1 (1 such in all); need finite"),
    ({"x": changed("x", (3, 2, 1), -np.inf)}, "x: got -inf at case 3, time 2, feature 1"),
    ({"x": changed("x", (0, 0, 0), 1e300)}, "x: got 1e+300 at case 0, time 0, feature 0"),
    (
        {"x": changed("x", (3, 2, 1), np.nan), "lengths": np.array([5, 5, 5, 3, 5, 5])},
        "x: got nan at case 3, time 2, feature 1",
    ),
    (
        {"task": "sort"},
        "task: got 'sort'; need one of classify, classify_each, label, label_each, regress, regress_each",
    ),
    ({"outputs": 1}, "outputs: got 1; need a whole number of at least 2 to classify"),
    ({"outputs": 2.5}, "outputs: got 2.5"),
    ({"outputs": True}, "outputs: got True"),
    ({"y": np.zeros(5, int)}, "y: got an int64 array of shape [5]; need integers of shape [6] (one label a case)"),
    ({"y": np.zeros(CASES)}, "y: got a float64 array of shape [6]; need integers"),
    ({"y": np.array([0, 1, -2, 0, 1, 2])}, "y: got label -2 at case 2; need labels 0 to 2"),
    ({"y": np.array([0, 1, 3, 0, 1, 2])}, "y: got label 3 at case 2; need labels 0 to 2"),
    ({"y": np.zeros((6, 4), int), "task": "classify_each"}, "need integers of shape [6, 5] (one label a step)"),
    (
        {"y": changed("y", (1, 4), -1, y=np.zeros((6, 5), int)), "task": "classify_each"},
        "y: got label -1 at case 1, time 4",
    ),
    ({"y": np.zeros(CASES), "task": "regress"}, "y: got a float64 array of shape [6]; need the axes [cases, outputs]"),
    ({"y": np.zeros((6, 2)), "task": "regress"}, "y: got a float64 array of shape [6, 2]; need shape [6, 3]"),
    ({"y": np.full((6, 3), np.nan), "task": "regress"}, "y: got nan at case 0, output 0 (18 such in all)"),
    ({"y": np.zeros((6, 4, 3)), "task": "regress_each"}, "need shape [6, 5, 3] to fit x and outputs"),
    (
        {"y": changed("y", (2, 1, 0), np.nan, y=np.zeros((6, 5, 3))), "task": "regress_each"},
        "y: got nan at case 2, time 1, output 0",
    ),
    ({"lengths": np.array([5, 5, 6, 5, 5, 5])}, "lengths: got 6 at case 2; need 0 to 5"),
    ({"lengths": np.array([5, 5, 5, -1, 5, 5])}, "lengths: got -1 at case 3; need 0 to 5"),
    ({"lengths": np.zeros(6, int)}, "lengths: got 0 for every case; need at least one case with a step"),
    (
        {"test": [4, 5], "lengths": np.array([5, 5, 5, 5, 0, 0]), "task": "classify_each", "y": np.ones((6, 5), int)},
        "test: got cases of length 0 only; need at least one step to answer at",
    ),
    ({"lengths": np.array([5, 5])}, "lengths: got an int64 array of shape [2]; need integers of shape [6]"),
    ({"lengths": np.full(6, 5.0)}, "lengths: got a float64 array"),
    ({"train": []}, "train: got no cases; need at least one"),
    ({"test": []}, "test: got no cases"),
    ({"train": [0, 0, 1]}, "train: got a case named twice"),
    ({"train": [0, 6]}, "train: got 6 at position 1; need case numbers 0 to 5"),
    ({"test": [-1]}, "test: got -1 at position 0"),
    ({"test": [4.0]}, "test: got a float64 array"),
    ({"test": [3, 4]}, "test: got case 3, which is in train too"),
    ({"lag": 0}, "lag: got 0; need a whole number from 1 to 4, for T = 5"),
    ({"lag": 5}, "lag: got 5; need a whole number from 1 to 4"),
    ({"lag": 2.0}, "lag: got 2.0"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_refusals(changes, message):
    with pytest.raises(InputError) as caught:
        Dataset(**fields(**changes))
    assert message in str(caught.value)
    assert caught.value.argument in changes


@pytest.mark.parametrize("indices", [[6], [-1], [0.5], 3, "all", [[0]], [True, False]])
def test_subset_refuses(indices):
    with pytest.raises(InputError, match="^indices: got"):
        Dataset(**fields()).subset(indices)
