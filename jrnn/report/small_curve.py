"""A small curve for notebooks, which `templates/curve.svg` draws: no matplotlib, and colours that are readable on light
and dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.wording import number, percentage

POINTS = 160
"""At most, of a line."""
FLOOR = 1e-8
"""The lowest fraction that is shown."""


@dataclass(frozen=True)
class Curve:
    """What is drawn, and where it stands in pixels."""

    words: str
    """For those who do not see it."""
    values: np.ndarray
    """[n]: heights; gaps are NaN."""
    low: float
    high: float
    """The ends of the vertical axis."""
    levels: tuple[tuple[float, str], ...]
    """Heights that are marked, with their names."""
    ends: tuple[str, str]
    """The names of the ends of the horizontal axis."""
    lag: int | None = None
    """The lag needed, which is marked."""

    WIDTH: ClassVar[int] = 360
    HEIGHT: ClassVar[int] = 120
    LEFT: ClassVar[int] = 46
    RIGHT: ClassVar[int] = 352
    TOP: ClassVar[int] = 8
    BOTTOM: ClassVar[int] = 102
    LINE: ClassVar[str] = "#d9702b"

    @property
    def last(self) -> int:
        """The place of the last value, 1 at least."""
        return max(len(self.values) - 1, 1)

    def x(self, at: float) -> float:
        """Pixels from the left."""
        return self.LEFT + (self.RIGHT - self.LEFT) * at / self.last

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return self.TOP + (self.BOTTOM - self.TOP) * (self.high - value) / max(self.high - self.low, 1e-12)

    def path(self) -> str:
        """The line, of at most POINTS points; it ends where values are missing and goes on after them."""
        count = len(self.values)
        steps, pen = [], "M"
        for at in np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int)):
            if there := np.isfinite(self.values[at]):
                steps.append(f"{pen}{self.x(at):.1f} {self.y(float(self.values[at])):.1f}")
            pen = "L" if there else "M"
        return "".join(steps)


def lag_curve(flow: Any) -> Curve:
    """What arrives (log scale) against the lag, with lines at 1 % and at the lag needed."""
    arriving = np.asarray(flow.arriving, float)[: max(int(np.max(flow.output_times, initial=1)), 1)]
    shown = np.log10(np.where(np.isfinite(arriving), np.clip(arriving, FLOOR, 1 / FLOOR), np.nan))
    known, percent = shown[np.isfinite(shown)], float(np.log10(VANISHED))
    low, high = float(min(known.min(initial=0.0), percent - 1)), float(max(known.max(initial=0.0), 0.0))
    longest = f"lag {len(arriving) - 1}"
    words = f"Gradient that arrives against the lag, up to {longest}"
    if flow.lag is not None:
        words += f"; {percentage(flow.at_lag)} at lag {flow.lag}"
    return Curve(words, shown, low, high, ((percent, "1 %"), (0.0, "100 %")), ("0", longest), flow.lag)


def update_curve(values: np.ndarray, words: str) -> Curve:
    """A value of every update, from 1; gaps where it is not finite. Logarithmic where the values span decades."""
    values = np.where(np.isfinite(values), values, np.nan)
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    logarithmic = least > 0 and most > 100 * least
    shown = np.log10(values) if logarithmic else values
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    levels = ((low, number(least)), (high, number(most)))
    return Curve(words, shown, low, high if high > low else low + 1.0, levels, ("1", f"{len(values):,}"))
