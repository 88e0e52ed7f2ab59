"""The period of each feature and the one that is typical of them, from spectrum and autocorrelation."""

from __future__ import annotations

import math

import numpy as np

from jrnn.data.counters import is_counter
from jrnn.data.spectra import outstanding_frequencies
from jrnn.extras import require

ROUNDING = 1e-12  # relative to the largest value
CHANCE = 0.01  # of a period in red noise, over all features together
SHARE = 0.15  # of the variation within half a period that must come back a period later
MULTIPLES = 16  # of the outstanding period that are tried: a harmonic may stand out more than the cycle itself
MOST_VALUES = 1_000_000  # of one feature that are looked at
FEWEST = 0.25  # of the features that must have the typical period


def autocorrelation(values: np.ndarray, valid: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Autocorrelation of [cases, T] about the common mean, averaged over the cases.

    Args:
      values: float [cases, T].
      valid: bool [cases, T]; other steps take no part. None: all do.
    Returns:
      r [T], with r[0] = 1 (all 0 for constant values), and the number of pairs [T] each entry is a mean over.
    """
    valid = np.ones(values.shape, bool) if valid is None else valid
    centred = np.where(valid, values - values[valid].mean(), 0.0)
    # What remains of a constant, or below of an exact line, is rounding and not a signal.
    if np.abs(centred).max() <= ROUNDING * np.abs(values[valid]).max():
        centred = np.zeros_like(centred)
    pairs = _lagged_sums(valid.astype(float)).round()
    # Dividing by the pairs at each lag, not by T, keeps a slow cycle's peak at its period.
    r = _lagged_sums(centred) / np.maximum(pairs, 1)
    return (r / r[0] if r[0] > 0 else np.zeros_like(r)), pairs


def dominant_period(values: np.ndarray, valid: np.ndarray | None = None) -> int | None:
    """The period in steps that is typical of the features of [cases, T, F], or None; see `typical_period`."""
    return typical_period(values, valid)[0]


def typical_period(values: np.ndarray, valid: np.ndarray | None = None) -> tuple[int | None, str]:
    """The period that most features share, the longest of equals, and a clause that says so and what others have.

    None where fewer than a fourth of the features share it. Constant features do not count, and calendar counters
    (an hour of the day, a row number) only where there is nothing else.

    Args:
      values: float [cases, T, F]; one long series is one case.
      valid: bool [cases, T], a prefix of each case, or None for all.
    """
    cases, steps, features = values.shape
    valid = np.ones((cases, steps), bool) if valid is None else valid
    chosen = np.unique(np.linspace(0, cases - 1, min(cases, max(1, MOST_VALUES // steps))).astype(int))
    chosen = chosen[valid[chosen].any(1)]
    values, valid = values[chosen].astype(float), valid[chosen]
    varying = [f for f in range(features) if np.ptp(values[:, :, f][valid]) > 0]
    counters = [f for f in varying if is_counter(values[:, :, f], valid)]
    asked = [f for f in varying if f not in counters] or varying
    left_out = [f for f in counters if f not in asked]
    periods = {f: period_of(values[:, :, f], valid, CHANCE / len(asked)) for f in asked}
    known = [period for period in periods.values() if period is not None]
    groups = [[other for other in known if abs(other - period) <= max(1, 0.1 * period)] for period in known]
    typical = max(groups, key=lambda group: (len(group), max(group)), default=[])
    clear = bool(typical) and len(typical) >= FEWEST * len(asked)
    period = int(np.median(typical) + 0.5) if clear else None
    return period, _clause(period, len(typical), len(asked), known, left_out)


def period_of(series: np.ndarray, valid: np.ndarray, chance: float = CHANCE) -> int | None:
    """The period of one feature [cases, T] in steps, where spectrum and autocorrelation agree, or None.

    The spectrum must stand out from red noise; of several such frequencies the fastest counts that the autocorrelation
    confirms, so slow components do not hide it. A single series shows periods of up to a third of it, windows up to
    3/4 of theirs.
    """
    cases, steps = series.shape
    reach = steps // 3 if cases == 1 else 3 * steps // 4
    if cases == 1 and valid.all() and steps > 2:
        series = _without_line(series)
    # Each case about its own mean: how far apart the levels lie says nothing about a cycle.
    r, _ = autocorrelation(series - _mean(series, valid) if cases > 1 else series, valid)
    if r[0] <= 0:
        return None
    frequencies = outstanding_frequencies(series, valid, 3 if cases == 1 else 1, chance)
    return next((lag for f in frequencies if (lag := _confirmed(r, f, reach)) is not None), None)


def _confirmed(r: np.ndarray, frequency: float, reach: int) -> int | None:
    """The lag of the peak of r [T] at 1 / frequency, or at the first multiple that comes back much better, if any.

    The height of r(l) is taken above the mean of r(l - d) and r(l + d), d half of 1 / frequency: slow components give
    none. It must be a maximum, and a share of the height of r(0).
    """
    half, tops = max(1, int(0.5 / frequency)), []
    for multiple in range(1, MULTIPLES + 1):
        centre = multiple / frequency
        # The spectrum knows a period to about half a bin, and a cycle of varying length to its band.
        unsure = max(1.0, 0.15 / frequency, 0.6 / frequency**2 / len(r))
        lags = np.arange(max(2, math.ceil(centre - unsure) - 1), min(reach, int(centre + unsure) + 1) + 1)
        if len(lags) < 3:
            break
        height = _height(r, lags, half)
        # scipy.signal.find_peaks would take a lower maximum where the highest place is an end of this stretch.
        top = int(np.argmax(height))
        peaks = 0 < top < len(lags) - 1 or lags[top] == 2
        tops.append((height[top] / (r[0] - r[half]), int(lags[top]), peaks))
    best = max((share for share, _, _ in tops), default=0.0)
    share, lag, peaks = next((top for top in tops if top[0] >= 2 / 3 * best), (0.0, 0, False))
    return lag if peaks and share >= SHARE else None


def _height(r: np.ndarray, lags: np.ndarray, half: int) -> np.ndarray:
    before = r[np.abs(lags - half)]
    after = np.where(lags + half < len(r), r[np.minimum(lags + half, len(r) - 1)], before)
    return r[lags] - (before + after) / 2


def _clause(period: int | None, sharing: int, asked: int, known: list[int], left_out: list[int]) -> str:
    if period is None:
        text = "spectrum and autocorrelation show no clear period"
    else:
        text = f"spectrum and autocorrelation agree on a period of {period} steps"
    if asked > 1 and known:
        others = sorted({other for other in known if period is None or abs(other - period) > max(1, 0.1 * period)})
        shown = f"{', '.join(map(str, others[:5]))}{', ...' if len(others) > 5 else ''} steps" if others else ""
        if period is None:
            text += f" ({len(known)} of {asked} features have one: {shown})"
        else:
            text += f" in {sharing} of {asked} features{f' (others have {shown})' if others else ''}"
    if left_out:
        which = f"feature{'s' if len(left_out) > 1 else ''} {', '.join(map(str, left_out[:8]))}"
        text += f"; left out as counting and not measuring: {which}{', ...' if len(left_out) > 8 else ''}"
    return text


def _mean(series: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.where(valid, series, 0.0).sum(1, keepdims=True) / np.maximum(valid.sum(1, keepdims=True), 1)


def _without_line(series: np.ndarray) -> np.ndarray:
    rest = require("scipy.signal").detrend(series, axis=1)
    return rest if np.abs(rest).max() > ROUNDING * np.abs(series).max() else np.zeros_like(rest)


def _lagged_sums(values: np.ndarray) -> np.ndarray:
    # statsmodels' acf takes one series, and here cases of different lengths count as one.
    both_ways = require("scipy.signal").fftconvolve(values, values[:, ::-1], axes=1)
    return both_ways[:, values.shape[1] - 1 :].sum(0)
