"""Whether shorter lags teach the long one, of tasks whose explained shares are known exactly."""

import jax
import numpy as np
import pytest

import jrnn
from jrnn.prescribing.data_lags import ALONE, SHORT, TEACH, UNKNOWN, data_lags, data_lags_of
from jrnn.prescribing.lag_samples import Samples, samples_of, samples_of_parts
from jrnn.prescribing.splitting import parts_of
from jrnn.training import Objective

CASES = 4000
P = 0.625  # of a 1 of the two-lag coin: .5 + .5 / 2 - .25 / 2
NEAR_COIN, FAR_COIN = (weight**2 / 4 / (P * (1 - P)) for weight in (0.5, 0.25))


def measured(data, lag=None):
    objective = Objective.of(data)
    parts = parts_of(data, objective, 16, 0)
    return data_lags_of(parts, objective, data.lag if lag is None else lag)


@pytest.mark.parametrize(
    "task, kind, near, whole",
    [
        (jrnn.data.adding(12), TEACH, 0.5, 1.0),  # one of two numbers of the same variance
        (jrnn.data.marked_bit(20), ALONE, 0.0, 1.0),
        (jrnn.data.latch(20), ALONE, 0.0, 1.0),
        (jrnn.data.two_lag_coin(8), SHORT, NEAR_COIN, NEAR_COIN + FAR_COIN),
        (jrnn.data.delayed_xor(9), UNKNOWN, 0.0, 0.0),  # either bit alone says nothing
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_known_answers(task, kind, near, whole):
    found = measured(task.dataset(0, cases=CASES))
    assert found.kind == kind and str(task.lag) in found.sentence
    assert found.near_interval[0] <= near <= found.near_interval[1]
    assert found.near_interval[1] - found.near_interval[0] < 0.3
    assert abs(found.whole - whole) < 0.04
    at = dict(zip(found.windows.tolist(), found.explained.tolist()))
    assert at[task.lag] == found.near and at[found.windows[-1]] == found.whole
    if kind == TEACH:
        assert abs(found.carried[0] - 0.5) < 0.1 and found.carried[1] > 0.99
    if kind == SHORT:  # nothing before the short lag, 4; the long one, 8, is in the window of 9
        assert abs(at[4]) < 0.02 and abs(at[9] - whole) < 0.04 and "need not open the way" in found.sentence


def test_sunspots():
    """A year tells most of the next one; what lies 11 years back adds nothing that can be seen."""
    dataset = jrnn.data.load("sunspots")
    objective = Objective.of(dataset)
    parts = parts_of(dataset, objective, 16, 0)
    found = data_lags_of(parts, objective, dataset.lag)
    assert parts.by_time and found.kind == SHORT and found.near > 0.5 and "adds nothing" in found.sentence
    train, held_out = samples_of_parts(parts, objective, dataset.lag)
    assert len(held_out.y) == len(np.unique(held_out.cases))
    x, y = ([s.x[s.cases, s.times, 0].astype(float) for s in (train, held_out)], [s.y[:, 0] for s in (train, held_out)])
    design = [np.stack([np.ones_like(a), a, a**2], axis=1) for a in x]
    slopes = np.linalg.lstsq(design[0], y[0], rcond=None)[0]
    alone = 1 - ((y[1] - design[1] @ slopes) ** 2).sum() / ((y[1] - y[0].mean()) ** 2).sum()
    assert found.windows[0] == 1 and abs(found.explained[0] - alone) < 3e-3


def linear(rng, cases, lag, steps, weight):
    """y = weight x at the lag + normal noise, x of variance 1: x explains weight^2 / (weight^2 + 1)."""
    x = rng.normal(size=(cases, steps, 2)).astype(np.float32)
    y = weight * x[:, steps - 1 - lag, :1] + rng.normal(size=(cases, 1))
    return Samples(x, np.arange(cases), np.full(cases, steps - 1), y)


@pytest.mark.thorough
def test_intervals_hold_the_true_share_and_noise_is_seldom_taken_for_an_answer():
    rng, inside, wrong = np.random.default_rng(0), 0, 0
    for _ in range(60):
        found = data_lags(linear(rng, 400, 2, 5, 1.0), linear(rng, 200, 2, 5, 1.0), 4)
        inside += found.near_interval[0] <= 0.5 <= found.near_interval[1]
        nothing = data_lags(linear(rng, 400, 2, 5, 0.0), linear(rng, 200, 2, 5, 0.0), 4)
        wrong += nothing.kind != UNKNOWN
    assert inside >= 56 and wrong <= 2


def test_padding_and_answers_of_short_sequences_are_left_out():
    """The last valid step asks; what is behind it, and sequences shorter than the lag, make no difference."""
    rng = np.random.default_rng(1)
    x, lengths = rng.normal(size=(900, 12, 1)).astype(np.float32), rng.integers(4, 13, 900)
    y = x[np.arange(900), lengths - 4].astype(np.float32)  # three steps before the last valid one
    inside = np.arange(12)[None, :, None] < lengths[:, None, None]
    kinds = []
    for inputs in (x, np.where(inside, x, 50.0).astype(np.float32), np.where(inside, x, np.nan).astype(np.float32)):
        data = {"x": inputs, "y": y, "lengths": lengths}
        found = data_lags_of(parts_of(data, Objective("regress", 1), 16, 0), Objective("regress", 1), 5)
        kinds.append(found.kind)
        assert dict(zip(found.windows.tolist(), found.explained.tolist()))[2] < 0.1 and found.near > 0.9
        short = data_lags_of(parts_of(data, Objective("regress", 1), 16, 0), Objective("regress", 1), 3)
        assert short.kind == ALONE
    assert kinds == [SHORT] * 3


@pytest.mark.thorough
def test_batches_of_a_function():
    task = jrnn.data.marked_bit(9)
    key = jax.random.key(0)
    draw = lambda step: task.batch(jax.random.fold_in(key, step), 100)  # noqa: E731
    found = data_lags_of(parts_of(draw, Objective.of(task), 16, 0), Objective.of(task), 9)
    assert found.kind == ALONE and found.whole > 0.99


def test_what_is_not_measured():
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(40, 6, 2)).astype(np.float32), "y": np.zeros((40, 1), np.float32)}
    few, constant = Objective("regress", 1), Objective("regress", 1)
    found = data_lags_of(parts_of(data | {"y": data["x"][:, 0, :1]}, few, 8, 0), few, 5)
    assert found.kind == UNKNOWN and "too few" in found.sentence and len(found.windows) == 0 and np.isnan(found.near)
    many = {name: np.repeat(array, 9, axis=0) for name, array in data.items()}
    assert "does not vary" in data_lags_of(parts_of(many, constant, 8, 0), constant, 5).sentence
    broken = {**many, "y": many["x"][:, 0, :1]} | {"x": np.where(many["x"] > 2, np.inf, many["x"])}
    assert "not finite" in data_lags(*[samples_of(broken, constant, 5)] * 2, 5).sentence
    assert data_lags_of(parts_of(data, lambda *a: 0.0, 8, 0), lambda *a: 0.0, 5) is None


def test_many_inputs_and_classes_at_every_step():
    """More inputs than are looked at one by one: the main components; an answer that is the input before."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 8, 30)).astype(np.float32)
    x[..., 0] *= 4
    x[..., 1:] += x[..., :1]
    y = np.roll(x[..., 0] > 0, 2, axis=1).astype(np.int32)
    data, objective = {"x": x, "y": y}, Objective("classify_each", 2, 3)
    found = data_lags_of(parts_of(data, objective, 8, 0), objective, 4)
    at = dict(zip(found.windows.tolist(), found.explained.tolist()))
    assert found.kind == SHORT and at[2] < 0.05 and at[4] > 0.4
