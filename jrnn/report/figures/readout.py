"""The numbers of the curves of a figure, and where they stand: what the page shows where a reader points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jrnn.extras import require
from jrnn.report.figures.themes import IN_THE_DARK
from jrnn.report.inline_svg import either

MOST = 250
"""Places along a horizontal axis at most."""


class Curve(NamedTuple):
    """Curves that are read."""

    gid: str
    """With what the gid of such a line begins; its rest is the name of a stage, an arm or a gate."""
    words: Callable[[float], str]
    """Words a value."""
    name: str = "{}"
    """What it is called, with the rest of the gid for {}."""


@dataclass(frozen=True)
class Readout:
    """What is read in a figure."""

    place: Callable[[float], str]
    """Words a place on the horizontal axis, unless the line has words of its own, `line.place`."""
    curves: tuple[Curve, ...]

    def panels(self, light: Any) -> list[dict[str, Any]]:
        """For each place with axes in a figure that was laid out, in light colours: its `box`
        [left, right, top, bottom] in points of the SVG, the places `at` along it with their words `places`, and of each
        of its `curves` the name, the colour, its height at these places (`y`) and what is said there (`says`); None
        where it has no value.
        """
        found: dict[tuple[float, ...], list[tuple[Curve, Any]]] = {}
        for ax in light.axes:
            box, height = ax.get_window_extent(), light.bbox.height
            sides = tuple(round(float(side), 1) for side in (box.x0, box.x1, height - box.y1, height - box.y0))
            for line in ax.lines:
                gid = str(line.get_gid() or "") if line.get_transform() == ax.transData else ""  # else no curve
                if curve := self.curve_of(gid):
                    found.setdefault(sides, []).append((curve, line))
        panels = [{"box": sides, **self._panel(own)} for sides, own in found.items()]
        return [panel for panel in panels if panel["at"]]

    def curve_of(self, gid: str) -> Curve | None:
        """The curve that a line of this gid is, with its whole name; None if it is none."""
        for curve in self.curves:
            if gid and f"{gid} ".startswith(f"{curve.gid} ".lstrip()):
                return curve._replace(name=curve.name.format(gid.removeprefix(curve.gid).strip()).strip(", "))
        return None

    def _panel(self, drawn: list[tuple[Curve, Any]]) -> dict[str, Any]:
        """What is read in one place."""
        every = np.unique(np.concatenate([points(line)[:, 0] for _, line in drawn]))
        every = every[np.unique(np.linspace(0, len(every) - 1, min(MOST, len(every))).round().astype(int))]
        to_hex, curves = require("matplotlib.colors").to_hex, []
        for curve, line in drawn:
            colour = to_hex(line.get_color())
            own = {x: (y, value) for x, value, y in points(line)}
            there = [own.get(x) for x in every]
            curves.append(
                {
                    "name": curve.name,
                    "colour": either(colour, IN_THE_DARK.get(colour) or colour),
                    "y": [round(each[0], 1) if each and np.isfinite(each[0]) else None for each in there],
                    "says": [curve.words(each[1]) if each else None for each in there],
                }
            )
        place = getattr(drawn[0][1], "place", self.place)
        along = drawn[0][1].axes.transData.transform(np.column_stack([every, np.ones(len(every))]))[:, 0]
        return {"at": along.round(1).tolist(), "places": [place(float(x)) for x in every], "curves": curves}


def at_lag(lag: float) -> str:
    """A lag as a place."""
    return f"lag {lag:,.0f}"


def at_update(update: float) -> str:
    """An update of training as a place."""
    return f"update {update:,.0f}"


def points(line: Any) -> np.ndarray:
    """[n, 3]: the places of a line, the values there, and their heights in points of the SVG, NaN where none is drawn.
    The values are those that `line.measured` holds where the line itself is cut at the edge."""
    x, drawn = (np.asarray(values, float) for values in (line.get_xdata(), line.get_ydata()))
    measured = np.asarray(getattr(line, "measured", drawn), float)
    height = line.axes.figure.bbox.height - line.axes.transData.transform(np.column_stack([x, drawn]))[:, 1]
    return np.column_stack([x, measured, height])[hasattr(line, "measured") | np.isfinite(drawn)]
