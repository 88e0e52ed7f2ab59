"""A user's .npz files: the task inferred, lengths, lags, and every fault by its message."""

import numpy as np
import pytest

from jrnn.data import load
from jrnn.types import InputError

CASES, T = 40, 12
RNG = np.random.default_rng(0)
X = RNG.normal(size=(CASES, T, 3))


def saved(folder, **arrays):
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("y", "task", "outputs", "shape"),
    [
        (np.arange(CASES) % 4, "classify", 4, (CASES,)),
        ((np.arange(CASES) % 2).astype(np.uint8), "classify", 2, (CASES,)),
        (np.arange(CASES) % 2 == 0, "classify", 2, (CASES,)),
        (np.arange(CASES)[:, None] % 3, "classify", 3, (CASES,)),
        (np.arange(CASES * T).reshape(CASES, T) % 5, "classify_each", 5, (CASES, T)),
        (np.linspace(0, 1, CASES), "regress", 1, (CASES, 1)),
        (np.ones((CASES, 7)), "regress", 7, (CASES, 7)),
        (np.ones((CASES, 1)), "regress", 1, (CASES, 1)),
        (np.ones((CASES, T)), "regress_each", 1, (CASES, T, 1)),
        (np.ones((CASES, T, 2), np.float16), "regress_each", 2, (CASES, T, 2)),
    ],
)
def test_task_from_targets(tmp_path, y, task, outputs, shape):
    data = load(str(saved(tmp_path, x=X, y=y)))
    assert (data.task, data.outputs, data.y.shape) == (task, outputs, shape)
    assert data.y.dtype == (np.int32 if task.startswith("classify") else np.float32)
    np.testing.assert_array_equal(data.y.ravel(), y.ravel().astype(np.float32))
    np.testing.assert_array_equal(data.x, X.astype(np.float32))
    assert data.name == "mine.npz" and data.lengths is None
    assert sorted([*data.train, *data.test]) == list(range(CASES)) and len(data.test) == 8
    other = load(tmp_path / "mine.npz", seed=1)
    assert not np.array_equal(other.test, data.test)


@pytest.mark.parametrize(
    ("y", "inferred"),
    [
        (np.arange(CASES) % 2, "classification into 2 classes"),
        (np.arange(CASES * T).reshape(CASES, T) % 5, "classification of each step into 5 classes"),
        (np.arange(CASES) % 2 * 1.0, "regression of 1 number per sequence; store y as integers to classify"),
        (np.linspace(0, 1, CASES), "regression of 1 number per sequence"),
        (np.ones((CASES, 7)), "regression of 7 numbers per sequence"),
        (np.ones((CASES, T)), "regression of 1 number at each step; store y as integers to classify"),
        (np.full((CASES, T, 2), 0.5), "regression of 2 numbers at each step"),
    ],
)
def test_the_source_says_what_was_inferred(tmp_path, y, inferred):
    assert load(saved(tmp_path, x=X, y=y)).source == f"The arrays of mine.npz: {inferred}."


def test_lengths_of_zero_take_no_part_in_the_lag(tmp_path):
    lengths = np.where(np.arange(CASES) < 25, 0, 9)
    x = np.where(lengths[:, None, None] == 0, np.nan, X)
    data = load(saved(tmp_path, x=x, y=np.arange(CASES) % 2, lengths=lengths))
    assert data.lag == 8 and (data.lengths == lengths).all() and np.isfinite(data.x).all()
    symbols = np.random.default_rng(0).integers(0, 4, (600, T))
    y = np.roll(symbols, 5, axis=1)
    lengths = np.tile([0, T], 300)
    assert load(saved(tmp_path, x=np.eye(4)[symbols], y=y, lengths=lengths)).lag == 5
    wave = np.sin(2 * np.pi * np.arange(41) / 12 + np.random.default_rng(0).uniform(0, 6, (600, 1)))
    assert load(saved(tmp_path, x=wave[:, :-1], y=wave[:, 1:], lengths=np.tile([0, 40], 300))).lag == 12


def test_two_axes_are_one_feature_and_other_arrays_are_ignored(tmp_path):
    data = load(saved(tmp_path, x=np.arange(CASES * T).reshape(CASES, T), y=np.arange(CASES) % 2, note=np.array("hi")))
    assert data.x.shape == (CASES, T, 1) and data.x.dtype == np.float32
    assert data.lag == T - 1


def test_one_step(tmp_path):
    data = load(saved(tmp_path, x=np.ones((CASES, 1)), y=np.arange(CASES) % 2))
    assert data.lag == 0
    assert load(saved(tmp_path, x=np.ones((CASES, 1)), y=np.ones((CASES, 1)))).task == "regress_each"
    assert load(saved(tmp_path, x=np.ones((CASES, 1)), y=np.arange(CASES)[:, None] % 2)).task == "classify_each"


def test_two_cases(tmp_path):
    data = load(saved(tmp_path, x=X[:2], y=np.array([0, 1])))
    assert len(data.train) == len(data.test) == 1


