"""What a figure is: one record, which the page, the PNG writer and the public functions all read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jrnn.extras import require
from jrnn.flow.comparison import Comparison
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.quantities import Quantity, is_history
from jrnn.report.figures.style import named_styles, new_axes, split, stage_styles
from jrnn.report.figures.themes import Look, look_of
from jrnn.types import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RACE, ARRIVING, WHY, CLIPPING, TRAINING = (
    "What was tried",
    "How much of the gradient arrives",
    "Why",
    "Clipping",
    "Training",
)
"""The chapters of the page: the race, what arrives, why, what clipping does to it, and how training went."""


class Caption(NamedTuple):
    """What is said of a figure in words."""

    text: str
    """For the page: what the figure shows and how to read it."""
    alternative: str
    """For those who do not see the picture: what is drawn, with its main numbers."""


@dataclass(frozen=True)
class Part:
    """One of the things that a figure draws."""

    name: str
    """That of the stage, or of the user's dict; empty for one alone."""
    of: Any
    """The figure's quantity."""
    style: dict[str, Any]
    """Of its line."""

    @property
    def color(self) -> str:
        """That of its line."""
        return self.style["color"]

    @property
    def marker(self) -> str:
        """What marks a point on its line."""
        return self.style.get("marker", "o")

    def gid(self, what: str) -> str:
        """The name of something that is drawn of it."""
        return f"{what} {self.name}".rstrip()


class Drawn(NamedTuple):
    """All that one figure draws."""

    parts: tuple[Part, ...]
    """At least one."""
    lag: int | None
    """The lag that the task needs; None where it is not known."""
    staged: bool = False
    """Whether they are the stages of a diagnosis, whose verdicts stand beside the figure."""


@dataclass(frozen=True)
class Figure:
    """One figure: its names, what it draws and how, and what is said of it."""

    name: str
    """The name of its PNG file, without the ending."""
    title: str
    """The title above the axes and the heading on the page."""
    short: str
    """The title above axes that are too narrow for it."""
    chapter: str
    """The heading of the page under which it stands."""
    quantity: Quantity
    """What it draws."""
    draw: Callable[[Drawn, Axes | None, Look], Axes]
    """Draws it on the axes (None: those of a new figure) with this look."""
    caption: Callable[[Diagnosis], Caption]
    lacking: str = "one without stages"
    """What was given where the quantity is not there, for the error."""
    needed: str = "one with a stage at least"
    """What is needed instead."""
    one: bool = False
    """Whether it shows one network: of a diagnosis the last stage, of several by name a panel each."""
    height: float = 1.0
    """Of a new figure, where 1 is usual."""
    is_told: Callable[[Diagnosis], bool] = lambda diagnosis: False
    """Whether heading and caption stand on the page even where nothing is drawn."""

    def is_measured(self, diagnosis: Diagnosis) -> bool:
        """Whether the diagnosis holds what is drawn."""
        return bool(self._staged(diagnosis))

    def plot(
        self,
        measured: Any,
        ax: Axes | None = None,
        *,
        lag: int | None = None,
        title: str | None = None,
        legend: bool | str = True,
        dark: bool | None = None,
        display: bool = True,
    ) -> Axes:
        """Draws it on `ax`, by default on the axes of a new figure, which a notebook shows (`display`).

        Raises:
          InputError: `measured` is of another kind, or does not hold what is drawn; `ax` is no Axes; matplotlib is not
            installed.
        """
        require("matplotlib.figure")
        if not isinstance(ax, require("matplotlib.axes").Axes | None):
            raise InputError("ax", f"a {type(ax).__name__}", "matplotlib Axes, or None for a new figure")
        measured = measured.summaries if isinstance(measured, Comparison) else measured
        found = self._found(measured)
        look = replace(look_of(ax, dark, self.height), legend=legend, display=display)
        staged = isinstance(measured, Diagnosis)
        styles = stage_styles(len(found), look) if staged else named_styles(len(found), look)
        shown = {name: each for name, each in found.items() if each is not None}
        lags = [each.lag for each in shown.values() if each.lag is not None]
        needed = lag if lag is not None else lags[-1] if lags else None
        parts = [
            Part(name, each.of, style)
            for (name, each), style in zip(found.items(), styles, strict=True)
            if each is not None
        ]
        look = replace(look, title=title if title is not None else self.title if look.roomy else self.short)
        if ax is not None:
            arrange(ax)
        if not self.one or len(parts) == 1:
            return self.draw(Drawn(tuple(parts), needed, staged), ax, look)
        if staged:
            return self.draw(Drawn(tuple(parts[-1:]), needed, staged), ax, look)
        return self._panels(parts, ax, look, lag, lags, dark)

    def _panels(
        self, parts: list[Part], ax: Axes | None, look: Look, lag: int | None, lags: list[int], dark: bool | None
    ) -> Axes:
        """One panel for each, side by side, under its name."""
        ax = new_axes(look, self.height, len(parts)) if ax is None else ax
        panels = split(ax, (1.0,) * len(parts), beside=True)
        for i, (panel, part) in enumerate(zip(panels, parts, strict=True)):
            own = replace(look_of(panel, dark), legend=look.legend, title=part.name)
            alone = replace(part, name="", style=named_styles(1, own)[0])
            self.draw(Drawn((alone,), lag if lag is not None else lags[i] if lags else None), panel, own)
        return ax

    def _staged(self, diagnosis: Diagnosis) -> dict[str, Any]:
        """What the stages hold, None for those that lack it; nothing where all do."""
        own = self.quantity.find(diagnosis)
        inside = {"": own} if own else {n: self.quantity.find(v) for n, v in self.quantity.within(diagnosis).items()}
        found = {name: each if each and each.of is not None else None for name, each in inside.items()}
        return found if any(each is not None for each in found.values()) else {}

    def _found(self, measured: Any) -> dict[str, Any]:
        """By name the `Found` of each thing to draw, in order; None for stages that lack it."""
        needed = f"{self.quantity.words}, a dict {{name: any of them}}, or a jrnn.report.Diagnosis"
        if isinstance(measured, Diagnosis):
            found = self._staged(measured)
            if not found:
                raise InputError("measured", self.lacking, self.needed)
            return found
        named = isinstance(measured, Mapping) and (self.quantity.find(measured) is None or not measured)
        if named and not measured:
            raise InputError("measured", "an empty dict", needed)
        found = {}
        for name, value in measured.items() if named else [("", measured)]:
            each = self.quantity.find(value)
            where = f"{name!r}: " if named else ""
            if each is None:
                given = "a dict of arrays" if is_history(value) else f"a {type(value).__name__}"
                raise InputError("measured", where + given, needed)
            if each.of is None:
                raise InputError("measured", where + self.lacking, self.needed)
            found[str(name)] = each
        return found


def arrange(ax: Axes) -> None:
    """Gives the figure a constrained layout where the user has chosen none, so that no label is cut."""
    figure: Any = ax.figure
    default = require("matplotlib").rcParams
    if not hasattr(figure, "get_layout_engine") or figure.get_layout_engine() is not None:
        return
    places = ("left", "right", "bottom", "top", "wspace", "hspace")
    untouched = all(getattr(figure.subplotpars, each) == default[f"figure.subplot.{each}"] for each in places)
    if untouched and all(each.get_subplotspec() is not None for each in figure.axes):
        figure.set_layout_engine("constrained")
