"""What the way back does to each direction: singular values of dh_t/dh_{t-lag} against the lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.flow import WindowBands
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import WHY, Caption, Drawn, Figure, Part
from jrnn.report.figures.quantities import WINDOWS
from jrnn.report.figures.readout import Curve, Readout, at_lag
from jrnn.report.figures.style import finish, mark_lag, prepare, write_note
from jrnn.report.figures.themes import Look
from jrnn.wording import kept, part_of, power_of_ten, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEP = -30.0
"""Nats: what lies lower (a factor of 1e-13) is drawn at the edge, with a note."""


def plot_window_bands(
    measured: Any,
    *,
    ax: Axes | None = None,
    lag: int | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws ln sigma_i of dh_t/dh_{t-lag} (nats; as a factor on the right) against the lag in steps, a line each.

    The strong line is the largest, i = 1; the band holds the middle 80 % of the N directions, the thin line in it is
    the median one (all of the median sequence). Where only the largest few were followed, the band goes from the first
    to the last of them. Below -30 nats, dead directions too, things are drawn at the edge, with a note.

    Args:
      measured: a `WindowSpectrum`, `WindowBands`, a `FlowSummary` with `windows`, a dict {name: any of them}, or
        a `Diagnosis`.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      lag: the lag that the task needs, to be marked; by default that of the verdict, where there is one.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or has no windows, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, lag=lag, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_window_bands` says."""
    parts = drawn.parts
    ax = prepare(ax, look, "lag: steps back in time", "ln $\\sigma_i$ (nats)")
    every = np.concatenate([_lines(ax, part, look) for part in parts])
    known = every[np.isfinite(every)]
    low, high = max(known.min(initial=-5.0), DEEP), max(known.max(initial=0.0), 0.5)
    room = 0.05 * (high - low)
    ax.set_ylim(low - room, high + 2.5 * room)
    ax.set_xlim(0, max(max(int(part.of.lags[-1]) for part in parts), 2) * 1.01)
    if (every < low).any() and look.roomy:
        edge = "a direction dies (−∞) or falls below the edge" if low == DEEP else "at the edge: −∞, a direction dies"
        write_note(ax, edge, look)
    ax.axhline(0, color=look.text, linewidth=1, linestyle=":", gid="zero")
    if drawn.lag is not None:
        mark = {"color": look.good, "markersize": 18 * look.mark, "markeredgewidth": 2.5 * look.line}
        ax.plot([drawn.lag], [np.log(VANISHED)], "_", gid="one-percent", **mark)
        mark_lag(ax, drawn.lag, look)
    _factor_axis(ax, look)
    return finish(ax, look, [*ax.get_legend_handles_labels()[0], *_key(look, parts[-1].of, drawn.lag)])


def directions(logs: np.ndarray) -> np.ndarray:
    """[M, n] of one sequence -> [3, M]: weakest tenth, middle and strongest tenth of the directions."""
    return np.quantile(logs, (0.1, 0.5, 0.9), axis=1, method="nearest")


def _lines(ax: Axes, part: Part, look: Look) -> np.ndarray:
    """Draws one of the things to compare; returns all values drawn, before clipping."""
    windows: WindowBands = part.of
    logs, lags = windows.log_singular_values[1], windows.lags
    low, middle, high = directions(logs) if windows.complete else (logs[:, -1], None, logs[:, 0])
    floor = DEEP
    ax.fill_between(lags, np.maximum(low, floor), np.maximum(high, floor), color=part.color, alpha=0.2, linewidth=0)
    label = look.words(part.name or "the largest", "i = 1" if not part.name else "the largest, i = 1")
    style: dict[str, Any] = {"marker": "o", "markersize": 4 * look.mark} | part.style
    strong: dict[str, Any] = {"linewidth": 2.2 * look.line, "label": label, "gid": part.gid("largest")}
    line: Any = ax.plot(lags, np.maximum(windows.largest, floor), **strong, **style)[0]
    line.measured = windows.largest
    if middle is not None:
        thin = {name: part.style[name] for name in ("color", "linestyle")}
        line = ax.plot(lags, np.maximum(middle, floor), linewidth=look.line, gid=part.gid("median"), **thin)[0]
        line.measured = middle
    return np.concatenate([np.ravel(values) for values in (low, high, windows.largest)])


def _factor_axis(ax: Axes, look: Look) -> None:
    """Adds an axis on the right with the same values as factors."""
    right = ax.secondary_yaxis("right", functions=(lambda nats: nats / np.log(10), lambda power: power * np.log(10)))
    right.yaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator(6, integer=True))
    right.yaxis.set_major_formatter(lambda power, _: power_of_ten(round(power)) if power else "1")
    right.set_ylabel(look.ylabel("σ (factor over the whole way)", "σ (factor)"), color=look.text)
    if look.own:
        right.set_facecolor(look.background)
        right.tick_params(colors=look.text)
        right.spines["right"].set_color(look.text)


def _key(look: Look, windows: WindowBands, lag: int | None) -> list[Any]:
    """Legend entries for the bands and the line."""
    lines, patches = require("matplotlib.lines"), require("matplotlib.patches")
    count = windows.log_singular_values.shape[2]
    if windows.complete:
        band = f"80 % of the {windows.size} directions; thin: the median" if look.roomy else "80 %; thin: the median"
    else:
        band = f"the largest {count}{f' of {windows.size} directions' if look.roomy else ''}"
    found = [patches.Patch(color=look.soft, alpha=0.3, label=band)]
    if lag is not None:
        words = f"lag needed: {lag}; the mark on it: 1 %" if look.roomy else f"lag {lag}; its mark: 1 %"
        found.append(lines.Line2D([], [], color=look.good, linestyle="-.", linewidth=1.5 * look.line, label=words))
    return found


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
    "Singular values by lag",
    WHY,
    WINDOWS,
    draw,
    caption,
    lacking="one without windows",
    needed="windows that were measured (a summary with `why=True`)",
    readout=Readout(
        at_lag,
        (
            Curve("largest", kept, "{}, the largest"),
            Curve("median", kept, "{}, the median"),
        ),
    ),
)
