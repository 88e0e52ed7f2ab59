"""What a figure of the report is: one record, which the page, the PNG writer and the public functions all read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.style import DARK, LIGHT, Theme
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


def has_stages(diagnosis: Diagnosis) -> bool:
    """Whether there is any network to look at."""
    return bool(diagnosis.stages)


def has_history(name: str) -> Callable[[Diagnosis], bool]:
    """Whether training logged this quantity."""
    return lambda diagnosis: len(diagnosis.history.get(name, ())) > 0


@dataclass(frozen=True)
class Figure:
    """One figure: its names, when there is one, how it is drawn and what is said of it."""

    name: str
    """The name of its PNG file, without the ending."""
    title: str
    """The title above the axes and the heading on the page."""
    chapter: str
    """The heading of the page under which it stands."""
    draw: Callable[[Diagnosis, Axes | None, Theme], Axes]
    """Draws a diagnosis that `is_measured` on the axes (None: those of a new figure) in these colours."""
    caption: Callable[[Diagnosis], Caption]
    is_measured: Callable[[Diagnosis], bool] = has_stages
    """Whether the diagnosis holds what is drawn."""
    lacking: str = "one without stages"
    """What was given where it does not, for the error."""
    needed: str = "one with a stage at least"
    """What is needed instead."""
    is_told: Callable[[Diagnosis], bool] = lambda diagnosis: False
    """Whether heading and caption stand on the page even where nothing is drawn."""

    def plot(self, diagnosis: Diagnosis, ax: Axes | None = None, dark: bool = False) -> Axes:
        """Draws it on `ax`, by default on the axes of a new figure, for a light or a dark background.

        Raises:
          InputError: no `Diagnosis`, or one that holds nothing to draw; `ax` is no Axes; matplotlib is not installed.
        """
        if not isinstance(diagnosis, Diagnosis):
            raise InputError("diagnosis", f"a {type(diagnosis).__name__}", "a jrnn.report.Diagnosis")
        if not self.is_measured(diagnosis):
            raise InputError("diagnosis", self.lacking, self.needed)
        return self.draw(diagnosis, ax, DARK if dark else LIGHT)
