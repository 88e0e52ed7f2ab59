"""Columns that count time and measure nothing: a row number, unix time, the hour of the day."""

from __future__ import annotations

import numpy as np

REGULAR = 0.98  # of the steps that must follow the rule: real tables have gaps


def is_counter(series: np.ndarray, valid: np.ndarray | None = None) -> bool:
    """Whether [cases, T] goes up by one constant or stays, but for falls from near its top to its lowest value.

    So do a row number, a year, a month, a weekday repeated for each hour; one that goes down likewise. At least three
    different values, for a flag of 0 and 1 would pass as well.
    """
    valid = np.ones(series.shape, bool) if valid is None else valid
    both = valid[:, 1:] & valid[:, :-1]
    step = np.diff(series.astype(float), axis=1)[both]
    if not step.any():
        return False
    if np.median(step[step != 0]) < 0:
        series, step = -series, -step
    values = series[valid]
    if len(np.unique(values[: 10**5])) < 3:
        return False
    low, high = values.min(), values.max()
    tolerance = 1e-6 * (high - low)
    up = step[step > tolerance]
    if not up.size:
        return False
    rises = np.abs(step - np.median(up)) <= 1e-3 * np.median(up)
    stays = np.abs(step) <= tolerance
    after, before = series[:, 1:][both], series[:, :-1][both]
    falls = (after <= low + tolerance) & (before >= low + 0.85 * (high - low))
    return bool(np.mean(rises | stays | falls) >= REGULAR and rises.any())


def counts_rows(column: np.ndarray) -> bool:
    """Whether a column [steps] is a straight line: a row number, an index, a time in equal steps."""
    step = np.diff(column.astype(float))
    return bool(step.size and step[0] != 0 and np.abs(step - step.mean()).max() <= 1e-6 * abs(step.mean()))
