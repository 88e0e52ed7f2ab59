"""The furniture of every figure: the empty axes, title, legend, the styles of lines, notes.

Figures are made without pyplot, but in notebooks: nothing global is touched.
"""

from __future__ import annotations

import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.report.figures.themes import DARK as DARK
from jrnn.report.figures.themes import LIGHT as LIGHT
from jrnn.report.figures.themes import SIZE, Look, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 1e-12
"""Of the largest value: what is smaller, zeros too, is drawn at the edge of a logarithmic scale."""
DENSE = 3000
"""More points than this are stored as pixels in a vector figure, so that the file stays small."""
DASHED: Any = (0, (4, 1.5))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One more than there are colours, so that no two of 42 lines have both in common."""


def prepare(ax: Axes | None, look: Look, xlabel: str, ylabel: str, height: float = SIZE[1]) -> Axes:
    """`ax`, by default that of a new figure, with labels and grid. `height`: of a new one, where SIZE is usual."""
    ax = new_axes(look, height / SIZE[1]) if ax is None else ax
    furnish(ax, look, xlabel, ylabel)
    return ax


def new_axes(look: Look, height: float = 1.0, width: float = 1.0) -> Axes:
    """The only axes of a new figure; its size is the user's, times these. In a notebook pyplot makes it, which shows it
    under the cell."""
    size = require("matplotlib").rcParams["figure.figsize"]
    options: dict[str, Any] = {"figsize": (size[0] * width, size[1] * height), "layout": "constrained"}
    options |= {"facecolor": look.background} if look.own else {}
    if look.display and in_notebook():
        return require("matplotlib.pyplot").figure(**options).add_subplot()
    figure = require("matplotlib.figure").Figure(**options)
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure.add_subplot()


def in_notebook() -> bool:
    """Whether IPython runs, in a notebook or a terminal."""
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None


def furnish(ax: Axes, colours: Theme, xlabel: str, ylabel: str) -> None:
    """Background, labels, frame and grid of axes that bear no title."""
    color: Any = {"color": colours.text} if colours.own else {}
    ax.set_xlabel(xlabel, **color)
    ax.set_ylabel(ylabel, **color)
    color_axes(ax, colours)
    if colours.own:
        ax.grid(True, color=colours.grid, linewidth=0.6)
    ax.set_axisbelow(True)


def color_axes(ax: Axes, colours: Theme) -> None:
    """Background, ticks and frame in jrnn's colours, without the top and right lines; those of the user are left as
    they are."""
    if not colours.own:
        return
    ax.set_facecolor(colours.background)
    ax.tick_params(which="both", colors=colours.text)
    for side, spine in ax.spines.items():
        spine.set_color(colours.text)
        spine.set_linewidth(0.8)
        spine.set_visible(side in ("left", "bottom"))


def finish(ax: Axes, look: Look, handles: list[Any] | None = None, columns: int = 1) -> Axes:
    """`ax` with the legend and the title; above the axes each has room of its own."""
    rows = legend(ax, look, handles, columns)
    color: Any = {"color": look.text} if look.own else {}
    pad = require("matplotlib").rcParams["axes.titlepad"] + 2 + 1.53 * look.letters * rows if rows else None
    ax.set_title(look.title, pad=pad, **color)
    return ax


def legend(ax: Axes, look: Look, handles: list[Any] | None = None, columns: int = 1) -> int:
    """The legend; returns how many rows of it stand above the axes, where jrnn has made them and nothing is hidden."""
    found = ax.get_legend_handles_labels()[0] if handles is None else handles
    shown = [handle for handle in found if not str(handle.get_label()).startswith("_")]
    if not shown or look.legend is False:
        return 0
    room = look.width * (1.0 if look.above else 0.85) - 4.2 * look.letters  # the layout takes from axes of the user's
    labels = [fold(str(handle.get_label()), room, look.letters) for handle in shown]
    lines = [line for label in labels for line in label.split("\n")]
    longest = max(text_width(line, look.letters) for line in lines)
    columns = int(min(columns, max(look.width // (longest + 3.5 * look.letters), 1)))
    near: dict[str, Any] = {"handlelength": 1.6, "columnspacing": 1.2, "labelspacing": 0.25}
    if look.above and look.legend is True:
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.1, "borderpad": 0.2}
        ax.legend(handles=shown, labels=labels, ncols=columns, labelcolor=look.text, frameon=False, **near, **place)
        return -(-len(lines) // columns)
    loc: Any = look.legend if isinstance(look.legend, str) else "best"
    ax.legend(handles=shown, labels=labels, loc=loc, ncols=columns, labelcolor=look.text, **near)
    return 0


def text_width(text: str, letters: float) -> float:
    """Points that a line of letters of this size takes."""
    font = require("matplotlib.font_manager").FontProperties(size=letters)
    measured = require("matplotlib.textpath").text_to_path.get_text_width_height_descent
    return measured(text, font, ismath="$" in text)[0]


def fold(text: str, width: float, letters: float, lines: int = 2) -> str:
    """The text in lines of at most this width, both in points, as letters are; of a text too long for so many lines the
    end is kept, by which names tell runs apart. Formulas are left as they are."""
    needed, parts = text_width(text, letters), [text]
    if "$" in text or needed <= width:
        return text
    for room in range(max(int(1.2 * len(text) * width / needed), 4), 3, -1):
        parts = wrap(text, room)
        parts = parts if len(parts) <= lines else [*parts[: lines - 1], f"…{text[1 - room :]}"]
        if max(text_width(part, letters) for part in parts) <= width:
            break
    return "\n".join(parts)


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


def stage_styles(count: int, colours: Theme) -> list[dict[str, Any]]:
    """Line styles in the order of the stages: the last is vermillion and solid, the first blue and dashed."""
    between = (colours.others[i % len(colours.others)] for i in range(count - 2))
    colors = [*[colours.before, *between][: count - 1], colours.after]
    return [{"color": color, "linestyle": "-" if i == count - 1 else DASHED} for i, color in enumerate(colors)]


def named_styles(count: int, look: Look) -> list[dict[str, Any]]:
    """Solid lines for things that have names but no order: they differ in colour and in marker; one alone has none."""
    if count == 1:
        return [{"color": look.lines[0], "linestyle": "-"}]
    size = {"markersize": 5 * look.mark, "markeredgewidth": 0}
    return [
        {"color": look.lines[i % len(look.lines)], "linestyle": "-", "marker": MARKERS[i % len(MARKERS)],
         **size}
        for i in range(count)
    ]  # fmt: skip


def mark_lag(ax: Axes, lag: int | None, look: Look, label: str | None = None) -> None:
    """The line at the lag that the task needs, where it is known."""
    if lag is not None:
        style: dict[str, Any] = {"color": look.good, "linewidth": 1.5 * look.line, "linestyle": "-.", "label": label}
        ax.axvline(lag, gid="needed-lag", clip_on=False, **style)


def write_note(ax: Axes, words: str, look: Look, right: bool = False) -> None:
    """What the picture cannot show, in its lower corner."""
    style: dict[str, Any] = {"color": look.text, "fontsize": 9 * look.font, "bbox": label_box(look), "gid": "note"}
    place = (1, 0, -6, 5) if right else (0, 0, 6, 5)  # the corner, and points from it: the box leaves the frame free
    where: Any = {"xycoords": "axes fraction", "xytext": place[2:], "textcoords": "offset points", "va": "bottom"}
    ax.annotate(words, place[:2], ha="right" if right else "left", **where, **style)


def label_box(colours: Theme) -> dict[str, Any]:
    """A background that keeps a label readable on top of a line."""
    return {"facecolor": colours.background, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}


def spans_decades(values: Any) -> bool:
    """Whether finite positive numbers differ so much (100 times) that only a logarithmic axis shows them all."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() > 100 * values.min())
