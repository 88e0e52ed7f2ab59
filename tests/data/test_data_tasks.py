"""Tasks with known answers: labels by a plain loop, plateaus by counting, the Lorenz system against SciPy and laws."""

import itertools
import math
from collections import Counter, defaultdict

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from jrnn.data import TASKS, load, task
from jrnn.data.tasks import generated
from jrnn.training import Objective

KEY = jax.random.key(1)
NAMES = (
    "marked-bit:5",
    "latch:4",
    "adding:4",
    "copy:13",
    "two-lag-coin:5",
    "delayed-xor:5",
    "temporal-order:9",
    "lorenz:3",
    "flip-flop:3",
    "delayed-match:3",
    "context-decision:2",
    "ready-set-go:4",
)


def drawn(name, size):
    """A batch as NumPy arrays with the cases first."""
    one = task(name)
    batch = jax.tree.map(np.asarray, one.batch(KEY, size))
    y = batch["y"].swapaxes(0, 1) if one.task.endswith("_each") else batch["y"]
    return one, batch["x"].swapaxes(0, 1), y


def entropy_given(known, y):
    """H(y | known) in nats of equally likely rows, by counting: the loss of the best predictor that sees `known`."""
    groups = defaultdict(Counter)
    for seen, answer in zip(known, y, strict=True):
        groups[seen][answer] += 1
    return sum(-n * math.log(n / group.total()) for group in groups.values() for n in group.values()) / len(y)


def rows(array):
    return [tuple(row) for row in np.asarray(array).reshape(len(array), -1).tolist()]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_seeds_and_parts(name):
    one = task(name)
    assert one == task(name) and hash(one) == hash(task(name))
    batch = one.batch(KEY, 24)
    kind = {"classify": ((24,), np.int32), "regress": ((24, one.outputs), np.float32)}
    each = {"classify_each": ((one.steps, 24), np.int32), "regress_each": ((one.steps, 24, one.outputs), np.float32)}
    assert (batch["x"].shape, batch["x"].dtype) == ((one.steps, 24, one.features), np.float32)
    assert (batch["y"].shape, batch["y"].dtype) == (kind | each)[one.task]
    if name.startswith(("adding", "latch", "temporal")):
        with jax.enable_x64(False):  # the same draws as users have them
            jax.tree.map(np.testing.assert_array_equal, batch, one.batch(KEY, 24))

    data, same = one.dataset(7, cases=24), one.dataset(7, cases=24)
    assert (data.name, data.lag, data.plateau, data.warmup) == (name, int(name.split(":")[1]), one.plateau, one.warmup)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [20, 2, 2]
    np.testing.assert_array_equal(data.x, same.x)
    np.testing.assert_array_equal(data.y, same.y)
    assert np.any(data.x != one.dataset(8, cases=24).x)
    assert Objective.of(data) == Objective.of(one) == Objective(one.task, one.outputs, one.warmup)


@pytest.mark.thorough
def test_the_parts_are_disjoint_draws(monkeypatch):
    data = load("marked-bit:40", seed=2**70)
    assert (len(data.x), len(data.train), len(data.validation), len(data.test)) == (12_000, 10_000, 1000, 1000)
    assert len({case.tobytes() for case in data.x}) == 12_000  # of 2^41
    parts = np.concatenate([data.train, data.validation, data.test])
    np.testing.assert_array_equal(np.sort(parts), np.arange(12_000))
    assert abs(data.y[data.test].mean() - 0.5) < 5 * 0.5 / 1000**0.5
    monkeypatch.setattr(generated, "MOST_VALUES", 1600)  # a long one takes no more memory than it must
    assert len(task("latch:4").dataset().x) == 160 and len(task("latch:99").dataset().x) == 120


