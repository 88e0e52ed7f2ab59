"""What a figure is: one record, which the page, the PNG writer and the public functions all read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jrnn.extras import require
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.finding import find_in_diagnosis, find_in_results
from jrnn.report.figures.quantities import Found, Quantity
from jrnn.report.figures.readout import Readout
from jrnn.report.figures.style import named_styles, new_axes, split, stage_styles
from jrnn.report.figures.themes import Look, look_of
from jrnn.types import InputError
from jrnn.unrolling.checks import is_count

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
    lag: int | None = None
    """The lag that it needs, where that is known."""

    shift: int = 0
    """Its place among the others."""

    def line(self, points: int) -> dict[str, Any]:
        """The style of a line of so many points, of which some bear its marker, not those that others mark."""
        if "marker" not in self.style:
            return self.style
        every = max(points // 8, 1)
        return self.style | {"markevery": (self.shift % 3 * every // 3, every)}

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
    readout: Readout | None = None
    """The numbers of its curves that the page shows where a reader points."""
    is_told: Callable[[Diagnosis], bool] = lambda diagnosis: False
    """Whether heading and caption stand on the page even where nothing is drawn."""

    def is_measured(self, diagnosis: Diagnosis) -> bool:
        """Whether the diagnosis holds what is drawn."""
        return bool(find_in_diagnosis(diagnosis, self.quantity))

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
          InputError: `measured` is of another kind, or does not hold what is drawn; `ax` is no Axes; a lag that is no
            number of steps; matplotlib is not installed.
        """
        if lag is not None and not is_count(lag):
            raise InputError("lag", repr(lag), "a number of steps, or None")
        if not isinstance(legend, bool | str):
            raise InputError("legend", repr(legend), "True, False, or a location as `Axes.legend` takes it")
        look = replace(look_of(ax, dark, self.height), legend=legend, display=display)
        parts, staged = self._parts(measured, look)
        look = replace(look, title=title if title is not None else self.title if look.roomy else self.short)
        if ax is not None:
            arrange(ax)
        if self.one and staged:
            parts = parts[-1:]
        if self.one and len(parts) > 1:
            return self._panels(parts, ax, look, lag, dark)
        known = [part.lag for part in parts if part.lag is not None]
        return self.draw(Drawn(parts, lag if lag is not None or not known else known[-1], staged), ax, look)

    def _parts(self, measured: Any, look: Look) -> tuple[tuple[Part, ...], bool]:
        """What to draw, in order; whether it is the stages of a diagnosis."""
        found: Mapping[str, Found | None]
        staged = isinstance(measured, Diagnosis)
        if staged:
            found = find_in_diagnosis(measured, self.quantity)
            if not found:
                raise InputError("measured", self.lacking, self.needed)
        else:
            found = find_in_results(measured, self.quantity, self.lacking, self.needed)
        styles = stage_styles(len(found), look) if staged else named_styles(len(found), look)
        every = enumerate(zip(found.items(), styles, strict=True))
        parts = [Part(name, each.of, style, each.lag, i) for i, ((name, each), style) in every if each is not None]
        return tuple(parts), staged

    def _panels(self, parts: tuple[Part, ...], ax: Axes | None, look: Look, lag: int | None, dark: bool | None) -> Axes:
        """One panel for each, side by side, under its name."""
        ax = new_axes(look, self.height, len(parts)) if ax is None else ax
        for panel, part in zip(split(ax, (1.0,) * len(parts), beside=True), parts, strict=True):
            own = replace(look_of(panel, dark), legend=look.legend, title=part.name)
            alone = replace(part, name="", style=named_styles(1, own)[0])
            self.draw(Drawn((alone,), part.lag if lag is None else lag), panel, own)
        return ax


def arrange(ax: Axes) -> None:
    """Gives the figure a constrained layout where the user has chosen none, so that no label is cut."""
    figure: Any = ax.figure
    default = require("matplotlib").rcParams
    if not hasattr(figure, "set_layout_engine") or figure.get_layout_engine() is not None:
        return
    places = ("left", "right", "bottom", "top", "wspace", "hspace")
    untouched = all(getattr(figure.subplotpars, each) == default[f"figure.subplot.{each}"] for each in places)
    if untouched and all(each.get_subplotspec() is not None for each in figure.axes):
        figure.set_layout_engine("constrained")