def test_variable_lengths_as_in_spoken_vowels(tmp_path):
    rng = np.random.default_rng(3)
    cases, steps = 270, 29
    lengths = rng.integers(7, steps + 1, cases)
    x = rng.normal(size=(cases, steps, 12))
    for case in range(cases):
        x[case, lengths[case] :] = np.nan
    data = load(saved(tmp_path, x=x, y=np.arange(cases) // 30, lengths=lengths))
    assert data.x.shape == (cases, steps, 12) and data.outputs == 9
    assert np.isfinite(data.x).all()
    for case in range(cases):
        assert (data.x[case, lengths[case] :] == 0).all()
    np.testing.assert_array_equal(data.lengths, lengths)
    assert data.lag == int(np.median(lengths)) - 1 and "median" in data.lag_reason
    for label in range(9):
        assert (data.y[data.test] == label).sum() == 6


def test_lag_of_labels_at_each_step(tmp_path):
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 4, (300, T))
    y = np.roll(symbols, 5, axis=1)
    y[:, :5] = 0
    assert load(saved(tmp_path, x=np.eye(4)[symbols], y=y)).lag == 5
    data = load(saved(tmp_path, x=rng.normal(size=(300, T, 4)), y=y))
    assert data.lag == T - 1 and "not one-hot" in data.lag_reason


def test_lag_of_numbers_at_each_step(tmp_path):
    phase = np.random.default_rng(0).uniform(0, 6, (100, 1))
    x = np.sin(2 * np.pi * np.arange(40) / 12 + phase)
    assert load(saved(tmp_path, x=x[:, :-1], y=x[:, 1:])).lag == 12


def test_padded_labels(tmp_path):
    y = np.tile([0, 1] * (T // 2), (CASES, 1))
    y[:, 4:] = -1
    data = load(saved(tmp_path, x=X, y=y, lengths=np.full(CASES, 4)))
    assert data.outputs == 2 and (data.y[:, 4:] == 0).all()


def nan_at(case, time, feature):
    x = X.copy()
    x[case, time, feature] = np.nan
    return x


LABELS = np.arange(CASES) % 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "--data: got mine.npz with x; need the array y too"),
        ({"inputs": X, "labels": LABELS}, "--data: got mine.npz with inputs, labels; need the array x and y too"),
        ({}, "--data: got mine.npz with no arrays; need the array x and y"),
        ({"x": np.ones(5), "y": np.ones(5)}, "x: got a float64 array of shape [5]; need the axes [cases, time, feat"),
        ({"x": np.ones((1, T)), "y": np.ones(1)}, "x: got 1 case; need at least 2"),
        ({"x": np.ones((0, T)), "y": np.ones(0)}, "x: got a float64 array of shape [0, 12, 1]; need at least one"),
        ({"x": np.ones((CASES, 0)), "y": LABELS}, "x: got a float64 array of shape [40, 0, 1]; need at least one"),
        ({"x": X.astype(str), "y": LABELS}, "x: got a text array"),
        ({"x": X + 1j, "y": LABELS}, "x: got a complex128 array"),
        ({"x": X > 0, "y": LABELS}, "x: got a bool array"),
        ({"x": X.astype(object), "y": LABELS}, "x: got Python objects; need an array of numbers"),
        ({"x": X, "y": LABELS.astype(object)}, "y: got Python objects"),
        ({"x": X, "y": LABELS[:-1].astype(str)}, "y: got a text array of shape [39]; need for 40 cases of 12 steps"),
        ({"x": nan_at(7, 3, 1), "y": LABELS}, "x: got nan at case 7, time 3, feature 1"),
        ({"x": X, "y": LABELS[:-1]}, "y: got an int64 array of shape [39]; need for 40 cases of 12 steps"),
        ({"x": X, "y": np.full((CASES, T, 2), 2)}, "y: got an int64 array of shape [40, 12, 2]"),
        ({"x": X, "y": np.full((CASES, 3), 2)}, "y: got an int64 array of shape [40, 3]"),
        ({"x": X, "y": np.ones((CASES, 3, 2))}, "y: got a float64 array of shape [40, 3, 2]"),
        ({"x": X, "y": np.ones((CASES, 0))}, "y: got a float64 array of shape [40, 0]"),
        ({"x": X, "y": np.float64(3)}, "y: got a float64 array of shape []"),
        ({"x": X, "y": np.full(CASES, np.nan)}, "y: got nan at case 0, output 0"),
        ({"x": X, "y": LABELS - 1}, "y: got label -1 at case 0"),
        ({"x": X, "y": LABELS * 0}, "y: got the label 0 only; need labels of at least two classes"),
        ({"x": X, "y": LABELS * 10**9}, "y: got label 1000000000; need labels below 10000"),
        ({"x": X, "y": LABELS, "lengths": np.full(CASES, T + 1)}, "lengths: got 13 at case 0; need 0 to 12"),
        ({"x": X, "y": LABELS, "lengths": np.full(CASES, -1)}, "lengths: got -1 at case 0"),
        ({"x": X, "y": LABELS, "lengths": LABELS * 0}, "lengths: got 0 for every case; need at least one case with"),
        ({"x": X, "y": LABELS, "lengths": np.ones(3, int)}, "lengths: got an int64 array of shape [3]"),
    ],
)
def test_refusals(tmp_path, arrays, message):
    with pytest.raises(InputError) as caught:
        load(saved(tmp_path, **arrays))
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00"])
def test_unreadable_files(tmp_path, content):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="--data: got broken.npz, which cannot be read"):
        load(path)


def test_damaged_and_mislabelled_files(tmp_path):
    path = saved(tmp_path, x=X, y=LABELS)
    whole = path.read_bytes()
    for start in range(0, len(whole), 997):
        path.write_bytes(whole[:start] + bytes(255 - byte for byte in whole[start : start + 40]) + whole[start + 40 :])
        with pytest.raises(InputError):
            load(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        load(path)
    np.save(tmp_path / "single.npy", X)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(InputError, match="--data: got single.npz, which is a single array"):
        load(tmp_path / "single.npz")
