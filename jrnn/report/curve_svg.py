"""A small curve as SVG inside HTML, for notebooks: no matplotlib, and colours that are readable on light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.wording import number, percentage

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 120, 46, 18, 8
POINTS = 160
"""At most, of a line."""
LINE = "#d9702b"
FLOOR = 1e-8
"""The lowest fraction that is shown."""
STYLE = 'style="display:block;max-width:100%;height:auto;margin:.3em 0" font-family="sans-serif" font-size="10"'


def lag_svg(flow: Any) -> str:
    """What arrives (log scale) against the lag, with lines at 1 % and at the lag needed."""
    arriving = np.asarray(flow.arriving, float)[: max(int(np.max(flow.output_times, initial=1)), 1)]
    shown = np.where(np.isfinite(arriving), np.clip(arriving, FLOOR, 1 / FLOOR), np.nan)
    known = shown[np.isfinite(shown)]
    low, high = min(known.min(initial=1.0), VANISHED / 10), max(known.max(initial=1.0), 1.0)
    words = f"Gradient that arrives against the lag, up to lag {len(arriving) - 1}"
    if flow.lag is not None:
        words += f"; {percentage(flow.at_lag)} at lag {flow.lag}"
    place = Place(len(arriving) - 1, np.log10(low), np.log10(high))
    lines = [place.level(np.log10(VANISHED), "1 %"), place.level(0.0, "100 %")]
    if flow.lag is not None:
        lines.append(place.upright(flow.lag, f"lag {flow.lag}"))
    return _svg(words, [*lines, place.line(np.log10(shown)), place.ends("0", f"lag {len(arriving) - 1}")])


def curve_svg(values: np.ndarray, words: str) -> str:
    """Values against their number, from 1; gaps where they are not finite. Logarithmic where they span decades."""
    values = np.where(np.isfinite(values), values, np.nan)
    known = values[np.isfinite(values)]
    logarithmic = bool(known.min() > 0 and known.max() > 100 * known.min())
    shown = np.log10(values) if logarithmic else values
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    place = Place(len(values) - 1, low, high if high > low else low + 1.0)
    lines = [place.level(low, number(known.min())), place.level(high, number(known.max()))]
    return _svg(words, [*lines, place.line(shown), place.ends("1", f"{len(values):,}")])


class Place:
    """Where things stand: x from 0 to `last`, y from `low` to `high`."""

    def __init__(self, last: int, low: float, high: float):
        self.last, self.low, self.high = max(last, 1), float(low), float(high)

    def x(self, at: float) -> float:
        """Pixels from the left."""
        return LEFT + (WIDTH - LEFT - 8) * at / self.last

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / max(self.high - self.low, 1e-12)

    def level(self, value: float, label: str) -> str:
        """A dotted line across, with its label on the left."""
        y = self.y(value)
        line = f'<path d="M{LEFT} {y:.1f}H{WIDTH - 8}" stroke="currentColor" stroke-dasharray="2 3" opacity=".5"/>'
        words = f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end" fill="currentColor">{escape(label)}</text>'
        return line + words

    def upright(self, at: float, label: str) -> str:
        """A dashed line upright, with its label at the top."""
        x, left = self.x(at), at > self.last / 2
        line = f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="currentColor" stroke-dasharray="5 3"/>'
        anchor = "end" if left else "start"
        where = f'x="{x + (-4 if left else 4):.1f}" y="{TOP + 20}" text-anchor="{anchor}"'
        return f'{line}<text {where} fill="currentColor">{escape(label)}</text>'

    def line(self, values: np.ndarray) -> str:
        """The curve, of at most POINTS points; it ends where values are missing and goes on after them."""
        chosen = np.unique(np.linspace(0, len(values) - 1, min(len(values), POINTS)).round().astype(int))
        steps, pen = [], "M"
        for at in chosen:
            if np.isfinite(values[at]):
                steps.append(f"{pen}{self.x(at):.1f} {self.y(float(values[at])):.1f}")
            pen = "L" if np.isfinite(values[at]) else "M"
        return f'<path d="{"".join(steps)}" fill="none" stroke="{LINE}" stroke-width="2" stroke-linejoin="round"/>'

    def ends(self, first: str, last: str) -> str:
        """The ends of the horizontal axis."""
        y = HEIGHT - 4
        return (
            f'<text x="{LEFT}" y="{y}" fill="currentColor">{escape(first)}</text>'
            f'<text x="{WIDTH - 8}" y="{y}" text-anchor="end" fill="currentColor">{escape(last)}</text>'
        )


def _svg(words: str, parts: Iterable[str]) -> str:
    """The picture, with words for those who do not see it."""
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg {size} role="img" aria-label="{escape(words)}" {STYLE}>{"".join(parts)}</svg>'
