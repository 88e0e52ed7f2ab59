"""The network unrolled over time, with arrows back from the loss as thick as the gradient is strong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.flow.curves import FlowCurves
from jrnn.flow.summary import FlowSummary
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import ARRIVING, Caption, Drawn, Figure
from jrnn.report.figures.quantities import FLOW
from jrnn.report.figures.style import finish, prepare
from jrnn.report.figures.themes import Look
from jrnn.wording import compact, part_of, sentence_case

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOXES = 9
"""States drawn at most: with more, their names would not be readable on a phone."""
DECADES = 4
"""A hairline stands for 10^-4 of the gradient, and twice the full thickness for 10^4 times as much."""
FULL = 0.46
"""The thickness of the whole gradient, in distances between boxes."""
WIDTH, HEIGHT = 0.54, 0.56  # of a box
ROW = 1.55
PLACE = 25.0
"""Points, of letters of 10, that a box takes with its arrow; on narrow axes there are fewer boxes."""


def plot_unrolled(
    measured: Any,
    *,
    ax: Axes | None = None,
    lag: int | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the states as boxes from left to right and the gradient of an output as arrows from right to left.

    An arrow's thickness is logarithmic in the fraction of the gradient that arrives at the box it points to (typical
    ||part(t, k)|| / ||part(t, t)||), written under that box; under 0.01 % it is a dotted line. One row a network. With
    many steps every n-th box is drawn, evenly; the first one, marked, is where the lag that the task needs ends (or
    h_0).

    Args:
      measured: a `GradientFlow`, a `FlowSummary`, a dict {name: any of them}, or a `Diagnosis`: its stages.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      lag: the lag that the task needs, to be marked; by default that of the verdict, where there is one.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, lag=lag, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_unrolled` says."""
    parts, lag = drawn.parts, drawn.lag or 0
    ax = prepare(ax, look, "", "", 1.5 + 1.05 * len(parts))
    ax.grid(False)
    ax.set_yticks([])
    ax.set_xticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    most = min(max(int(look.width / look.font / PLACE) - 1, 2), BOXES)
    count, times = most - 1, np.zeros(1, int)
    letters = look.font * min(look.width / look.font / PLACE / (most + 1), 1.0)
    for row, part in enumerate(parts):
        t, fractions = followed(part.of)
        times = boxes(t, lag, most)
        count = max(count, len(times))
        y = -ROW * row
        heading: dict[str, Any] = {"color": part.color, "fontweight": "bold", "fontsize": 9.5 * letters}
        ax.text(-0.4, y + 0.62, sentence_case(part.name), **heading)
        needed = t - lag if drawn.lag is not None else None
        _row(ax, y, times, fractions[times], needed, part.color, part.name, look, letters)
    apart = np.unique(np.diff(times))
    between = (
        f"; {apart[0]}{f' to {apart[-1]}' if len(apart) > 1 else ''} steps apart" if apart.max(initial=1) > 1 else ""
    )
    ax.set_xlabel(f"$h_k$: the state after step k{between}" if look.roomy else f"$h_k${between}", color=look.text)
    if look.roomy:
        _key(ax, -ROW * (len(parts) - 1) - 1.15, count, look, letters)
    ax.set_xlim(-0.5, count + 0.45)
    ax.set_ylim(-ROW * (len(parts) - 1) - (1.45 if look.roomy else 0.75), 0.95)
    return finish(ax, look, [])


def followed(flow: FlowSummary | FlowCurves) -> tuple[int, np.ndarray]:
    """(t, fractions [t+1]): the last output that carries gradient, and what arrives at h_0..h_t, typically.

    From h_1 on that is `flow.arriving` at lag t - k, as everywhere in the report; at h_0, where no input is seen, the
    credit of that output.
    """
    alive = np.flatnonzero([row[t] > 0 for row, t in zip(flow.credit, flow.output_times, strict=True)])
    row = int(alive[-1]) if len(alive) else len(flow.output_times) - 1
    t = int(flow.output_times[row])
    with np.errstate(divide="ignore", invalid="ignore"):
        start = float(flow.credit[row, 0]) / float(flow.credit[row, t])
    return t, np.append(start, np.asarray(flow.arriving, float)[:t][::-1])


def boxes(t: int, lag: int, most: int = BOXES) -> np.ndarray:
    """The times to draw, ascending and evenly spread, from t - lag (from 0 if it is nearer to h_0) to t."""
    first = 0 if t < most or not 0 < lag <= t else t - lag
    chosen = np.linspace(first, t, min(most, t - first + 1)).round().astype(int)
    return np.unique(chosen)


