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

SIZE = (4.8, 3.9)
"""Inches. Narrow on purpose: shown 360 px wide on a phone, 10 pt letters are still 10 px high."""


@dataclass(frozen=True)
class Theme:
    """The colours of one background."""

    background: str
    text: str
    grid: str
    before: str
    after: str
    others: tuple[str, ...]
    good: str
    soft: str
    accent: str
    """Soft and accent tell things apart that are not stages."""


LIGHT = Theme(
    "#ffffff", "#1b1f24", "#d9dde3", "#0072B2", "#D55E00", ("#009E73", "#CC79A7"), "#007a59", "#6b7480", "#b5548c"
)
DARK = Theme(
    "#171a20", "#e8eaed", "#3a3f48", "#56B4E9", "#F0803C", ("#2fc79b", "#CC79A7"), "#2fc79b", "#9aa3af", "#e08fbe"
)


def theme(dark: bool) -> Theme:
    """The colours for a dark or a light background."""
    return DARK if dark else LIGHT


def prepare(
    ax: Axes | None, dark: bool, title: str, xlabel: str, ylabel: str, legend_rows: int, height: float = SIZE[1]
) -> Axes:
    """Axes with title, labels and grid; a new figure if `ax` is None. The legend gets room under the title.

    Raises:
      InputError: `ax` is no Axes, or matplotlib is not installed.
    """
    figures = require("matplotlib.figure")
    look = theme(dark)
    if not isinstance(ax, require("matplotlib.axes").Axes | None):
        raise InputError("ax", f"a {type(ax).__name__}", "matplotlib Axes, or None for a new figure")
    ax = _own_axes(figures, look, height) if ax is None else ax
    ax.set_title(title, loc="left", color=look.text, fontsize=11, fontweight="bold", pad=8 + 14.5 * legend_rows)
    furnish(ax, dark, xlabel, ylabel)
    return ax


def furnish(ax: Axes, dark: bool, xlabel: str, ylabel: str) -> None:
    """Background, labels, frame and grid of axes that bear no title."""
    look = theme(dark)
    ax.set_facecolor(look.background)
    ax.set_xlabel(xlabel, color=look.text)
    ax.set_ylabel(ylabel, color=look.text)
    color_axes(ax, look)
    ax.grid(True, color=look.grid, linewidth=0.6)
    ax.set_axisbelow(True)


def split(ax: Axes, ratios: tuple[float, ...], beside: bool = False) -> list[Axes]:
    """`ax` and new axes that share the place it had, one under the other or side by side, in these proportions."""
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


def _own_axes(figures: ModuleType, look: Theme, height: float) -> Axes:
    """The only axes of a new figure, without pyplot."""
    figure = figures.Figure(figsize=(SIZE[0], height), layout="constrained", facecolor=look.background)
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure.add_subplot()


def color_axes(ax: Axes, look: Theme) -> None:
    """Ticks and frame in the theme's colours, without the top and right lines."""
    ax.tick_params(which="both", colors=look.text)
    for side, spine in ax.spines.items():
        spine.set_color(look.text)
        spine.set_linewidth(0.8)
        spine.set_visible(side in ("left", "bottom"))


def legend(ax: Axes, dark: bool, handles: list[Any] | None = None, columns: int = 1) -> None:
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
        labelcolor=theme(dark).text,
        fontsize=9.5,
    )


def stage_styles(count: int, dark: bool) -> list[dict[str, Any]]:
    """Line styles in the order of the stages: the last is vermillion and solid, the first blue and dashed."""
    look = theme(dark)
    colors = [look.before, *(look.others[i % len(look.others)] for i in range(count - 2))][: count - 1] + [look.after]
    return [{"color": color, "linestyle": "-" if i == count - 1 else (0, (4, 1.5))} for i, color in enumerate(colors)]


def label_box(dark: bool) -> dict[str, Any]:
    """A background that keeps a label readable on top of a line."""
    return {"facecolor": theme(dark).background, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}


def spans_decades(values: Any) -> bool:
    """Whether finite positive numbers differ so much (100 times) that only a logarithmic axis shows them all."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() > 100 * values.min())
