"""A series cut into windows, each asking at every step for the next ones, and the yearly sunspots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jrnn.data.dataset import Dataset
from jrnn.data.lags import lag_of_period
from jrnn.data.naive import naive_forecasts
from jrnn.data.periods import typical_period
from jrnn.data.scaling import Series, changes, filled_forward
from jrnn.data.splits import chronological_starts
from jrnn.data.tables import read_table
from jrnn.extras import package_file, with_version
from jrnn.types import InputError

SHORTEST = 20  # steps of a series: windows of 4 and a few of them to train on
LONGEST_WINDOW = 512
MOST_WINDOWS = 4000
MOST_VALUES = 20_000_000  # of x and y, about 80 MB


def sunspots(seed: int) -> Dataset:
    """Yearly sunspot numbers from 1700 in windows of 44 years, four cycles of about 11; needs statsmodels' files.

    x and y are float32 [cases, 44, 1]; the split is by time, so `seed` changes nothing.
    """
    path = package_file("statsmodels", "datasets/sunspots/sunspots.csv", "for the data set sunspots")
    shipped = with_version("statsmodels")
    source = f"Yearly mean sunspot numbers from 1700 to 2008, public domain, as shipped with {shipped}."
    return forecast_windows("sunspots", read_table(path).values[:, 1:], source, window=44)


def forecast_windows(
    name: str,
    values: np.ndarray,
    source: str,
    window: int | None = None,
    *,
    names: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    horizon: int = 1,
    missing: str = "refuse",
    change: bool = False,
    usual: int | None = None,
    every: str = "",
    like: Series | None = None,
    filled: np.ndarray | None = None,
) -> Dataset:
    """Windows of a series, each asking at every step for the targets at the next `horizon` steps.

    All columns are standardised with the mean and standard deviation of the part before the boundary of the split
    (a constant column becomes 0). The last 20 % of the windows are held out; windows across the boundary are left
    out, so no value asked for in the test part is seen in training. The first period of each window, at most its
    first half, is not scored: no forecast of it can know the season.

    Args:
      values: [steps, C], finite, or NaN where a value is missing and `missing` is "mask"; window: T, or None for
        `window_length`.
      names: of the columns; by default "column 1" and so on.
      targets: the columns that are forecast; by default all.
      horizon: H, how many steps ahead; all H at once (a direct forecast).
      change: whether the targets are read and forecast as changes: see `Series`.
      usual: the period that this frequency has by custom (24 for hours), for the seasonal naive forecast alone, where
        none is measured.
      every: how often there is a row, as `Rhythm.every`.
      like: the series of a saved model: its scaling, window, horizon, lag and warm-up replace those found here.
      filled: bool [steps, C], the values that were interpolated. Each knows the next one, so it is not asked for, and
        nothing is asked at its step.
    Returns:
      A `regress_each` data set with x [cases, T, F] and y [cases, T, H K], K targets for h = 1, then for h = 2, ...
    Raises:
      InputError: fewer steps than needed, no column that varies before the boundary, or no step without a filled value.
    """
    steps, columns = values.shape
    names = [f"column {i + 1}" for i in range(columns)] if names is None else list(names)
    targets = list(names) if targets is None else list(targets)
    if like is not None:
        window, horizon, targets = like.history, like.horizon, list(like.targets)
    at = [names.index(target) for target in targets]
    least = SHORTEST if window is None else max(SHORTEST, 2 * (window + horizon) - 1)
    if steps < least:
        raise InputError("--data", f"{name} with {steps} steps", f"at least {least} steps (rows of numbers)")
    # One estimate for both the window and the lag, on steps that are training data with the widest window.
    widest = min(steps // 3, LONGEST_WINDOW, max(1, (steps + 1) // 2 - horizon)) if window is None else window
    known = chronological_starts(steps, widest, MOST_WINDOWS, min(horizon, (steps + 1) // 2 - widest))[2]
    known = known if window is not None else min(known, int(0.6 * steps))
    period, clause = typical_period(_interpolated(values[:known, at])[None])
    size = window_length(steps, period) if window is None else window
    if steps < 2 * (size + horizon) - 1:
        given = f"{horizon}, beside windows of {size} steps of the {steps} of {name}"
        raise InputError("--horizon", given, f"at most {(steps + 1) // 2 - size} steps ahead")
    outputs = horizon * len(targets)
    limit = max(10, min(MOST_WINDOWS, MOST_VALUES // (size * (columns + outputs))))
    train, test, boundary = chronological_starts(steps, size, limit, horizon)
    if like is None:
        like = _described(name, values, boundary, names, targets, size, horizon, change)
        like = replace(like, missing=missing, period=period if period is not None else usual, every=every)
    if like.lag is None:
        lag, reason = lag_of_period(period, clause, size)
        like = replace(like, lag=lag, lag_reason=reason, warmup=0 if period is None else min(period, size // 2))
    assert like.lag is not None
    warmup = like.warmup
    filled = np.zeros(values.shape, bool) if filled is None else filled
    informed = np.asarray(filled.any(axis=1))
    inputs, asked = like.scaled(values), np.where(filled[:, like.target_columns], np.nan, like.scaled_targets(values))
    index = np.concatenate([train, test])[:, None] + np.arange(size)
    x, y = inputs[index], like.asked(asked, index)
    y[informed[index]] = np.nan
    cases = np.arange(len(index))
    parts = cases[: len(train)], cases[len(train) :]
    scored = test[:, None] + np.arange(warmup, size)
    if informed.any() and any(np.isnan(y[part, warmup:]).all() for part in parts):
        raise InputError("--missing", "interpolate, which fills a value at almost every step", "mask")
    naive = naive_forecasts(asked, scored[~informed[scored]], horizon, like.period)
    gaps = bool(np.isnan(y).any())
    return Dataset(
        name, x, y, None, "regress_each", outputs, *parts, like.lag, like.lag_reason, source, warmup,
        missing=gaps, naive=naive, series=like,
    )  # fmt: skip


def _described(
    name: str,
    values: np.ndarray,
    boundary: int,
    names: list[str],
    targets: list[str],
    size: int,
    horizon: int,
    change: bool,
) -> Series:
    """The scaling of the part before the boundary."""
    seen, at = values[:boundary], [names.index(target) for target in targets]
    empty = np.flatnonzero(np.isnan(seen).all(axis=0))
    if len(empty):
        given = f"{name}, whose {names[empty[0]]!r} has no value in its first {boundary} steps, the training part"
        raise InputError("--data", given, "columns with values there")
    spread, varies = np.nanstd(seen, axis=0), np.nanmax(seen, axis=0) > np.nanmin(seen, axis=0)
    if not varies[at].any():
        later = (np.nanmax(values[:, at], axis=0) > np.nanmin(values[:, at], axis=0)).any()
        where = f" in its first {boundary} steps, the training part" if later else ""
        what = "column" if len(targets) == len(names) else "target"
        raise InputError("--data", f"{name}, with no {what} that varies{where}", "at least one")
    ahead: tuple[float, ...] = ()
    if change:
        ahead, seen = _change_spread(filled_forward(seen)[:, at], horizon), changes(seen, at)
        spread, varies = np.nanstd(seen, axis=0), np.nanmax(seen, axis=0) > np.nanmin(seen, axis=0)
    # Rounding can give a constant column a tiny deviation, which must not be blown up to 1.
    spread = np.where((spread > 0) & varies, spread, 1.0)
    incomplete = tuple(names[i] for i in np.flatnonzero(np.isnan(values).any(axis=0)))
    mean = np.nanmean(seen, axis=0).tolist()
    fixed = tuple(names), tuple(targets), tuple(mean), tuple(spread.tolist()), horizon, size, incomplete
    return Series(*fixed, change=change, change_spread=ahead)


def _change_spread(known: np.ndarray, horizon: int) -> tuple[float, ...]:
    """The root mean square of v_{t+h} - v_t over t and h = 1..H, for each column of [T, K]; 1 where nothing changes."""
    squares = [np.nanmean(np.square(known[h:] - known[:-h]), axis=0) for h in range(1, horizon + 1)]
    root = np.sqrt(np.mean(squares, axis=0))
    return tuple(np.where(root > 0, root, 1.0).tolist())


def _interpolated(values: np.ndarray) -> np.ndarray:
    """[T, C] with a straight line over each gap, for the estimate of the period alone."""
    known, time = ~np.isnan(values), np.arange(len(values))
    if known.all():
        return values
    columns = [np.interp(time, time[k], v[k]) if k.any() else np.zeros(len(v)) for k, v in zip(known.T, values.T)]
    return np.stack(columns, axis=1)


def window_length(steps: int, period: int | None) -> int:
    """T for a series of so many steps: four periods, or 64 without one, within what the series allows.

    At most a fifth of the series, so that there are windows enough, unless one period needs more (then up to a third),
    and at most 512.
    """
    if period is None:
        return min(64, steps // 5)
    size = max(min(4 * period, steps // 5), min(period + 1, steps // 3))
    return min(size, LONGEST_WINDOW)