def thickness(fraction: float) -> float:
    """In distances between boxes: FULL (1 + log10(fraction) / 4), at most twice FULL; 0 under 0.01 %."""
    if not fraction >= 10.0**-DECADES:
        return 0.0
    return float(FULL * max(min(1 + np.log10(fraction) / DECADES, 2.0), 0.03)) if np.isfinite(fraction) else 2 * FULL


def _row(
    ax: Axes,
    y: float,
    times: np.ndarray,
    fractions: np.ndarray,
    needed: int | None,
    color: str,
    name: str,
    look: Look,
    letters: float,
) -> None:
    patches = require("matplotlib.patches")
    middle = {"ha": "center", "va": "center", "zorder": 4}
    for x, (k, fraction) in enumerate(zip(times, fractions, strict=True)):
        _arrow(ax, x, y, fraction, color, " ".join(f"arrow {name} {k}".split()))
        marked = k == needed
        edge = look.good if marked else look.text
        box = patches.FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=look.background, edgecolor=edge, linewidth=2.2 if marked else 1, zorder=3,
            gid=" ".join(f"box {name} {k}".split()),
        )  # fmt: skip
        ax.add_patch(box)
        ax.text(x, y, f"$h_{{{k}}}$", color=look.text, fontsize=(9 if k < 100 else 8) * letters, **middle)
        label = {"color": edge, "fontsize": 7.5 * letters, "fontweight": "bold" if marked else None}
        ax.text(x, y - 0.48, compact(fraction), gid=" ".join(f"fraction {name} {k}".split()), **label, **middle)
        if marked:
            heading: dict[str, Any] = {
                "color": look.good,
                "fontsize": 8 * letters,
                "fontweight": "bold",
                "va": "bottom",
            }
            ax.text(x - WIDTH / 2, y + 0.37, "needed", **heading)
    corner, shape = (len(times) - WIDTH / 2, y - HEIGHT / 2), "round,pad=0,rounding_size=0.26"
    loss = patches.FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=shape, facecolor=color, edgecolor="none", zorder=3)
    ax.add_patch(loss)
    size = min(7.5 * letters, 0.42 * WIDTH * look.width / (len(times) + 0.95))  # points: four letters fit the box
    ax.text(len(times), y, "loss", color=look.background, fontsize=size, fontweight="bold", **middle)


def _arrow(ax: Axes, x: float, y: float, fraction: float, color: str, gid: str, start: float | None = None) -> None:
    """Draws an arrow from the right to the box at x; a dotted line for next to nothing."""
    tip, tail = x + WIDTH / 2 + 0.03, (x + 1 - WIDTH / 2 if start is None else start)
    size = thickness(fraction)
    if size == 0:
        ax.plot([tip, tail], [y, y], color=color, linewidth=1.2, linestyle=(0, (1, 2)), gid=gid, zorder=2)
        return
    half, head = size / 2, min(0.16, 0.5 * (tail - tip))
    barb = half + 0.06
    outline: Any = [(tail, half), (tip + head, half), (tip + head, barb), (tip, 0)]
    corners = [(a, y + b) for a, b in outline] + [(a, y - b) for a, b in reversed(outline)]
    polygon = require("matplotlib.patches").Polygon(corners, closed=True, color=color, linewidth=0, zorder=2)
    polygon.set_gid(gid)
    ax.add_patch(polygon)


def _key(ax: Axes, y: float, count: int, look: Look, letters: float) -> None:
    """Draws what the thicknesses stand for."""
    step = (count + 0.7) / 6
    ax.text(-0.4, y, "arrives\n(log scale)", color=look.text, fontsize=8 * letters, va="center")
    for i, (fraction, words) in enumerate(((1.0, "100 %"), (0.1, "10 %"), (0.01, "1 %"), (1e-3, "0.1 %"), (0, "less"))):
        x = (i + 1) * step - 0.2
        _arrow(ax, x - WIDTH / 2, y, fraction, look.soft, "key", start=x + 0.45)
        ax.text(x + 0.52, y, words, color=look.text, fontsize=8 * letters, va="center")


def caption(diagnosis: Diagnosis) -> Caption:
    shown = (
        "The network at one step after another, from left to right. The arrows are the gradient of an output on its "
        "way back, in the typical sequence: the thicker, the more arrives (the percentage under each box; the scale is "
        "logarithmic). Where an arrow is a dotted line, practically nothing is left to learn from. The green box is "
        "where the way that the task needs ends."
    )
    alt = []
    for stage in diagnosis.stages:
        t, fractions = followed(stage.flow)
        first = int(boxes(t, stage.flow.lag)[0])
        alt.append(f"{stage.name}: {part_of(fractions[first], f'the gradient of output {t}')} arrives at h_{first}")
    return Caption(shown, f"The network unrolled, arrows back as thick as the gradient is strong. {'; '.join(alt)}.")


FIGURE = Figure("unrolled", "The way back through time", "The way back", ARRIVING, FLOW, draw, caption)
