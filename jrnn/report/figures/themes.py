"""The colours and sizes of a figure: jrnn's own, which the report has, or those of the user's rcParams.

jrnn's colours are Okabe and Ito's, which colour-blind people tell apart; lines differ in dashes or markers besides, so
that colour is never the only difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jrnn.extras import require
from jrnn.types import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.8, 3.9)
"""Inches, of a figure of the report. Narrow on purpose: shown 360 px wide on a phone, 10 pt letters are still 10 px
high."""
PAGE: dict[str, Any] = {
    "figure.figsize": SIZE,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}
"""The rcParams of the report's figures, over matplotlib's defaults."""
WIDE = 48  # letters of a legend's size: what axes must hold in a line for numbers in the legend and a long title
LETTER = 0.55  # the width of a letter, of its size


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
    own: bool = True
    """Whether frame, ticks and grid are jrnn's, too; if not they are left as the axes have them."""


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


def colours_of(theme: Theme) -> list[str]:
    """All its colours, in order."""
    listed = ((value,) if isinstance(value, str) else value for value in vars(theme).values() if value is not theme.own)
    return [colour.lower() for values in listed for colour in values if colour.startswith("#")]


IN_THE_DARK = dict(zip(colours_of(LIGHT), colours_of(DARK), strict=True))
"""What each colour of a figure on a light background is on a dark one."""


@dataclass(frozen=True)
class Look(Theme):
    """How one figure looks: the colours, and what follows from the size of the axes and of the letters."""

    title: str = ""
    legend: bool | str = True
    """Whether there is one, or where: a location of `Axes.legend`."""
    above: bool = True
    """Whether it stands above the axes, as in figures of jrnn's own making; else inside, where it hides least."""
    display: bool = True
    """Whether a new figure is for the user to see, and not for a file."""
    width: float = 0.0
    height: float = 0.0
    """Of the axes, in points."""
    font: float = 1.0
    """The user's size of letters over 10 points."""
    line: float = 1.0
    """The user's width of lines over 2 points, which the strong lines have."""
    mark: float = 1.0
    """The user's size of markers over 6 points; smaller where the letters are."""
    letters: float = 10.0
    """Points, of the legend's letters."""

    @property
    def roomy(self) -> bool:
        """Whether there is room for numbers in the legend and for the long title."""
        return self.width >= WIDE * LETTER * self.letters

    def words(self, name: str, fact: str = "") -> str:
        """A legend's entry: the name and, where there is room, what is to be known of it."""
        said = ": ".join(part for part in (name, fact if self.roomy else "") if part)
        return said or "_nolegend_"

    def ylabel(self, long: str, short: str, share: float = 1.0) -> str:
        """The longer label that fits along `share` of the axes' height."""
        line = max(len(re.sub(r"\\\w+|[$_{}]", "", part)) for part in long.split("\n"))
        return long if line * LETTER * 10 * self.font <= share * self.height else short


def look_of(ax: Axes | None, dark: bool | None, height: float = 1.0) -> Look:
    """The look of a figure on `ax`, or of a new one, `height` times as high as the user's.

    dark None: the user's rcParams, as far as they go; True and False: jrnn's own for that background.

    Raises:
      InputError: `ax` is no Axes, or matplotlib is not installed.
    """
    require("matplotlib.figure")
    if not isinstance(ax, require("matplotlib.axes").Axes | None):
        raise InputError("ax", f"a {type(ax).__name__}", "matplotlib Axes, or None for a new figure")
    rc: Any = require("matplotlib").rcParams
    points = require("matplotlib.font_manager").FontProperties
    theme = _users(ax, rc) if dark is None else DARK if dark else LIGHT
    if ax is None:
        (width, whole), points_each = rc["figure.figsize"], 72.0
        width, whole = 0.8 * width, 0.75 * height * whole
    else:
        width, whole, points_each = ax.bbox.width, ax.bbox.height, 72.0 / ax.figure.dpi
    return Look(
        **vars(theme),
        above=ax is None,
        width=width * points_each,
        height=whole * points_each,
        font=rc["font.size"] / 10,
        line=rc["lines.linewidth"] / 2,
        mark=rc["lines.markersize"] / 6 * min(rc["font.size"] / 10, 1.0),
        letters=points(size=rc["legend.fontsize"]).get_size_in_points(),
    )


def _users(ax: Axes | None, rc: Any) -> Theme:
    """The user's colours: of the axes given or to be made, and of the property cycle where it was changed."""
    colors = require("matplotlib.colors")
    face = rc["axes.facecolor"] if ax is None else ax.get_facecolor()
    red, green, blue, alpha = colors.to_rgba(face)
    if not alpha:
        red, green, blue = colors.to_rgb(rc["figure.facecolor"])
    theme = DARK if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else LIGHT
    text = rc["text.color"] if ax is None else ax.xaxis.label.get_color()
    theme = replace(theme, background=colors.to_hex((red, green, blue)), text=colors.to_hex(text), own=False)
    cycle = [colors.to_hex(color) for color in rc["axes.prop_cycle"].by_key().get("color", ())]
    usual = [
        colors.to_hex(color) for color in require("matplotlib").rcParamsDefault["axes.prop_cycle"].by_key()["color"]
    ]
    if cycle == usual or len(cycle) < 2:
        return theme
    first, second, *more = cycle
    return replace(theme, before=first, after=second, others=tuple(more) or theme.others, lines=tuple(cycle))
