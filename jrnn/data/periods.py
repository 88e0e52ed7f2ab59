"""The dominant period of a series, from its autocorrelation."""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-12  # relative to the largest value


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
    """The longest of the features' periods in steps, or None where no feature has a clear one.

    A feature's period is where its autocorrelation is highest in the first stretch that is positive again after the
    first zero crossing and whose top is clear: four standard errors of noise, and half of the best later stretch.
    A straight line is taken out of a single series first, for a trend hides the crossing.

    Args:
      values: float [cases, T, F]; one long series is one case.
      valid: bool [cases, T], or None for all.
    """
    cases, steps, features = values.shape
    # A single series says little about lags beyond its half; many windows say something up to near their length.
    reach = steps // 2 if cases == 1 else 3 * steps // 4
    found = []
    for feature in range(features):
        series = values[:, :, feature].astype(float)
        if cases == 1 and valid is None and steps > 2:
            series = _without_line(series)
        peak = _first_clear_peak(*autocorrelation(series, valid), reach)
        if peak is not None:
            found.append(peak)
    return max(found, default=None)


def _first_clear_peak(r: np.ndarray, pairs: np.ndarray, reach: int) -> int | None:
    below = np.flatnonzero(r[: reach + 1] <= 0)
    if r[0] <= 0 or not len(below):
        return None
    tops, lag = [], int(below[0])
    while lag <= reach:
        if r[lag] <= 0:
            lag += 1
            continue
        stop = lag
        while stop <= reach and r[stop] > 0:
            stop += 1
        top = lag + int(np.argmax(r[lag:stop]))
        # A stretch that still rises where the view ends has not shown its peak.
        if top < reach:
            tops.append(top)
        lag = stop
    best = max((r[top] for top in tops), default=0.0)
    clear = [top for top in tops if r[top] >= 0.5 * best and r[top] > 4 / np.sqrt(max(pairs[top], 1))]
    return clear[0] if clear else None


def _without_line(series: np.ndarray) -> np.ndarray:
    time = np.arange(series.shape[1]) - (series.shape[1] - 1) / 2
    centred = series - series.mean()
    rest = centred - (centred[0] @ time) / (time @ time) * time
    return rest if np.abs(rest).max() > ROUNDING * np.abs(series).max() else np.zeros_like(rest)


def _lagged_sums(values: np.ndarray) -> np.ndarray:
    steps = values.shape[1]
    # Zeros to twice the length keep the end of a case from meeting its own start.
    spectrum = np.fft.rfft(values, 2 * steps, axis=1)
    return np.fft.irfft((np.abs(spectrum) ** 2).sum(0), 2 * steps)[:steps]
