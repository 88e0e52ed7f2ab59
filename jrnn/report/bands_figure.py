"""The figure of ways back: singular values of dh_t/dh_{t-lag} against the lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.flow.judging import VANISHED
from jrnn.flow.summary import FlowSummary
from jrnn.report.diagnosis import Diagnosis, Stage, shows_stages
from jrnn.report.style import label_box, legend, prepare, stage_styles, theme
from jrnn.types import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEP = -30.0
"""Nats: what lies lower (a factor of 1e-13) is drawn at the edge, with a note."""


@shows_stages
def plot_window_bands(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws ln sigma_i of dh_t/dh_{t-lag} (nats; as a factor on the right) against the lag in steps, for each stage.

    The strong line is the largest, i = 1; the band holds the middle 80 % of the N directions, the thin line in it is
    the median one (all of the median sequence). Where only the largest few were followed, the band goes from the first
    to the last of them. Below -30 nats, dead directions too, things are drawn at the edge, with a note.

    Args:
      diagnosis: what to draw; some stage must have `flow.windows`.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: no stage has windows, or matplotlib is not installed.
    """
    stages = [stage for stage in diagnosis.stages if stage.flow.windows is not None]
    if not stages:
        raise InputError("diagnosis", "no stage with flow.windows", "a summary that measured them (`why=True`)")
    look, last = theme(dark), stages[-1].flow
    ax = prepare(
        ax,
        dark,
        "What the way back does to each direction",
        "lag: steps back in time",
        "ln σ_i (nats)",
        len(stages) + 2,
    )
    styles = stage_styles(len(diagnosis.stages), dark)[-len(stages) :]
    values = [_stage(ax, stage, style) for stage, style in zip(stages, styles, strict=True)]
    every = np.concatenate(values)
    known = every[np.isfinite(every)]
    low, high = max(known.min(initial=-5.0), DEEP), max(known.max(initial=0.0), 0.5)
    room = 0.05 * (high - low)
    ax.set_ylim(low - room, high + 2.5 * room)
    ax.set_xlim(0, max(max(int(stage.flow.windows.lags[-1]) for stage in stages if stage.flow.windows), 2) * 1.01)
    if (every < low).any():
        edge = "a direction dies (−∞) or falls below the edge" if low == DEEP else "at the edge: −∞, a direction dies"
        ax.text(0.02, 0.02, edge, transform=ax.transAxes, color=look.text, fontsize=9, bbox=label_box(dark), gid="note")
    ax.axhline(0, color=look.text, linewidth=1, linestyle=":", gid="zero")
    ax.plot([last.lag], [np.log(VANISHED)], "_", color=look.good, markersize=18, markeredgewidth=2.5, gid="one-percent")
    ax.axvline(last.lag, color=look.good, linewidth=1.5, linestyle="-.", gid="needed-lag", clip_on=False)
    _factor_axis(ax, dark)
    legend(ax, dark, [*ax.get_legend_handles_labels()[0], *_key(dark, last)])
    return ax


def directions(logs: np.ndarray) -> np.ndarray:
    """[M, n] of one sequence -> [3, M]: weakest tenth, middle and strongest tenth of the directions."""
    return np.quantile(logs, (0.1, 0.5, 0.9), axis=1, method="nearest")


def _stage(ax: Axes, stage: Stage, style: dict[str, Any]) -> np.ndarray:
    """Draws one stage; returns all values drawn, before clipping."""
    windows = stage.flow.windows
    assert windows is not None
    logs, lags = windows.log_singular_values[1], windows.lags
    low, middle, high = directions(logs) if windows.complete else (logs[:, -1], None, logs[:, 0])
    floor = DEEP
    ax.fill_between(lags, np.maximum(low, floor), np.maximum(high, floor), color=style["color"], alpha=0.2, linewidth=0)
    if middle is not None:
        ax.plot(lags, np.maximum(middle, floor), linewidth=1, gid=f"median {stage.name}", **style)
    label = f"{stage.name}: the largest, i = 1"
    ax.plot(
        lags, np.maximum(windows.largest, floor), linewidth=2.2, marker="o", markersize=4, label=label,
        gid=f"largest {stage.name}", **style,
    )  # fmt: skip
    return np.concatenate([np.ravel(part) for part in (low, high, windows.largest)])


def _factor_axis(ax: Axes, dark: bool) -> None:
    """The same as factors on the right."""
    look = theme(dark)
    right = ax.secondary_yaxis("right", functions=(lambda nats: nats / np.log(10), lambda power: power * np.log(10)))
    right.yaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator(6, integer=True))
    right.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$" if power else "1")
    right.set_ylabel("σ (factor over the whole way)", color=look.text)
    right.tick_params(colors=look.text)
    right.spines["right"].set_color(look.text)


def _key(dark: bool, flow: FlowSummary) -> list[Any]:
    """What the bands and the line stand for."""
    lines, patches, look = require("matplotlib.lines"), require("matplotlib.patches"), theme(dark)
    windows = flow.windows
    assert windows is not None
    band = f"the largest {windows.log_singular_values.shape[2]} of {windows.size} directions"
    band = f"80 % of the {windows.size} directions; thin: the median" if windows.complete else band
    words = f"lag needed: {flow.lag}; the mark on it: 1 %"
    return [
        patches.Patch(color=look.soft, alpha=0.3, label=band),
        lines.Line2D([], [], color=look.good, linestyle="-.", linewidth=1.5, label=words),
    ]
