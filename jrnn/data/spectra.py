"""The frequency at which a series stands out from red noise: a cycle's sign that slow drifts do not give."""

from __future__ import annotations

import math

import numpy as np

BAND = 0.15  # a cycle whose length varies spreads over about this share of its frequency
WIDEST = 8  # bins on each side: a wider hump is the shape of the noise and no cycle
NEIGHBOURS = 3.0  # how far the neighbourhood of a frequency reaches, as a factor
MOST_TERMS = 100  # of independent cases that count in the tail of the gamma distribution
BINS = 400  # to which the background is fitted
FLOORS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)  # of white noise, relative to the red noise at f = 1/2


def outstanding_frequencies(series: np.ndarray, valid: np.ndarray, first: int, chance: float) -> list[float]:
    """The frequencies, in cycles a step, that stand out from red noise at least half as clearly as the clearest.

    The power at k / T over its background (AR(1) with white noise on top, and the neighbourhood on either side) is
    gamma distributed for noise. It is tested bin by bin, and averaged over a band, for a cycle of varying length.

    Args:
      series: float [cases, T], with no line in it; valid: bool [cases, T], a prefix of each case.
      first: the lowest k that is looked at, at least 1.
      chance: of a false alarm in noise, over all frequencies together.
    Returns:
      The fastest first, one of each band.
    """
    steps = series.shape[1]
    if steps // 2 <= first:
        return []
    power = power_spectrum(series, valid)
    cases = _independent_cases(series, valid)
    ratio = power / red_background(power, steps)
    level = np.maximum(np.median(ratio[1:]), _either_side(ratio)) / (1 - 1 / (3 * cases) + 0.026 / cases**2)
    here, k = ratio / level, np.arange(len(ratio))
    half = np.minimum(k * BAND, WIDEST).astype(int)
    low, high = np.maximum(k - half, 1), np.minimum(k + half, len(ratio) - 1)
    sums = np.concatenate([[0.0], np.cumsum(ratio)])
    band = (sums[high + 1] - sums[low]) / np.maximum(high - low + 1, 1) / level
    # Neighbouring bins of a tapered spectrum share about half of what they say.
    terms = np.maximum(cases * (high - low + 1) / 1.9, 1).astype(int)
    alone, together = _log_tail(np.full(len(k), cases), here), _log_tail(terms, band)
    rare = np.minimum(alone, together)
    rare[:first] = 0
    clear = min(rare.min() / 2, math.log(chance / (2 * len(k))))
    outstanding, slower_than = [], len(k)
    for fastest in range(len(k) - 1, first - 1, -1):
        if rare[fastest] <= clear and fastest < slower_than:
            reach = np.arange(max(first, int(fastest * (1 - 2 * BAND))), fastest + 1)
            top = int(reach[0]) + int(np.argmin(rare[reach]))
            if together[top] < alone[top]:
                start = max(first, int(low[top]))
                top = start + int(np.argmax(here[start : high[top] + 1]))
            outstanding.append(top / steps)
            slower_than = min(int(reach[0]), top * (1 - BAND))
    return outstanding


def power_spectrum(series: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Mean power [T // 2 + 1] of [cases, T] at k / T, each case about its mean and under a Hann taper of its length.

    The taper keeps the power of slow components at the lowest k.
    """
    # scipy.signal.periodogram has one taper for all cases, and these may be of different lengths.
    time, lengths = np.arange(series.shape[1]) + 0.5, valid.sum(1, keepdims=True)
    taper = np.where(valid, np.sin(np.pi * time / np.maximum(lengths, 1)) ** 2, 0.0)
    mean = (taper * np.where(valid, series, 0.0)).sum(1, keepdims=True) / np.maximum(taper.sum(1, keepdims=True), 1e-9)
    spectrum = np.fft.rfft(taper * np.where(valid, series - mean, 0.0), axis=1)
    power = (np.abs(spectrum) ** 2).sum(0) / (taper**2).sum()
    return power + 1e-14 * power.max()  # what lies below is rounding


def red_background(power: np.ndarray, steps: int) -> np.ndarray:
    """A multiple of 1 / |1 - phi exp(-2 pi i f)|^2 + c, the (phi, c) nearest to `power` in mean absolute log ratio.

    The mean absolute value leaves out the few bins of a cycle or of a trend.
    """
    near_one = 1 - np.geomspace(1 / steps, 1, 20)
    phi = np.concatenate([-near_one[:-1], near_one[::-1]])[:, None]

    def red(k: np.ndarray) -> np.ndarray:
        return 1 / np.abs(1 - phi * np.exp(-2j * np.pi * k / steps)) ** 2

    bins = np.unique(np.linspace(1, len(power) - 1, min(len(power) - 1, BINS)).astype(int))
    floor = np.array(FLOORS)[:, None, None] / (1 + np.abs(phi)) ** 2 * (phi > 0)
    off = np.log(power[bins]) - np.log(red(bins) + floor)
    misfit = np.abs(off - np.median(off, axis=-1, keepdims=True)).sum(-1)
    i, j = np.unravel_index(np.argmin(misfit), misfit.shape)
    return red(np.arange(len(power)))[j] + floor[i, j]


def _either_side(ratio: np.ndarray) -> np.ndarray:
    """The higher of the medians below and above each bin, outside its band and the two bins that its taper fills.

    A slope is higher than its middle on one side, a peak on neither.
    Bins above the last are the mirror image, as the spectrum is. Medians are taken at some bins and interpolated.
    """
    last = len(ratio) - 1
    mirrored = np.concatenate([ratio, ratio[-2::-1]])
    spaced = np.geomspace(1, last, int(8 * math.log2(last + 1)) + 2)
    at = np.unique(np.concatenate([np.arange(1, min(last, 16) + 1), spaced.round().astype(int)]))
    level = np.zeros(len(at))
    for i, k in enumerate(at):
        below = ratio[max(1, int(k / NEIGHBOURS)) : max(0, min(k - 1, math.ceil(k * (1 - BAND))))]
        above = mirrored[max(k + 2, int(k * (1 + BAND)) + 1) : math.ceil(k * NEIGHBOURS) + 1]
        level[i] = max(np.median(part) if len(part) else 0.0 for part in (below, above))
    return np.interp(np.arange(last + 1), at, level)


def _independent_cases(series: np.ndarray, valid: np.ndarray) -> int:
    # Windows of one series repeat its values; so many cases of different values there are.
    different = len(np.unique(series[valid])) // series.shape[1]
    return min(len(series), max(1, different), MOST_TERMS)


def _log_tail(terms: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """log P(the mean of `terms` unit exponentials > `mean`) = -y + log sum_{j < terms} y^j / j!, y = terms mean."""
    # scipy's gamma distribution says -inf of tails below 1e-308, and bins are ranked by them.
    terms = np.minimum(terms, MOST_TERMS)
    y = np.maximum(terms * mean, 1e-300)
    j = np.arange(terms.max())
    each = j * np.log(y)[:, None] - np.array([math.lgamma(n + 1) for n in j])
    each[j >= terms[:, None]] = -np.inf
    top = each.max(1)
    return np.minimum(-y + top + np.log(np.exp(each - top[:, None]).sum(1)), 0.0)