@pytest.mark.thorough
def test_labels_by_a_plain_loop():
    for name, far in (("marked-bit:5", 5), ("delayed-xor:5", 5), ("latch:4", 4)):
        one, x, y = drawn(name, 200)
        assert one.steps == far + 1
        for case in range(200):
            marked = [t for t in range(far + 1) if x[case, t, 1] == 1]
            if name.startswith("latch"):
                assert abs(x[case, 0, 0]) == 1 and not x[case, 1:, 0].any() and x[case, 0, 1] == 0
                said = x[case, 0, 0] > 0
            elif name.startswith("marked"):
                assert marked == [0] and set(np.abs(x[case, :, 0])) == {1.0} and x[case, 1:, 1].sum() == 0
                said = x[case, 0, 0] > 0
            else:
                assert marked == [0, 3] and set(np.abs(x[case, :, 0])) == {1.0} and x[case, :, 1].sum() == 2
                said = x[case, 0, 0] * x[case, 3, 0] < 0
            assert y[case] == said
    assert abs(drawn("latch:200", 200)[1][:, 1:, 1].std() - 0.5) < 5 * 0.5 / 80_000**0.5

    one, x, y = drawn("adding:4", 300)
    seen = set()
    for case in range(300):
        first, second = (t for t in range(8) if x[case, t, 1] == 1)
        seen.add((first, second))
        assert x[case, :, 1].sum() == 2 and y[case, 0] == x[case, first, 0] + x[case, second, 0]
    assert seen == set(itertools.product(range(4), range(4, 8)))  # the first half and the second

    one, x, y = drawn("copy:13", 50)
    for case in range(50):
        read = [row.index(1.0) for row in x[case].tolist()]
        assert read[10:12] == [8, 8] and read[12] == 9 and read[13:] == [8] * 10 and max(read[:10]) < 8
        assert y[case].tolist() == [8] * 13 + read[:10] and len(read) == 23 and x[case].sum() == 23

    one, x, y = drawn("temporal-order:16", 400)
    places = set()
    for case in range(400):
        said = ["abcdXYEB"[row.index(1.0)] for row in x[case].tolist()]
        first, second = (t for t, symbol in enumerate(said) if symbol in "XY")
        places.add((first, second))
        assert said[0] == "E" and said[-1] == "B" and not {"E", "B"} & set(said[1:-1]) and len(said) == 21
        assert ["XX", "XY", "YX", "YY"][y[case]] == said[first] + said[second]
        assert len(said) - 1 - first >= 16
    assert places == set(itertools.product((2, 3, 4), (8, 9, 10)))


@pytest.mark.thorough
def test_plateaus_by_counting():
    """Tiny versions: every sequence there is, what the best predictor knows, and the entropy that is left to it."""
    for name in ("marked-bit:3", "delayed-xor:3"):
        one, x, y = drawn(name, 2000)
        every = dict(zip(rows(x), y.tolist(), strict=True))
        assert len(every) == 16  # all of them, and the answer is a function of the sequence
        sequences, answers = np.array([*every]).reshape(16, 4, 2), [*every.values()]
        assert entropy_given(rows(sequences), answers) == 0
        assert entropy_given(rows(sequences[:, 1:]), answers) == pytest.approx(one.plateau, rel=1e-12)
    one, x, y = drawn("latch:3", 20_000)
    assert entropy_given(rows(x[:, 1:] > 0), y.tolist()) == pytest.approx(one.plateau, abs=1e-3)

    one, x, y = drawn("two-lag-coin:4", 30_000)
    near, far, coins = x[:, 2:6, 0].ravel(), x[:, :4, 0].ravel(), y[:, 4:].ravel().tolist()
    everything = [*zip(near.tolist(), far.tolist(), strict=True)]
    left = [entropy_given(known, coins) for known in ([0] * len(coins), far.tolist(), near.tolist(), everything)]
    np.testing.assert_allclose(left, [0.66156, 0.62774, 0.51917, 0.45445], atol=6e-3)
    assert one.plateau == pytest.approx(0.51917, abs=5e-6) and one.warmup == 4
    assert one.best_loss == one.dataset(cases=12).best_loss == pytest.approx(0.45445, abs=5e-6)
    assert all(number in one.plateau_reason for number in ("0.66156", "0.45445"))

    one, x, y = drawn("temporal-order:8", 20_000)
    second = [[t for t in range(11) if row[t, 4:6].any()][1] for row in x]
    symbol = [int(row[t, 5]) for row, t in zip(x, second, strict=True)]
    assert entropy_given([0] * len(y), y.tolist()) == pytest.approx(one.plateau, abs=1e-3) and one.plateau == math.log(
        4
    )
    assert entropy_given(symbol, y.tolist()) == pytest.approx(math.log(2), abs=1e-3)

    one, x, y = drawn("adding:3", 50_000)
    assert np.mean((y - 1) ** 2) == pytest.approx(one.plateau, abs=0.002) and one.plateau == 1 / 6
    late = (x[:, 3:, 0] * x[:, 3:, 1]).sum(1)
    assert np.mean((y[:, 0] - late - 0.5) ** 2) == pytest.approx(1 / 12, abs=0.002)

    for lag, level in ((20, 0.69315), (30, 0.51986), (210, 0.09452), (1010, 0.02039)):  # T = lag - 10 of the literature
        assert task(f"copy:{lag}").plateau == pytest.approx(level, abs=6e-6)
    one, x, y = drawn("copy:20", 5000)
    answers = [entropy_given([0] * 5000, y[:, t].tolist()) for t in range(30)]
    assert np.mean(answers) == pytest.approx(one.plateau, abs=2e-3)


