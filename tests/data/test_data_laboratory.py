"""Tasks of neuroscience: targets by plain loops, plateaus and the least loss by counting and by simulation."""

import math
from collections import defaultdict

import jax
import numpy as np
import pytest

from jrnn.data import task
from jrnn.types import InputError

KEY = jax.random.key(1)


def drawn(name, size):
    """A batch as NumPy arrays with the cases first."""
    one = task(name)
    batch = jax.tree.map(np.asarray, one.batch(KEY, size))
    y = batch["y"].swapaxes(0, 1) if one.task.endswith("_each") else batch["y"]
    return one, batch["x"].swapaxes(0, 1), y


def windowed_error(x, y, lag):
    """The mean squared error of the best predictor that sees the last `lag` rows, from the cases themselves: the mean
    variance of the answers among equal windows (unbiased, since each group's mean is its own)."""
    groups = defaultdict(list)
    for case, answers in zip(x, y, strict=True):
        for t, answer in enumerate(answers):
            groups[case[max(t - lag + 1, 0) : t + 1].tobytes(), min(t + 1, lag)].append(answer)
    alone = sum(len(group) == 1 for group in groups.values())
    spread = sum(len(group) * np.var(group, ddof=1) for group in groups.values() if len(group) > 1)
    return spread / (sum(map(len, groups.values())) - alone)


def test_flip_flop():
    one, x, y = drawn("flip-flop:5", 400)
    assert (one.steps, one.features, one.outputs) == (20, 3, 3) and set(np.unique(x)) == {-1.0, 0.0, 1.0}
    held = np.zeros((400, 3))
    for t in range(20):
        held = np.where(x[:, t] != 0, x[:, t], held)
        np.testing.assert_array_equal(y[:, t], held)
    assert np.abs(x[:, 0]).min() == 1
    late = np.abs(x[:, 1:])
    assert late.mean() == pytest.approx(0.2, abs=5 * 0.4 / late.size**0.5)
    assert abs(x[:, 1:].sum()) < 5 * late.sum() ** 0.5

    one, x, y = drawn("flip-flop:2", 5000)
    found = np.mean([windowed_error(x[:, :, [i]], y[:, :, i], 2) for i in range(3)])
    assert one.plateau == pytest.approx(found, rel=0.05) and one.plateau == 0.75 / 4
    assert task("flip-flop:1000").plateau == pytest.approx(0.75 / math.e, rel=1e-3)


def test_delayed_match():
    one, x, y = drawn("delayed-match:4", 4000)
    assert (one.steps, one.lag, one.task, one.outputs) == (5, 4, "classify", 2)
    sample, test = x[:, 0, :4], x[:, 4, :4]
    for shown in (sample, test):
        assert set(np.unique(shown)) == {0.0, 1.0} and (shown.sum(1) == 1).all()
    np.testing.assert_array_equal(y, (sample == test).all(1))
    np.testing.assert_array_equal(x[:, :, 4], np.broadcast_to([1, 1, 1, 1, 0], (4000, 5)))
    assert x[:, 1:4, :4].std() == pytest.approx(0.1, rel=0.02)
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (sample.argmax(1), test.argmax(1)), 1 / 4000)
    expected = np.where(
        np.eye(4) == 1, 1 / 8, 1 / 24
    )  # half match, the others are as likely; the test alone says nothing
    np.testing.assert_allclose(pairs, expected, atol=5 * (1 / 8 / 4000) ** 0.5)
    assert task("delayed-match:1").steps == 2 and one.plateau == math.log(2)


def test_context_decision():
    one, x, y = drawn("context-decision:3", 20_000)
    assert (one.steps, one.task) == (18, "classify")
    assert (x[:, 15:, :2] == 0).all() and (x[:, :, 2:] == x[:, :1, 2:]).all() and (x[:, 0, 2:].sum(1) == 1).all()
    colour_counts = x[:, 0, 3] == 1
    assert colour_counts.mean() == pytest.approx(0.5, abs=0.02)
    counts, other = (np.where(colour_counts[:, None], x[:, :15, i], x[:, :15, 1 - i]) for i in (1, 0))
    # drift uniform on +-.1875, noise of variance 1/50: the variance of the mean and of what is left
    assert counts.mean(1).var() == pytest.approx(0.1875**2 / 3 + 1 / 750, rel=0.05)
    assert counts.var(axis=1, ddof=1).mean() == pytest.approx(1 / 50, rel=0.02)
    right = (counts.mean(1) > 0) == y
    assert right.mean() == pytest.approx(0.92, abs=0.01)
    assert ((other.mean(1) > 0) == y).mean() == pytest.approx(0.5, abs=0.02)  # the other stream says nothing

    # the least loss: the entropy of the answer given the mean of the evidence, in fine bins of it
    bins = np.clip(np.digitize(counts.mean(1), np.linspace(-0.25, 0.25, 60)), 0, 60)
    share = np.array([y[bins == b].mean() for b in np.unique(bins)])[np.searchsorted(np.unique(bins), bins)]
    share = np.clip(share, 1e-9, 1 - 1e-9)
    entropy = -np.mean(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert one.best_loss == pytest.approx(entropy, abs=0.006) and f"{one.best_loss:.4f}" == "0.1759"


def test_ready_set_go():
    one, x, y = drawn("ready-set-go:6", 600)
    assert (one.steps, one.task, one.outputs) == (3 + 9 + 14 + 1, "regress_each", 1)
    seen = set()
    for case in range(600):
        (ready,), (at,) = (np.flatnonzero(x[case, :, i]) for i in (0, 1))
        gain = x[case, 0, 2]
        assert (x[case, :, 2] == gain).all() and x[case, ready, 0] == x[case, at, 1] == 1
        expected = [min(max((t - at) / (gain * (at - ready)), 0), 1) for t in range(one.steps)]
        np.testing.assert_allclose(y[case, :, 0], expected, atol=1e-6)
        assert y[case, -1, 0] == 1  # it is always time to go before the end
        seen.add((ready, at - ready, gain))
    assert (
        len(seen) == 4 * 4 * 2 and {s for _, s, _ in seen} == {6, 7, 8, 9} and {r for r, _, _ in seen} == {0, 1, 2, 3}
    )

    for lag in (2, 5):
        one, x, y = drawn(f"ready-set-go:{lag}", 3000)
        unique = {case.tobytes(): (case, answer) for case, answer in zip(x, y[:, :, 0], strict=True)}
        cases, answers = map(list, zip(*unique.values(), strict=True))
        groups = defaultdict(list)  # every case there is, each as likely: the exact variance
        for case, answer in zip(cases, answers, strict=True):
            for t in range(one.steps):
                groups[case[max(t - lag + 1, 0) : t + 1].tobytes(), min(t + 1, lag)].append(float(answer[t]))
        total = sum(len(group) * np.var(group) for group in groups.values()) / (len(cases) * one.steps)
        assert one.plateau == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    ["flip-flop:1", "flip-flop:25001", "delayed-match:0", "context-decision:0", "ready-set-go:1", "ready-set-go:x"],
)
def test_lags_that_cannot_be(name):
    with pytest.raises(InputError, match="--data"):
        task(name)
