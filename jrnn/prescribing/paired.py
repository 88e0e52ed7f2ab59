"""Paired comparisons over a few seeds: what may be said of "this arm is better" without assuming a distribution."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.special

FAMILY = 0.05
"""How often at most a race of equal arms may end with a recommendation, over both finalists together."""


class Paired(NamedTuple):
    """Two arms on the same seeds: ratios below 1 speak for the first."""

    ratio: float
    """The Hodges-Lehmann estimate: the median of the Walsh averages of the log ratios, exponentiated."""
    low: float
    high: float
    """Its interval, by Wilcoxon's signed ranks: exact for log ratios that are symmetric about their median."""
    level: float
    """Of the interval."""
    better: float
    """The share of seeds with a ratio below 1, ties counted by half."""

    @property
    def differs(self) -> bool:
        """Whether the interval excludes "no difference"."""
        return self.high < 1 or self.low > 1


def paired(first: np.ndarray, second: np.ndarray, level: float) -> Paired:
    """Compares positive figures [n] of two arms, seed by seed.

    A figure that is not finite (a run that diverged) is worse than every finite one; two of them are a tie.
    """
    logs = log_ratios(np.asarray(first, float), np.asarray(second, float))
    i, j = np.triu_indices(len(logs))
    walsh = np.sort((logs[i] + logs[j]) / 2)
    outside = rank_sum_below(len(logs), (1 - level) / 2)
    low, high = (-math.inf, math.inf) if outside < 0 else (walsh[outside], walsh[len(walsh) - 1 - outside])
    better = float(np.mean(logs < 0) + np.mean(logs == 0) / 2)
    ratio, low, high = (float(np.exp(each)) for each in (np.median(walsh), low, high))
    return Paired(ratio, low, high, level, better)


def log_ratios(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """ln(first / second); a diverged run against a finite one counts as a thousand times worse than the worst pair."""
    good = np.isfinite(first), np.isfinite(second)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(good[0] & good[1], np.log(first) - np.log(second), 0.0)
    worst = math.log(1000) + np.abs(logs[np.isfinite(logs)]).max(initial=0.0)
    logs = np.clip(np.nan_to_num(logs, nan=0.0, posinf=worst, neginf=-worst), -worst, worst)
    return np.where(good[0] & ~good[1], -worst, np.where(good[1] & ~good[0], worst, logs))


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

    exp(mean +- t s sqrt(1 + 1/n)); (nan, nan) with fewer than two finite positive figures.
    """
    logs = np.log(figures[np.isfinite(figures) & (figures > 0)])
    if len(logs) < 2:
        return math.nan, math.nan
    t = scipy.special.stdtrit(len(logs) - 1, (1 + level) / 2)
    width = t * logs.std(ddof=1) * math.sqrt(1 + 1 / len(logs))
    return float(np.exp(logs.mean() - width)), float(np.exp(logs.mean() + width))