def lorenz_slope(_, s):
    return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]


@pytest.mark.thorough
def test_lorenz():
    """One step against SciPy; its scale; the largest exponent .9056 by tangent vectors along the task's own paths; the
    contraction; and the plateau on paths of other starts."""
    one, x, y = drawn("lorenz:10", 200)
    np.testing.assert_array_equal(x[:, 10:], y[:, :-10])
    scale, mean = np.array([7.92, 9.01, 8.62]), np.array([0, 0, 23.55])
    states = x.astype(float) * scale + mean
    for case in range(3):
        exact = solve_ivp(lorenz_slope, (0, 0.02), states[case, 50], rtol=1e-10, atol=1e-10).y[:, -1]
        np.testing.assert_allclose(states[case, 51], exact, atol=2e-3)
    np.testing.assert_allclose(x.reshape(-1, 3).std(0), 1, atol=0.02)
    np.testing.assert_allclose(x.reshape(-1, 3).mean(0), 0, atol=0.06)

    with_one = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=-1).astype(float).reshape(-1, 4)
    weights = np.linalg.lstsq(with_one[: len(with_one) // 2], y.reshape(-1, 3)[: len(with_one) // 2], rcond=None)[0]
    error = np.mean((y.reshape(-1, 3) - with_one @ weights)[len(with_one) // 2 :] ** 2)
    assert one.plateau == pytest.approx(error, rel=0.05)
    assert task("lorenz:1").plateau < one.plateau < 1

    path = np.asarray(jax.vmap(lambda key: one.draw(1, 3000, key)[0])(jax.random.split(KEY, 48)), float) * scale + mean
    grown, v = 0.0, np.random.default_rng(0).normal(size=(48, 3))

    def tangent(s, v):
        a, b, c = s[:, 0], s[:, 1], s[:, 2]
        return np.stack([10 * (v[:, 1] - v[:, 0]), (28 - c) * v[:, 0] - v[:, 1] - a * v[:, 2],
                         b * v[:, 0] + a * v[:, 1] - 8 / 3 * v[:, 2]], axis=1)  # fmt: skip

    def slope(s):
        return np.stack(lorenz_slope(0, s.T), axis=1)

    for t in range(2999):
        now, then = path[:, t], path[:, t + 1]
        half = (now + then) / 2 + 0.02 / 8 * (slope(now) - slope(then))  # Hermite: the middle of the step
        a = tangent(now, v)
        b = tangent(half, v + 0.01 * a)
        c = tangent(half, v + 0.01 * b)
        v = v + 0.02 / 6 * (a + 2 * b + 2 * c + tangent(then, v + 0.02 * c))
        size = np.linalg.norm(v, axis=1, keepdims=True)
        v = v / size
        grown += np.log(size).mean() if t >= 500 else 0.0
    assert grown / (2499 * 0.02) == pytest.approx(0.9056, abs=0.02)


def test_every_task_is_in_the_table():
    assert [name.split(":")[0] for name in NAMES] == list(TASKS)
