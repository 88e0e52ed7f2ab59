"""The splits, and the windows of a series rebuilt with a plain loop."""

import numpy as np
import pytest

from jrnn.data.series import forecast_windows, window_length
from jrnn.data.splits import chronological_starts, random_split
from jrnn.types import InputError


@pytest.mark.parametrize("cases", [2, 3, 5, 37, 1000])
@pytest.mark.parametrize("labelled", [False, True])
def test_random_split_is_disjoint_complete_and_seeded(cases, labelled):
    labels = np.arange(cases) * 3 // cases if labelled else None
    train, test = random_split(cases, 7, labels)
    assert sorted([*train, *test]) == list(range(cases))
    assert len(test) >= 1 and abs(len(test) - cases / 5) <= 1
    again = random_split(cases, 7, labels)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(test, again[1])
    if cases > 10:
        assert not np.array_equal(test, random_split(cases, 8, labels)[1])
        assert not np.array_equal(train, np.sort(train))


def test_random_split_takes_a_fifth_of_each_class():
    labels = np.repeat([0, 1, 2, 3], [500, 53, 11, 200])
    _, test = random_split(len(labels), 0, labels)
    for label in range(4):
        assert abs((labels[test] == label).sum() - (labels == label).sum() / 5) <= 1


def test_the_split_of_a_saved_model_is_the_same_for_ever():
    """`jrnn diagnose --model` makes it again from the seed: another rule would hold out what it was trained on."""
    for labels, train, test in (
        (np.repeat([0, 1, 2], 4), [4, 9, 6, 10, 7, 2, 0, 8, 1, 11], [5, 3]),
        (None, [1, 9, 3, 2, 8, 0, 4, 5, 6, 11], [7, 10]),
    ):
        found = random_split(12, 7, labels)
        assert [part.tolist() for part in found] == [train, test]


def test_one_case_cannot_be_split():
    with pytest.raises(InputError, match="x: got 1 case; need at least 2"):
        random_split(1, 0)


@pytest.mark.parametrize(("steps", "window", "limit"), [(309, 44, 4000), (41, 20, 10), (42, 20, 10), (5000, 64, 300)])
def test_chronological_windows_do_not_leak(steps, window, limit):
    train, test, boundary = chronological_starts(steps, window, limit)
    asked_in_test = set()
    for start in test:
        targets = [start + step + 1 for step in range(window)]
        assert 0 <= start and targets[-1] < steps
        asked_in_test |= set(targets)
    touched_in_training = set()
    for start in train:
        assert start >= 0
        touched_in_training |= {start + step for step in range(window + 1)}
    assert not asked_in_test & touched_in_training
    assert max(touched_in_training) < boundary <= min(asked_in_test)
    assert len(train) + len(test) <= limit
    assert len(set(train)) == len(train) and len(set(test)) == len(test)
    assert train[0] == 0 and (len(test) == 1 or max(asked_in_test) == steps - 1)
    if steps > 300:
        assert abs(len(test) / (len(train) + len(test)) - 0.2) < 0.01


def test_forecast_windows_match_a_plain_loop():
    rng = np.random.default_rng(1)
    values = np.stack([np.sin(np.arange(200) * 0.7), rng.normal(3, 2, 200), np.full(200, 0.1)], axis=1)
    data = forecast_windows("made", values, "made", window=10)
    train, test, boundary = chronological_starts(200, 10, 4000)
    mean, std = np.zeros(3), np.zeros(3)
    for column in range(3):
        seen = [values[step, column] for step in range(boundary)]
        mean[column] = sum(seen) / boundary
        std[column] = (sum((value - mean[column]) ** 2 for value in seen) / boundary) ** 0.5
    std[2] = 1
    for case, start in enumerate([*train, *test]):
        for step in range(10):
            np.testing.assert_allclose(data.x[case, step], (values[start + step] - mean) / std, atol=1e-5)
            np.testing.assert_allclose(data.y[case, step], (values[start + step + 1] - mean) / std, atol=1e-5)
    np.testing.assert_array_equal(data.train, range(len(train)))
    np.testing.assert_array_equal(data.test, range(len(train), len(train) + len(test)))
    assert data.task == "regress_each" and data.outputs == 3
    assert np.abs(data.x[:, :, 2]).max() < 1e-6


def test_later_values_do_not_change_the_training_part():
    values = np.random.default_rng(2).normal(size=(300, 1))
    other = values.copy()
    _, _, boundary = chronological_starts(300, window_length(300, None), 4000)
    other[boundary:] = 1000
    a, b = forecast_windows("a", values, ""), forecast_windows("b", other, "")
    np.testing.assert_array_equal(a.subset(a.train)["x"], b.subset(b.train)["x"])
    np.testing.assert_array_equal(a.subset(a.train)["y"], b.subset(b.train)["y"])
    assert a.lag == b.lag


@pytest.mark.parametrize(("window", "horizon"), [(None, 1), (None, 90), (30, 1), (30, 100)])
def test_the_period_is_found_before_the_boundary(window, horizon):
    """A cycle that begins at the boundary changes nothing but what is scaled after it."""
    values = np.random.default_rng(2).normal(size=(300, 1))
    size = forecast_windows("a", values, "", window, horizon=horizon).x.shape[1]
    boundary = chronological_starts(300, size, 4000, horizon)[2]
    other = values.copy()
    other[boundary:, 0] += 50 * np.sin(np.arange(300 - boundary) * 2 * np.pi / 5)
    a, b = (forecast_windows("a", each, "", window, horizon=horizon) for each in (values, other))
    assert (a.x.shape, a.lag, a.lag_reason, a.warmup) == (b.x.shape, b.lag, b.lag_reason, b.warmup)
    with pytest.raises(InputError, match="^--horizon: got 300, beside windows of|^--data: got a with 300 steps"):
        forecast_windows("a", values, "", window, horizon=300)


def test_a_model_is_asked_for_its_own_lag_on_new_data():
    """The same file again, and one with another cycle: lag, reason and warm-up are those of training."""
    time = np.arange(300.0)
    old, new = (np.sin(2 * np.pi * time / period)[:, None] for period in (12, 7))
    data = forecast_windows("a", old, "", horizon=3)
    assert data.lag == data.warmup == 12
    for values in (old, new, old[:150]):
        again = forecast_windows("a", values, "", like=data.series)
        assert (again.lag, again.lag_reason, again.warmup) == (data.lag, data.lag_reason, data.warmup)
        assert again.series == data.series and again.x.shape[1] == data.x.shape[1]


def test_many_steps_are_thinned_out():
    data = forecast_windows("made", np.random.default_rng(3).normal(size=(30_000, 1)), "made")
    assert len(data.x) <= 4000 and data.x.shape[1] == 64
