"""Logarithmic axes whose labels are plain text, such as 10⁻³.

matplotlib sets each of them as a formula, again at every drawing.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from jrnn.extras import require
from jrnn.wording import raised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMULA = re.compile(r"\$\\mathdefault\{(?P<before>[0-9.\\a-z]*?)(?:\^\{(?P<power>[−0-9-]+)\})?\}\$")


def set_log_scale(ax: Axes, nonpositive: str = "clip") -> None:
    """Makes the vertical axis logarithmic; `nonpositive` as `Axes.set_yscale` takes it."""
    ax.set_yscale("log", nonpositive=nonpositive)
    ax.yaxis.set_major_formatter(plain_formatter()())
    ax.yaxis.set_minor_formatter(plain_formatter()())


@cache
def plain_formatter() -> Any:
    """matplotlib's own choice of labels, without formulas."""

    class PlainLogFormatter(require("matplotlib.ticker").LogFormatterSciNotation):
        __qualname__ = "PlainLogFormatter"  # found in this module by who unpickles a figure

        def __call__(self, x: float, pos: Any = None) -> str:
            return plain(super().__call__(x, pos))

    return PlainLogFormatter


def __getattr__(name: str) -> Any:
    if name == "PlainLogFormatter":
        return plain_formatter()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def plain(label: str) -> str:
    """The formula as text; as it is where text cannot say it, or where LaTeX sets all text."""
    found = FORMULA.fullmatch(label)
    if found is None or require("matplotlib").rcParams["text.usetex"]:
        return label
    return found["before"].replace(r"\times", "×") + raised(found["power"] or "")
