"""The statistics of the final, against enumeration of all signs and a plain NumPy race on recorded curves."""

import itertools

import numpy as np
import pytest
import scipy.stats

from jrnn.prescribing.paired import differences, paired, prediction, rank_sum_below


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9])
def test_the_signed_rank_sum_is_counted(count):
    ranks = np.arange(1, count + 1)
    sums = np.array([ranks[np.array(signs, bool)].sum() for signs in itertools.product([0, 1], repeat=count)])
    for tail in (0.004, 0.0125, 0.025, 0.05, 0.2):
        below = [w for w in range(count * (count + 1) // 2 + 1) if np.mean(sums <= w) <= tail]
        assert rank_sum_below(count, tail) == (max(below) if below else -1)


def test_the_interval_is_that_of_the_inverted_test():
    """theta lies within exactly if Wilcoxon's exact test of "the ratios are symmetric about theta" keeps it."""
    rng = np.random.default_rng(0)
    for count in (8, 11):
        first, second = np.exp(rng.normal(0.3, 0.5, count)), np.exp(rng.normal(0, 0.5, count))
        found = paired(first, second, 0.95)
        logs = np.log(first / second)
        for theta in np.linspace(logs.min() - 0.1, logs.max() + 0.1, 101):
            kept = scipy.stats.wilcoxon(logs - theta, method="exact").pvalue > 0.05
            assert kept == (np.log(found.low) < theta < np.log(found.high))
        i, j = np.triu_indices(count)
        assert np.isclose(np.log(found.ratio), np.median((logs[i] + logs[j]) / 2))


def test_ties_and_diverged_runs():
    same = np.full(8, 90.0)
    tie = paired(same, same, 0.95)
    assert not tie.helps and not tie.hurts and tie.better == 0.5
    assert paired(np.full(8, np.inf), same, 0.95).hurts
    assert paired(np.where(np.arange(8) < 7, np.inf, 3.0), same, 0.95).ratio > 1
    assert (differences(np.full(3, np.inf), np.full(3, np.inf), True) == 0).all()
    assert paired(same, np.full(8, np.nan), 0.95).helps  # not finite is worse than anything finite


def test_losses_that_are_not_positive_are_compared_by_difference():
    """A log density: -5 against -1, with the interval of the inverted test; zeros too."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(-5, 0.5, 9), rng.normal(-1, 0.5, 9)
    found = paired(first, second, 0.95)
    assert not found.relative and found.helps and found.equal == 0
    for theta in np.linspace(-6, -2, 41):
        kept = scipy.stats.wilcoxon(first - second - theta, method="exact").pvalue > 0.05
        assert kept == (found.low < theta < found.high)
    assert paired(np.zeros(8), np.ones(8), 0.95).helps and paired(np.ones(8), np.zeros(8), 0.95).hurts
    assert paired(np.full(8, np.inf), -np.ones(8), 0.95).hurts


def test_an_interval_of_too_few_pairs_says_nothing():
    found = paired(np.full(4, 1.0), np.full(4, 100.0), 0.95)
    assert (found.low, found.high) == (0.0, np.inf) and not (found.helps or found.hurts)


def test_one_more_seed_lies_within_the_prediction_interval_as_often_as_it_says():
    rng = np.random.default_rng(1)
    drawn = np.exp(rng.normal(2.0, 0.4, (4000, 9)))
    ends = np.array([prediction(row[:8]) for row in drawn])
    inside = np.mean((ends[:, 0] <= drawn[:, 8]) & (drawn[:, 8] <= ends[:, 1]))
    assert abs(inside - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 4000)
    for figures in ([3.0, np.inf, 2.0], [3.0], [3.0, -1.0, 2.0]):
        assert np.isnan(prediction(np.array(figures))).all()
