"""How much of the gradient arrives how many steps back, and how sure that is. Host functions, NumPy float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

DRAWS = 1000


class Arrival(NamedTuple):
    """The credit by lag: `by_lag[i, tau, s]` = ||part(t_i, t_i - tau)|| of sequence s; NaN where t_i - tau < 1.

    h_0 is left out: no input is seen there. R outputs, L = T lags, S sequences.
    """

    by_lag: np.ndarray
    """[R, L, S]."""
    base: int
    """The lag that counts as sent: 0, or 1 where the output reads the state before the step."""

    def ratios(self, lag: int) -> tuple[np.ndarray, np.ndarray]:
        """(arrived, sent) [R', S]: the parts at `lag` and at the base, of outputs that sent anything so far back."""
        arrived, sent = self.by_lag[:, lag], self.by_lag[:, min(self.base, lag)]
        there = ~np.isnan(arrived).all(axis=1) & sent.any(axis=1)
        return arrived[there], sent[there]

    def typical(self, lag: int) -> float:
        """The median over sequences of sum_t arrived / sum_t sent; NaN where no sequence sent anything."""
        each = self.by_sequence(lag)
        return float(np.median(each)) if len(each) else np.nan

    def by_sequence(self, lag: int) -> np.ndarray:
        """sum_t arrived / sum_t sent of each sequence that sent anything so far."""
        arrived, sent = self.ratios(lag)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            each = arrived.sum(0) / sent.sum(0)
        return each[sent.sum(0) > 0]

    def draws(self, lags: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(typical, mean) [DRAWS, len(lags)]: the median and mean over sequences in bootstrap draws of the data.

        Sequences are drawn with replacement, the same ones for every lag; within each, blocks of consecutive outputs as
        long as the longest lag (their ways back overlap; at most a quarter of the outputs), around the end to the
        start (Politis, Romano 1992).
        """
        rng = np.random.default_rng(seed)
        sequences = self.by_lag.shape[2]
        chosen = rng.integers(sequences, size=(DRAWS, sequences))
        typical, mean = np.full((2, DRAWS, len(lags)), np.nan)
        for column, lag in enumerate(lags):
            arrived, sent = self.ratios(lag)
            alive = sent.sum(0) > 0
            if not alive.any():
                continue
            a, b = blocks_drawn(arrived, sent, max(lags), np.random.default_rng(seed))
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                ratio = np.where(alive & (b > 0), a / b, np.nan)
                drawn = np.take_along_axis(ratio, chosen, axis=1)
                some = ~np.isnan(drawn).all(axis=1)  # draws of sequences too short for this lag say nothing
                typical[some, column] = np.nanmedian(drawn[some], axis=1)
                mean[some, column] = np.nanmean(drawn[some], axis=1)
        return typical, mean


def blocks_drawn(
    arrived: np.ndarray, sent: np.ndarray, steps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """[R, S] twice -> sums over blocks of outputs drawn anew for every sequence, [DRAWS, S] twice."""
    count, sequences = arrived.shape
    if count < 2:
        return np.broadcast_to(arrived.sum(0), (DRAWS, sequences)), np.broadcast_to(sent.sum(0), (DRAWS, sequences))
    length = max(1, min(steps, count // 4))
    around = (np.concatenate([a, a[: length - 1]]) for a in (arrived, sent))
    blocks = [np.lib.stride_tricks.sliding_window_view(a, length, axis=0).sum(-1) for a in around]
    found = np.empty((2, DRAWS, sequences))
    for draw in range(DRAWS):
        starts = rng.integers(count, size=(-(-count // length), sequences))
        for which, block in enumerate(blocks):
            found[which, draw] = np.take_along_axis(block, starts, axis=0).sum(0)
    return found[0], found[1]


def arrival(credit: Any, times: Any, reverse: bool) -> Arrival:
    """From the fields of a `GradientFlow`; batch axes flattened."""
    credit, times = np.asarray(credit, np.float64), np.asarray(times)
    steps = credit.shape[1] - 1
    credit = credit.reshape(*credit.shape[:2], int(np.prod(credit.shape[2:])))
    by_lag = np.full((len(times), steps, credit.shape[2]), np.nan)
    for row, t in enumerate(times):
        if reverse:
            by_lag[row, : steps - t + 1] = credit[row, t - 1 : steps]
        else:
            by_lag[row, :t] = credit[row, t:0:-1]
    sent = by_lag[:, :1]
    return Arrival(by_lag, int(steps > 1 and not np.any(sent > 0)))


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
