"""What the way back does to each direction: singular values of dh_t/dh_{t-lag} against the lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.flow.summary import FlowSummary
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.report.diagnosis import Diagnosis, Stage
from jrnn.report.figures.base import WHY, Caption, Figure
from jrnn.report.figures.style import Theme, legend, mark_lag, prepare, stage_styles, write_note
from jrnn.wording import part_of, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEP = -30.0
"""Nats: what lies lower (a factor of 1e-13) is drawn at the edge, with a note."""


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
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_window_bands` says."""
    stages = [stage for stage in diagnosis.stages if stage.flow.windows is not None]
    last = stages[-1].flow
    ax = prepare(ax, colours, FIGURE.title, "lag: steps back in time", "ln $\\sigma_i$ (nats)", len(stages) + 2)
    styles = stage_styles(len(diagnosis.stages), colours)[-len(stages) :]
    values = [_stage(ax, stage, style) for stage, style in zip(stages, styles, strict=True)]
    every = np.concatenate(values)
    known = every[np.isfinite(every)]
    low, high = max(known.min(initial=-5.0), DEEP), max(known.max(initial=0.0), 0.5)
    room = 0.05 * (high - low)
    ax.set_ylim(low - room, high + 2.5 * room)
    ax.set_xlim(0, max(max(int(stage.flow.windows.lags[-1]) for stage in stages if stage.flow.windows), 2) * 1.01)
    if (every < low).any():
        edge = "a direction dies (−∞) or falls below the edge" if low == DEEP else "at the edge: −∞, a direction dies"
        write_note(ax, edge, colours)
    ax.axhline(0, color=colours.text, linewidth=1, linestyle=":", gid="zero")
    mark = {"color": colours.good, "markersize": 18, "markeredgewidth": 2.5, "gid": "one-percent"}
    ax.plot([last.lag], [np.log(VANISHED)], "_", **mark)
    mark_lag(ax, last.lag, colours)
    _factor_axis(ax, colours)
    legend(ax, colours, [*ax.get_legend_handles_labels()[0], *_key(colours, last)])
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


def _factor_axis(ax: Axes, colours: Theme) -> None:
    """Adds an axis on the right with the same values as factors."""
    right = ax.secondary_yaxis("right", functions=(lambda nats: nats / np.log(10), lambda power: power * np.log(10)))
    right.yaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator(6, integer=True))
    right.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$" if power else "1")
    right.set_ylabel("σ (factor over the whole way)", color=colours.text)
    right.tick_params(colors=colours.text)
    right.spines["right"].set_color(colours.text)


def _key(colours: Theme, flow: FlowSummary) -> list[Any]:
    """Legend entries for the bands and the line."""
    lines, patches = require("matplotlib.lines"), require("matplotlib.patches")
    windows = flow.windows
    assert windows is not None
    band = f"the largest {windows.log_singular_values.shape[2]} of {windows.size} directions"
    band = f"80 % of the {windows.size} directions; thin: the median" if windows.complete else band
    words = f"lag needed: {flow.lag}; the mark on it: 1 %"
    return [
        patches.Patch(color=colours.soft, alpha=0.3, label=band),
        lines.Line2D([], [], color=colours.good, linestyle="-.", linewidth=1.5, label=words),
    ]


def caption(diagnosis: Diagnosis) -> Caption:
    shown = (
        "A way back of many steps stretches some directions of the state and shrinks others; a straight line down is "
        "a loss of the same share at every step. The thick line is the direction that gets through best: no gradient "
        "can arrive larger, whatever the error. If it lies under the green mark at the lag needed, less than 1 % can "
        "arrive. A few directions far above the rest mean that only what lies along them is remembered."
    )
    alt = []
    for stage in diagnosis.stages:
        windows = stage.flow.windows
        if windows is not None:
            best = part_of(float(np.exp(min(windows.largest[-1], 700.0))), "its size")
            alt.append(f"{stage.name}: the best direction keeps {best} over {steps(int(windows.lags[-1]))}")
    return Caption(shown, f"Singular values of the Jacobian of the way back, against the lag. {'; '.join(alt)}.")


FIGURE = Figure(
    "window_bands",
    "What the way back does to each direction",
    WHY,
    draw,
    caption,
    is_measured=lambda diagnosis: any(stage.flow.windows is not None for stage in diagnosis.stages),
    lacking="no stage with flow.windows",
    needed="a summary that measured them (`why=True`)",
)
