"""Paired comparisons over a few seeds: what may be said of "this arm is better" without assuming a distribution."""

import math
from typing import NamedTuple

import numpy as np
import scipy.special

FAMILY = 0.05
"""How often at most a race of equal arms may end with a recommendation, over both finalists together."""


class Paired(NamedTuple):
    """Two arms on the same seeds: smaller figures are better, so less than `equal` speaks for the first."""

    ratio: float
    """The Hodges-Lehmann estimate: the median of the Walsh averages of the log ratios, exponentiated; of the
    differences where some figure is not positive."""
    low: float
    high: float
    """Its interval, by Wilcoxon's signed ranks: exact for log ratios that are symmetric about their median."""
    level: float
    """Of the interval."""
    better: float
    """The share of seeds in which the first is better, ties counted by half."""
    relative: bool = True
    """Whether these are ratios; if not, differences."""

    @property
    def equal(self) -> float:
        """What stands for "no difference": 1 of ratios, 0 of differences."""
        return 1.0 if self.relative else 0.0

    @property
    def helps(self) -> bool:
        """Whether the interval says that the first arm is better."""
        return self.high < self.equal

    @property
    def hurts(self) -> bool:
        """Whether the interval says that it is worse."""
        return self.low > self.equal


def paired(first: np.ndarray, second: np.ndarray, level: float) -> Paired:
    """Compares the figures [n] of two arms, seed by seed: by their ratio, or where some are not positive by difference.

    A figure that is not finite (a run that diverged) is worse than every finite one; two of them are a tie.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    finite = np.concatenate([first[np.isfinite(first)], second[np.isfinite(second)]])
    relative = bool((finite > 0).all())
    gaps = differences(first, second, relative)
    i, j = np.triu_indices(len(gaps))
    walsh = np.sort((gaps[i] + gaps[j]) / 2)
    outside = rank_sum_below(len(gaps), (1 - level) / 2)
    ends = (-math.inf, math.inf) if outside < 0 else (walsh[outside], walsh[len(walsh) - 1 - outside])
    found = [float(np.median(walsh)), *map(float, ends)]
    ratio, low, high = (math.exp(each) if each > -math.inf else 0.0 for each in found) if relative else found
    return Paired(ratio, low, high, level, float(np.mean(gaps < 0) + np.mean(gaps == 0) / 2), relative)


def differences(first: np.ndarray, second: np.ndarray, relative: bool) -> np.ndarray:
    """ln(first / second), or first - second; a diverged run counts as worse than the worst pair, a thousand times."""
    good = np.isfinite(first), np.isfinite(second)
    both = good[0] & good[1]
    ours, theirs = np.where(both, first, 1.0), np.where(both, second, 1.0)
    gaps = np.log(ours) - np.log(theirs) if relative else ours - theirs
    largest = np.abs(gaps).max(initial=0.0)
    worst = largest + math.log(1000) if relative else 1000 * max(largest, 1.0)
    return np.where(good[0] & ~good[1], -worst, np.where(good[1] & ~good[0], worst, gaps))


def rank_sum_below(count: int, tail: float) -> int:
    """The largest w with P(W <= w) <= tail for Wilcoxon's signed-rank sum W of `count` pairs; -1 if there is none.

    W is the sum of a random subset of 1..count: the number of subsets with each sum, counted rank by rank.
    """
    ways = np.zeros(count * (count + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, count + 1):
        ways[rank:] = ways[rank:] + ways[: len(ways) - rank]
    return int(np.searchsorted(np.cumsum(ways) / 2.0**count, tail, side="right")) - 1


def prediction(figures: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Where the figure of one more seed is expected: Student's prediction interval of the logarithms of [n] figures.

    exp(mean +- t s sqrt(1 + 1/n)); (nan, nan) with fewer than two figures, or where one is not finite or not positive:
    a run that diverged is no number that another could lie near.
    """
    figures = np.asarray(figures, float)
    if len(figures) < 2 or not (np.isfinite(figures) & (figures > 0)).all():
        return math.nan, math.nan
    logs = np.log(figures)
    t = scipy.special.stdtrit(len(logs) - 1, (1 + level) / 2)
    width = t * logs.std(ddof=1) * math.sqrt(1 + 1 / len(logs))
    return float(np.exp(logs.mean() - width)), float(np.exp(logs.mean() + width))
