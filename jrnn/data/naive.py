"""The forecasts of a series that need no network, and their error on the held-out part."""

from __future__ import annotations

import numpy as np

from jrnn.data.scaling import filled_forward


def naive_forecasts(
    asked: np.ndarray, index: np.ndarray, horizon: int, period: int | None
) -> tuple[tuple[str, str, float], ...]:
    """(name, meaning, mean squared error) of persistence and of the seasonal naive forecast.

    Persistence answers y_{t+h} = x_t, the seasonal naive forecast y_{t+h} = x_{t+h-mp}, m = ceil(h / p), the newest
    value of the same season (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 5.2). Both know the
    whole series up to t; a missing value stands as the last known one before it.

    Args:
      asked: [T, K] the targets, NaN where missing; index: the steps t at which forecasts are made.
      period: p, or None for no season.
    """
    known, h = filled_forward(asked), np.arange(1, horizon + 1)
    ahead = index[..., None] + h
    found = [("persistence", "the last known value stays", _error(asked, known, ahead, index[..., None]))]
    if period is not None and period > 1:
        before = ahead - period * -(-h // period)
        if before.min() >= 0:
            meaning = f"the value of the same step of the last period, {period:,} steps"
            found.append(("seasonal naive", meaning, _error(asked, known, ahead, before)))
    return tuple(each for each in found if np.isfinite(each[2]))


def _error(asked: np.ndarray, known: np.ndarray, ahead: np.ndarray, source: np.ndarray) -> float:
    """The mean of (y - forecast)^2 over the targets that are known, one step ahead at a time to save memory."""
    total, count = 0.0, 0
    for i in range(ahead.shape[-1]):
        off = asked[ahead[..., i]] - known[source[..., min(i, source.shape[-1] - 1)]]
        seen = ~np.isnan(off)
        total, count = total + float(np.square(off[seen]).sum()), count + int(seen.sum())
    return total / count if count else float("nan")
