"""How far off a network was on held-out data, and what that says of its next answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.training.answers import answers
from jrnn.types import Params

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Shares of the held-out residuals for which intervals are kept."""
WINDOWS = 256
"""Of the held-out windows of a series at most, whose last values are hidden."""


def residual_intervals(residuals: np.ndarray) -> dict[str, Any]:
    """What is added to a forecast for the ends of its interval: {"low": {level: one an output}, "high": ...}, and n.

    Of n residuals y - forecast of an output, sorted, those of rank floor((n + 1) a) and ceil((n + 1) (1 - a)), with
    a = (1 - level) / 2 (the first and last where there is none such): if later residuals are exchangeable with these,
    at least `level` of them lie between (split conformal prediction, Lei et al. 2018).

    Args:
      residuals: [n, K], NaN where a target is not known.
    """
    low: dict[str, list[float]] = {}
    high: dict[str, list[float]] = {}
    columns = [np.sort(column[~np.isnan(column)]) for column in residuals.T]
    for level in LEVELS:
        tail = (1 - level) / 2
        ranks = [(int(np.floor((len(c) + 1) * tail)), int(np.ceil((len(c) + 1) * (1 - tail)))) for c in columns]
        low[str(level)] = [float(c[max(rank, 1) - 1]) for c, (rank, _) in zip(columns, ranks)]
        high[str(level)] = [float(c[min(rank, len(c)) - 1]) for c, (_, rank) in zip(columns, ranks)]
    return {"low": low, "high": high, "residuals": len(residuals)}


def held_out_intervals(cell: Any, params: Params, objective: Any, loss_params: Params, data: Any) -> dict[str, Any]:
    """{"intervals": ...} of the held-out part of a data set, in the user's unit; nothing for classes.

    The residuals are those of all scored steps, so of windows of a series most targets count several times, each with
    another history. Of a series "after" has besides, for some gaps g, the intervals of forecasts from the ends of the
    windows with their last g values hidden.
    """
    if objective.classifies or objective.labels:
        return {}
    part = data.subset(data.test)
    off = part["y"].astype(np.float64) - answers(cell, params, objective, loss_params, part)
    if data.series is not None:
        off = off * np.array(data.series.scaling["output_spread"])
    if objective.each:
        steps = np.arange(off.shape[1])
        lengths = part.get("lengths", np.full(len(off), off.shape[1]))
        off = off[(steps >= objective.warmup) & (steps < lengths[:, None])]
    off = known(off)
    if off is None:
        return {}
    kept = residual_intervals(off)
    if data.series is not None:
        kept["after"] = {}
        chosen = np.linspace(0, len(part["x"]) - 1, min(WINDOWS, len(part["x"]))).round().astype(int)
        part = {name: array[chosen] for name, array in part.items()}
        for gap in gaps_within(data.series.history):
            late = known(residuals_after(gap, cell, params, objective, loss_params, part, data.series))
            kept["after"] |= {} if late is None else {str(gap): residual_intervals(late)}
    return {"intervals": kept}


def known(off: np.ndarray) -> np.ndarray | None:
    """The residuals [n, K] of steps with any; None where an output has none, or one is not finite."""
    off = off[~np.isnan(off).all(axis=1)]
    if not len(off) or not np.isfinite(np.nan_to_num(off)).all() or np.isnan(off).all(axis=0).any():
        return None
    return off


def gaps_within(history: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, ...: the gaps that are tried, of windows that keep one value at least."""
    doubled = (2**i for i in range(history.bit_length()))
    return sorted({gap for two in doubled for gap in (two, 3 * two // 2) if gap < history})


def residuals_after(
    gap: int,
    cell: Any,
    params: Params,
    objective: Any,
    loss_params: Params,
    part: Mapping[str, np.ndarray],
    series: Any,
) -> np.ndarray:
    """The residuals [n, H K] of forecasts from the last step of each window of a series, in the user's unit, with the
    last `gap` values of all columns hidden: the one before stands for them, marked where the network has marks."""
    x, columns, marks = part["x"].copy(), series.target_columns, len(series.inputs)
    mean, spread = np.array(series.mean), np.array(series.spread)
    moves = (x[:, -gap:, columns] * spread[columns] + mean[columns]).sum(axis=1, dtype=np.float64)
    x[:, -gap:, :marks] = x[:, -gap - 1, None, :marks]
    x[:, -gap:, marks:] = 1
    if series.change:
        x[:, -gap:, columns] = -mean[columns] / spread[columns]
    z = answers(cell, params, objective, loss_params, {"x": x})[:, -1].astype(np.float64)
    off = (part["y"][:, -1] - z) * np.array(series.scaling["output_spread"])
    return off + np.tile(moves, series.horizon) if series.change else off


def interval_ends(kept: Mapping[str, Any], level: float, gaps: np.ndarray, horizon: int) -> tuple[np.ndarray, ...]:
    """What is added to forecasts for the ends (low, high) of their intervals, each [*lead, H K].

    After a gap the interval is that of forecasts after such a gap on held-out data, or after the next longer one that
    was tried, and never narrower than after a shorter one. Beyond those it grows as that of a random walk does, whose
    error h steps ahead after a gap of g is of the variance h + g.

    Args:
      kept: as `held_out_intervals` makes them; without "after" no gap was tried.
      gaps: int [*lead, K]: how many of the newest values of each target are missing; 0 [*lead, 1] for no series.
    """
    after = {0: kept} | {int(gap): each for gap, each in kept.get("after", {}).items()}
    tried = np.array(sorted(after))
    wide = np.tile(gaps, horizon)
    steps = np.repeat(np.arange(1, horizon + 1), gaps.shape[-1])
    rung = np.minimum(np.searchsorted(tried, wide), len(tried) - 1)
    growth = np.sqrt((steps + np.maximum(wide, tried[-1])) / (steps + tried[-1]))
    ends = []
    for end, outermost in (("low", np.minimum), ("high", np.maximum)):
        table = outermost.accumulate(np.array([after[gap][end][str(level)] for gap in tried]))
        near = table[rung, np.arange(table.shape[1])]
        ends.append(outermost(near, near * growth))
    return tuple(ends)
