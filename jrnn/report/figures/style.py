"""How every figure looks: colours, sizes, the empty axes.

The colours are Okabe and Ito's, which colour-blind people tell apart; the last stage is also solid and the earlier ones
are dashed, so that colour is never the only difference. Figures are made without pyplot: nothing global is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.types import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 1e-12
"""Of the largest value: what is smaller, zeros too, is drawn at the edge of a logarithmic scale."""
DENSE = 3000
"""More points than this are stored as pixels in a vector figure, so that the file stays small."""
SIZE = (4.8, 3.9)
"""Inches. Narrow on purpose: shown 360 px wide on a phone, 10 pt letters are still 10 px high."""


@dataclass(frozen=True)
class Theme:
    """The colours of one background."""

    background: str
    text: str
    grid: str
    before: str
    """The first stage."""
    after: str
    """The last stage."""
    others: tuple[str, ...]
    """The stages between."""
    good: str
    """What the task needs."""
    soft: str
    accent: str
    """Soft and accent tell things apart that are not stages."""
    lines: tuple[str, ...]
    """Lines that are not stages and more than two, such as gates."""
    scale: str
    """matplotlib's name of the colour map: large values are far from the background."""


LIGHT = Theme(
    background="#ffffff", text="#1b1f24", grid="#d9dde3", before="#0072B2", after="#D55E00",
    others=("#009E73", "#CC79A7"), good="#007a59", soft="#6b7480", accent="#b5548c",
    lines=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"), scale="cividis_r",
)  # fmt: skip
DARK = Theme(
    background="#171a20", text="#e8eaed", grid="#3a3f48", before="#56B4E9", after="#F0803C",
    others=("#2fc79b", "#CC79A7"), good="#2fc79b", soft="#9aa3af", accent="#e08fbe",
    lines=("#56B4E9", "#F0803C", "#2fc79b", "#CC79A7", "#5b8fd9", "#E69F00"), scale="cividis",
)  # fmt: skip


def prepare(
    ax: Axes | None, colours: Theme, title: str, xlabel: str, ylabel: str, legend_rows: int, height: float = SIZE[1]
) -> Axes:
    """`ax`, by default that of a new figure, with title, labels and grid. The legend gets room under the title.

    Raises:
      InputError: `ax` is no Axes, or matplotlib is not installed.
    """
    figures = require("matplotlib.figure")
    if not isinstance(ax, require("matplotlib.axes").Axes | None):
        raise InputError("ax", f"a {type(ax).__name__}", "matplotlib Axes, or None for a new figure")
    ax = _own_axes(figures, colours, height) if ax is None else ax
    ax.set_title(title, loc="left", color=colours.text, fontsize=11, fontweight="bold", pad=8 + 14.5 * legend_rows)
    furnish(ax, colours, xlabel, ylabel)
    return ax


def furnish(ax: Axes, colours: Theme, xlabel: str, ylabel: str) -> None:
    """Background, labels, frame and grid of axes that bear no title."""
    ax.set_facecolor(colours.background)
    ax.set_xlabel(xlabel, color=colours.text)
    ax.set_ylabel(ylabel, color=colours.text)
    color_axes(ax, colours)
    ax.grid(True, color=colours.grid, linewidth=0.6)
    ax.set_axisbelow(True)


def split(ax: Axes, ratios: tuple[float, ...], beside: bool = False) -> list[Axes]:
    """Divides the place of `ax` between it and new axes, one under the other or side by side, in these proportions."""
    figure, place, count, total = ax.figure, ax.get_subplotspec(), len(ratios), sum(ratios)
    if place is not None:
        grid = place.subgridspec(1, count, width_ratios=ratios) if beside else None
        grid = place.subgridspec(count, 1, height_ratios=ratios) if grid is None else grid
        ax.set_subplotspec(grid[0])
        return [ax, *(figure.add_subplot(grid[i]) for i in range(1, count))]
    box, starts = ax.get_position(), np.cumsum([0.0, *ratios]) / total
    boxes = []
    for start, share in zip(starts[:-1], np.array(ratios) / total, strict=True):
        part = 0.75 * share if count > 1 else share
        if beside:
            boxes.append((box.x0 + start * box.width, box.y0, part * box.width, box.height))
        else:
            boxes.append((box.x0, box.y1 - (start + part) * box.height, box.width, part * box.height))
    ax.set_position(boxes[0])
    return [ax, *(figure.add_axes(part) for part in boxes[1:])]


def _own_axes(figures: ModuleType, colours: Theme, height: float) -> Axes:
    """The only axes of a new figure, without pyplot."""
    figure = figures.Figure(figsize=(SIZE[0], height), layout="constrained", facecolor=colours.background)
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure.add_subplot()


def color_axes(ax: Axes, colours: Theme) -> None:
    """Ticks and frame in the theme's colours, without the top and right lines."""
    ax.tick_params(which="both", colors=colours.text)
    for side, spine in ax.spines.items():
        spine.set_color(colours.text)
        spine.set_linewidth(0.8)
        spine.set_visible(side in ("left", "bottom"))


def legend(ax: Axes, colours: Theme, handles: list[Any] | None = None, columns: int = 1) -> None:
    """The legend above the plot, where it hides no data."""
    ax.legend(
        handles=handles if handles is not None else ax.get_legend_handles_labels()[0],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.1,
        borderpad=0.2,
        labelspacing=0.25,
        columnspacing=1.2,
        handlelength=1.6,
        ncols=columns,
        frameon=False,
        labelcolor=colours.text,
        fontsize=9.5,
    )


def stage_styles(count: int, colours: Theme) -> list[dict[str, Any]]:
    """Line styles in the order of the stages: the last is vermillion and solid, the first blue and dashed."""
    between = (colours.others[i % len(colours.others)] for i in range(count - 2))
    colors = [*[colours.before, *between][: count - 1], colours.after]
    return [{"color": color, "linestyle": "-" if i == count - 1 else (0, (4, 1.5))} for i, color in enumerate(colors)]


def mark_lag(ax: Axes, lag: int, colours: Theme, label: str | None = None) -> None:
    """The line at the lag that the task needs."""
    style: dict[str, Any] = {"color": colours.good, "linewidth": 1.5, "linestyle": "-.", "label": label}
    ax.axvline(lag, gid="needed-lag", clip_on=False, **style)


def write_note(ax: Axes, words: str, colours: Theme, right: bool = False) -> None:
    """What the picture cannot show, in its lower corner."""
    style: dict[str, Any] = {"color": colours.text, "fontsize": 9, "bbox": label_box(colours), "gid": "note"}
    ax.text(0.98 if right else 0.02, 0.02, words, transform=ax.transAxes, ha="right" if right else "left", **style)


def label_box(colours: Theme) -> dict[str, Any]:
    """A background that keeps a label readable on top of a line."""
    return {"facecolor": colours.background, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}


def spans_decades(values: Any) -> bool:
    """Whether finite positive numbers differ so much (100 times) that only a logarithmic axis shows them all."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() > 100 * values.min())
