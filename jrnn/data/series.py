"""A series cut into windows to forecast one step ahead, and the yearly sunspots."""

from __future__ import annotations

import numpy as np

from jrnn.data.dataset import Dataset
from jrnn.data.lags import lag_of_period
from jrnn.data.periods import typical_period
from jrnn.data.splits import chronological_starts
from jrnn.data.tables import read_table
from jrnn.extras import package_file, with_version
from jrnn.types import InputError

SHORTEST = 20  # steps of a series: windows of 4 and a few of them to train on
LONGEST_WINDOW = 512
MOST_WINDOWS = 4000
MOST_VALUES = 20_000_000  # of x, about 80 MB


def sunspots(seed: int) -> Dataset:
    """Yearly sunspot numbers from 1700 in windows of 44 years, four cycles of about 11; needs statsmodels' files.

    x and y are float32 [cases, 44, 1]; the split is by time, so `seed` changes nothing.
    """
    path = package_file("statsmodels", "datasets/sunspots/sunspots.csv", "for the data set sunspots")
    shipped = with_version("statsmodels")
    source = f"Yearly mean sunspot numbers from 1700 to 2008, public domain, as shipped with {shipped}."
    return forecast_windows("sunspots", read_table(path).values[:, 1:], source, window=44)


def forecast_windows(name: str, values: np.ndarray, source: str, window: int | None = None) -> Dataset:
    """Windows of a series, each asking at every step for all features of the next step.

    All columns are standardised with the mean and standard deviation of the part before the boundary of the split
    (a constant column becomes 0). The last 20 % of the windows are held out; windows across the boundary are left
    out, so no value asked for in the test part is seen in training.

    Args:
      values: finite [steps, F]; window: T, or None for `window_length`.
    Returns:
      A `regress_each` data set with x and y [cases, T, F], K = F.
    Raises:
      InputError: fewer steps than needed, or no column that varies before the boundary.
    """
    steps, features = values.shape
    least = SHORTEST if window is None else max(SHORTEST, 2 * window + 1)
    if steps < least:
        raise InputError("--data", f"{name} with {steps} steps", f"at least {least} steps (rows of numbers)")
    # One estimate for both the window and the lag, on steps that are training data: 60 % are, whatever the window.
    known = int(0.6 * steps) if window is None else chronological_starts(steps, window, MOST_WINDOWS)[2]
    period, clause = typical_period(values[None, :known])
    size = window_length(steps, period) if window is None else window
    limit = max(10, min(MOST_WINDOWS, MOST_VALUES // (size * features)))
    train, test, boundary = chronological_starts(steps, size, limit)
    seen = values[:boundary]
    spread, varies = seen.std(0), np.ptp(seen, axis=0) > 0
    if not varies.any():
        where = f" in its first {boundary} steps, the training part" if np.ptp(values, axis=0).any() else ""
        raise InputError("--data", f"{name}, with no column that varies{where}", "at least one")
    # Rounding can give a constant column a tiny deviation, which must not be blown up to 1.
    spread = np.where((spread > 0) & varies, spread, 1.0)
    with np.errstate(over="ignore"):
        scaled = ((values - seen.mean(0)) / spread).astype(np.float32)  # before it is copied into windows
    index = np.concatenate([train, test])[:, None] + np.arange(size)
    lag, reason = lag_of_period(period, clause, size)
    cases = np.arange(len(index))
    parts = cases[: len(train)], cases[len(train) :]
    x, y = scaled[index], scaled[index + 1]
    return Dataset(name, x, y, None, "regress_each", features, *parts, lag, reason, source)


def window_length(steps: int, period: int | None) -> int:
    """T for a series of so many steps: four periods, or 64 without one, within what the series allows.

    At most a fifth of the series, so that there are windows enough, unless one period needs more (then up to a third),
    and at most 512.
    """
    if period is None:
        return min(64, steps // 5)
    size = max(min(4 * period, steps // 5), min(period + 1, steps // 3))
    return min(size, LONGEST_WINDOW)
