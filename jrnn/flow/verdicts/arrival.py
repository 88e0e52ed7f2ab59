"""How much of the gradient arrives how many steps back, and how sure that is. Host functions, NumPy float64."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jrnn.extras import require
from jrnn.wording import arrays, brief

DRAWS = 1000
TOGETHER = 2**18  # block sums looked up at once

Ratio = tuple[tuple[int, int, float], ...]
"""(further, nearer, power), ...: the product of (what is left at the further lag / at the nearer one)^power."""

MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""The standard error of the median of a normal sample over that of its mean."""


class Arrival(NamedTuple):
    """The credit by lag: `by_lag[i, tau, s]` = ||part(t_i, t_i - tau)|| of sequence s; NaN where `there` is False.

    h_0 is left out: no input is seen there. R outputs, L = T lags, S sequences.
    """

    by_lag: np.ndarray
    """[R, L, S]."""
    base: int
    """The lag that counts as sent: 0, or 1 where the output reads the state before the step."""
    there: np.ndarray
    """[R, L, S] of bool: t_i - tau >= 1, and nothing cuts the way back: no reset, no truncation."""
    apart: float = 1.0
    """Steps from one output that was followed to the next, in the mean."""

    def __repr__(self) -> str:
        return brief(self, f"by_lag {arrays(self.by_lag)} [R, L, S]")

    def parts(self, lag: int, lags: Sequence[int]) -> np.ndarray:
        """[len(lags), R', S]: the parts at `lags`, of outputs that sent anything as far back as `lag`."""
        there = self.there[:, lag]
        *by_lag, sent = (np.where(there, self.by_lag[:, tau], 0.0) for tau in (*lags, min(self.base, lag)))
        return np.stack(by_lag)[:, sent.any(axis=1)]  # a NaN counts: what is not finite must not go unseen

    def ratios(self, lag: int) -> tuple[np.ndarray, np.ndarray]:
        """(arrived, sent) [R', S]: the parts at `lag` and at the base, of outputs that sent anything so far back."""
        arrived, sent = self.parts(lag, (lag, min(self.base, lag)))
        return arrived, sent

    def plain(self, lag: int) -> Ratio:
        """What arrives at `lag` of what was sent."""
        return ((lag, min(self.base, lag), 1.0),)

    def typical(self, lag: int, ratio: Ratio | None = None) -> float:
        """The median over sequences of sum_t arrived / sum_t sent, or of another ratio; NaN where none sent any."""
        each = self.by_sequence(lag, ratio)
        return float(np.median(each)) if len(each) else np.nan

    def by_sequence(self, lag: int, ratio: Ratio | None = None) -> np.ndarray:
        """sum_t arrived / sum_t sent, or another ratio of such sums, of each sequence that sent anything so far."""
        ratio = ratio or self.plain(lag)
        lags = lags_of(ratio, self.plain(lag))
        sums = dict(zip(lags, self.parts(lag, lags).sum(1), strict=True))
        return product(sums, ratio)[sums[min(self.base, lag)] != 0]

    def typical_first(self, lag: int) -> np.ndarray:
        """The sequences [S'] that sent anything so far, by the distance of their rank from the median's, the upper of
        two first: so the upper middle of the first few is never below the median of all."""
        sent = np.flatnonzero(self.ratios(lag)[1].sum(0) != 0)
        order = np.argsort(self.by_sequence(lag), kind="stable")
        middle = np.argsort(np.abs(np.arange(len(order)) - (len(order) - 0.9) / 2), kind="stable")
        return sent[order[middle]]

    def draws(self, lags: list[int], seed: int = 0, more: Sequence[Ratio] = ()) -> tuple[np.ndarray, np.ndarray]:
        """(typical, mean) [DRAWS, len(lags) + len(more)]: the median and mean over sequences in bootstrap draws of the
        data: of what arrives at each of the lags, then of other ratios of the same outputs as the first lag's.

        Sequences are drawn with replacement, the same ones for every lag; within each, blocks of consecutive outputs
        that span the longest lag (their ways back overlap; at most a quarter of the outputs), around the end to the
        start (Politis, Romano 1992).
        """
        rng = np.random.default_rng(seed)
        sequences = self.by_lag.shape[2]
        chosen = rng.integers(sequences, size=(DRAWS, sequences))
        asked = [(lag, self.plain(lag)) for lag in lags] + [(lags[0], ratio) for ratio in more]
        typical, mean = np.full((2, DRAWS, len(asked)), np.nan)
        for lag in dict.fromkeys(lags):
            columns = [(column, ratio) for column, (at, ratio) in enumerate(asked) if at == lag]
            used = lags_of(*(ratio for _, ratio in columns))
            parts = self.parts(lag, used)
            alive = self.ratios(lag)[1].sum(0) != 0
            if not alive.any():
                continue
            drawn = blocks_drawn(parts, self.overlap(max(lags)), np.random.default_rng(seed))
            sums = dict(zip(used, drawn, strict=True))
            for column, ratio in columns:
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    each = np.where(alive & (sums[min(self.base, lag)] != 0), product(sums, ratio), np.nan)
                    each = np.take_along_axis(each, chosen, axis=1)
                    some = ~np.isnan(each).all(axis=1)  # draws of sequences too short for this lag say nothing
                    typical[some, column] = np.nanmedian(each[some], axis=1)
                    mean[some, column] = np.nanmean(each[some], axis=1)
        return typical, mean

    def overlap(self, lag: int) -> int:
        """How many consecutive outputs share some of their ways back of that length, at least 1."""
        return max(1, math.ceil(lag / self.apart))

    def typical_interval(
        self, lag: int, draws: np.ndarray, level: float, ratio: Ratio | None = None
    ) -> tuple[float, float]:
        """The interval of `typical`: of the draws; with too few independent units for them to have that level, by t.

        A unit is a stretch of outputs as long as the lag, in one sequence: ways back that overlap tell the same. The
        median of m draws of m units stays within their range, which holds the truth with probability 1 - 2^(1 - m).
        Below `level`, ln(ratio) is taken as normal over sequences, of a single one over its stretches; one unit says
        nothing of others: (0, inf).
        """
        ratio = ratio or self.plain(lag)
        each, lags = self.by_sequence(lag, ratio), lags_of(ratio, self.plain(lag))
        parts = self.parts(lag, lags)
        stretches = max(1, parts.shape[1] // self.overlap(lag))
        if 1 - 2.0 ** (1 - len(each) * stretches) >= level or not len(each) or not np.isfinite(each).all():
            return interval(draws, level)
        if len(each) == 1:
            sums = [dict(zip(lags, part.sum((1, 2)), strict=True)) for part in np.array_split(parts, stretches, axis=1)]
            each = np.array([product(own, ratio) for own in sums if own[min(self.base, lag)] != 0])
        if len(each) == 1:
            return 0.0, np.inf
        if np.ptp(each) == 0:
            return float(each[0]), float(each[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(each)
            middle = np.median(logs)
            width = (
                require("scipy.special").stdtrit(len(each) - 1, (1 + level) / 2)
                * MEDIAN_ERROR
                * logs.std(ddof=1)
                / len(each) ** 0.5
            )
            bounds = np.exp(middle - width), np.exp(middle + width)
        return (float(bounds[0]), float(bounds[1])) if np.isfinite(width) else (0.0, np.inf)


def lags_of(*ratios: Ratio) -> list[int]:
    """The lags that they are made of."""
    return list(dict.fromkeys(lag for ratio in ratios for factor in ratio for lag in factor[:2]))


def product(sums: Mapping[int, np.ndarray], ratio: Ratio) -> np.ndarray:
    """The ratio of {lag: what is left there}; 0 where nothing was left at the nearer lag already."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        of = [(sums[further], sums[nearer], power) for further, nearer, power in ratio]
        factors = [np.where((a == 0) & (b == 0), 0.0, a / b) ** power for a, b, power in of]
        return np.prod(factors, axis=0)


def blocks_drawn(parts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """[n, R, S] -> sums over blocks of outputs, drawn anew for every sequence and the same for all n: [n, DRAWS, S]."""
    count, sequences = parts.shape[1:]
    if count < 2:
        return np.broadcast_to(parts.sum(1)[:, None], (len(parts), DRAWS, sequences))
    length = max(1, min(steps, count // 4))
    around = (np.concatenate([a, a[: length - 1]]) for a in parts)
    blocks = [np.lib.stride_tricks.sliding_window_view(a, length, axis=0).sum(-1) for a in around]
    sums, each, columns = np.empty((len(parts), DRAWS, sequences)), -(-count // length), np.arange(sequences)
    at_once = max(1, TOGETHER // (each * max(sequences, 1)))
    for first in range(0, DRAWS, at_once):
        last = min(first + at_once, DRAWS)
        starts = rng.integers(count, size=(last - first, each, sequences))
        for which, block in enumerate(blocks):
            sums[which, first:last] = block[starts, columns].sum(1)
    return sums


def arrival(credit: Any, times: Any, reverse: bool, segments: Any = None) -> Arrival:
    """From the fields of a `GradientFlow`; batch axes flattened."""
    credit, times = np.asarray(credit, np.float64), np.asarray(times)
    steps = credit.shape[1] - 1
    credit = credit.reshape(*credit.shape[:2], int(np.prod(credit.shape[2:])))
    segments = np.zeros(credit.shape[1:], int) if segments is None else np.asarray(segments).reshape(credit.shape[1:])
    by_lag = np.full((len(times), steps, credit.shape[2]), np.nan)
    there = np.zeros(by_lag.shape, bool)
    for row, t in enumerate(times):
        here = slice(t - 1, steps) if reverse else slice(t, 0, -1)
        lags = steps - t + 1 if reverse else t
        by_lag[row, :lags] = credit[row, here]
        there[row, :lags] = segments[here] == segments[t - 1 if reverse else t]
    by_lag[~there] = np.nan
    apart = float(np.ptp(times)) / (len(times) - 1) if len(times) > 1 else 1.0
    return Arrival(by_lag, int(steps > 1 and not by_lag[:, :1][there[:, :1]].any()), there, max(apart, 1.0))


def interval(draws: np.ndarray, level: float) -> tuple[float, float]:
    """The middle `level` of the draws."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return np.nan, np.nan
    low, high = (
        np.quantile(known, (1 - level) / 2, method="lower"),
        np.quantile(known, (1 + level) / 2, method="higher"),
    )
    return float(low), float(high)
