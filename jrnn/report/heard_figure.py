"""What the weights hear: the parameter gradient by lag, for each stage, and by gate and path of the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis, shows_stages
from jrnn.report.lag_figure import FLOOR
from jrnn.report.style import furnish, label_box, legend, prepare, split, stage_styles, theme
from jrnn.types import InputError
from jrnn.wording import number, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GATES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
GATES_DARK = ["#56B4E9", "#F0803C", "#2fc79b", "#CC79A7", "#5b8fd9", "#E69F00"]
DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1, 1.5)))


@shows_stages
def plot_heard_lags(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws ||G_tau|| (log axis) against the lag for each stage: what each lag puts into the weights' gradient.

    sum_tau G_tau = dL/dparams. A triangle marks the effective horizon, by which the cumulated norm reaches 95 %. What
    is under 1e-12 of the largest, zeros too, ends at the bottom. Where only a sample of the outputs was followed, a
    band spans ||G_tau|| plus and minus its sampling error.

    Args:
      diagnosis: what to draw.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: matplotlib is not installed.
    """
    look, stages = theme(dark), diagnosis.stages
    labels = ("What the weights hear", "lag τ: steps back in time", "‖G_τ‖ (loss per unit of weight)")
    ax = prepare(ax, dark, *labels, len(stages) + 1)
    curves = [heard(stage.flow.lag_norms) for stage in stages]
    low = _log_axis(ax, curves, dark)
    for stage, curve, style in zip(stages, curves, stage_styles(len(stages), dark), strict=True):
        horizon, errors = stage.flow.effective_horizon, stage.flow.lag_errors[: len(curve)]
        if not stage.flow.exact and len(errors):
            ends = (np.maximum(curve - errors, ax.get_ylim()[0]), curve + errors)
            ax.fill_between(
                np.arange(len(curve)), *ends, color=style["color"], alpha=0.13, linewidth=0, gid=f"error {stage.name}"
            )
        label = f"{stage.name}: 95 % from the last {steps(horizon)}"
        ax.plot(ended(curve, low), linewidth=2, label=label, gid=f"heard {stage.name}", **style)
        if horizon < len(curve):
            at = max(float(np.nan_to_num(curve[horizon], posinf=low)), low)
            ax.plot(
                [horizon], [at], "v", color=style["color"], markersize=9, clip_on=False, gid=f"horizon {stage.name}"
            )
    needed = stages[-1].flow.lag
    ax.axvline(
        needed, color=look.good, linewidth=1.5, linestyle="-.", gid="needed-lag", clip_on=False, label="lag needed"
    )
    legend(ax, dark)
    return ax


@shows_stages
def plot_gates(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws, for the last stage of a gated cell, ||G_tau|| of each gate's parameters, and what arrives by each path.

    Above: the parameter gradient by lag, gate by gate. Below, where the state has parts (an LSTM's h and c): the
    fraction of the gradient that arrives by way of each alone. Both axes are logarithmic.

    Args:
      diagnosis: what to draw; its last stage must have `flow.lag_norms_by_gate`.
      ax: matplotlib Axes to draw on, divided where there are paths; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes of the gates; `.figure` is the Figure.
    Raises:
      InputError: the cell has no gates, or matplotlib is not installed.
    """
    stage, look = diagnosis.stages[-1], theme(dark)
    gates, paths = stage.flow.lag_norms_by_gate, stage.flow.arriving_by_state
    if not gates:
        raise InputError("diagnosis", "a last stage without gates", "one of a gated cell (LSTM, GRU)")
    x, rows = "lag τ: steps back in time", -(-len(gates) // 4)
    ax = prepare(ax, dark, f"Gate by gate, {stage.name}", "" if paths else x, "", rows, 5.6 if paths else 3.9)
    parts = split(ax, (1.0, 1.0)) if paths else [ax]
    furnish(ax, dark, "" if paths else x, "‖G_τ‖ of the gate's\nweights (loss per unit)")
    _curves(ax, {f"gate {name}": heard(norms) for name, norms in gates.items()}, dark, 4)
    if paths:
        furnish(parts[1], dark, x, "fraction of the gradient\nthat arrives")
        _curves(parts[1], {f"by way of {name}": np.asarray(a, float) for name, a in paths.items()}, dark, 2)
    for part in parts:
        part.axvline(stage.flow.lag, color=look.good, linewidth=1.5, linestyle="-.", gid="needed-lag", clip_on=False)
    return ax


def heard(norms: Any) -> np.ndarray:
    """||G_tau|| without the initial state's lags at the end, which are exactly 0 where it is not learnt."""
    norms = np.asarray(norms, float)
    return norms[:-1] if len(norms) > 1 and norms[-1] == 0 else norms


def ended(curve: np.ndarray, low: float) -> np.ndarray:
    """The curve down to where it is gone for good, there at the bottom, and not drawn beyond; infinities are gaps."""
    last = gone_from(curve, low)
    kept = np.where(np.isfinite(curve) & (curve >= low), curve, np.nan)
    if 0 < last < len(curve):
        kept[last] = low
    return kept


def _curves(ax: Axes, curves: dict[str, np.ndarray], dark: bool, columns: int) -> None:
    """One line a name, told apart by colour and dashes."""
    low, palette = _log_axis(ax, list(curves.values()), dark), GATES_DARK if dark else GATES
    for i, (name, curve) in enumerate(curves.items()):
        style = {"color": palette[i % len(palette)], "linestyle": DASHES[i % len(DASHES)]}
        ax.plot(ended(curve, low), linewidth=1.8, label=name, gid=name, **style)
    legend(ax, dark, columns=columns)


def _log_axis(ax: Axes, curves: list[np.ndarray], dark: bool) -> float:
    """A log axis from at least 1e-12 of the largest; returns its lower end and says so if something lies below."""
    every = np.concatenate(curves)
    known = every[np.isfinite(every) & (every > 0)]
    high = min(known.max(initial=1e-300), 1e300) if known.size else 1.0
    low = max(known.min(initial=high), FLOOR * high) if known.size else 0.1
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high * 1.2)))
    ax.yaxis.set_minor_formatter(lambda *_: "")
    ax.set_xlim(0, max(max(len(curve) for curve in curves) - 1, 1))
    gone = [lag for curve in curves if (lag := gone_from(curve, low)) < len(curve) - 1]
    if gone:
        words = f"under {number(low)} (or 0) from lag {min(gone)}"
        look: dict[str, Any] = {"color": theme(dark).text, "fontsize": 9, "bbox": label_box(dark)}
        ax.text(0.98, 0.03, words, transform=ax.transAxes, ha="right", gid="note", **look)
    return low


def gone_from(curve: np.ndarray, low: float) -> int:
    """The lag from which on all is under `low`; the number of lags if the last one is not."""
    there = np.flatnonzero(~(curve < low))
    return int(there[-1]) + 1 if len(there) else 0
