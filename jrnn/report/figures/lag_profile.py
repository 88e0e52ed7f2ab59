"""How much of the gradient arrives at each lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.flow.curves import FlowCurves
from jrnn.flow.summary import FlowSummary
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import ARRIVING, Caption, Drawn, Figure, Part
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.quantities import FLOW
from jrnn.report.figures.readout import Curve, Readout, at_lag
from jrnn.report.figures.style import FLOOR, finish, label_box, mark_lag, prepare
from jrnn.report.figures.themes import Look
from jrnn.types import InputError
from jrnn.wording import percentage, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CEILING = 1e12
"""Fractions above it (infinities, too) or below FLOOR are drawn at the edge, with a note."""


def plot_lag_profile(
    measured: Any,
    *,
    ax: Axes | None = None,
    lag: int | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the fraction of the gradient that arrives (log axis) against the lag in steps, a line each.

    A band spans the 10 % to 90 % quantiles over sequences. Lines mark 1 % and the lag the task needs, where a bar is
    the verdict's interval of confidence (a little apart); a dot on each curve marks its reach, the largest lag
    where 1 % still arrives. A curve that falls below 1e-12 (zeros, too) ends at the bottom, and a note says at which
    lag; above 1e12 likewise. Gaps are lags where the fraction is not a number.

    Args:
      measured: a `GradientFlow`, a `FlowSummary`, a dict {name: any of them}, or a `Diagnosis`: its stages.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      lag: the lag that the task needs, to be marked; by default that of the verdict, where there is one.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, `lag` is longer than what was measured, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, lag=lag, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_lag_profile` says."""
    parts = drawn.parts
    longest = max(len(there(part.of)) for part in parts) - 1
    if drawn.lag is not None and drawn.lag > longest and drawn.lag not in [part.lag for part in parts]:
        raise InputError("lag", drawn.lag, f"at most {longest}, the longest that was measured")
    ax = prepare(ax, look, "lag: steps back in time", look.ylabel("fraction of the gradient", "arrives"))
    set_log_scale(ax, "mask")
    notes = [_curve(ax, part, look, drawn.staged) for part in parts]
    judged = [part.of.judgement for part in parts if part.of.judgement is not None]
    _limits(ax, [there(part.of) for part in parts], [each.arriving_interval for each in judged])
    ax.axhline(VANISHED, color=look.text, linewidth=1, linestyle=":", gid="one-percent")
    percent: dict[str, Any] = {"color": look.text, "va": "center", "fontsize": 9 * look.font}
    ax.text(1.015, VANISHED, "1 %", transform=ax.get_yaxis_transform(), **percent)
    if drawn.lag is not None:
        _needed(ax, drawn.lag, look)
    _intervals(ax, parts, look)
    if look.roomy:
        _write_notes(ax, [note for note in notes if note], look)
    return finish(ax, look)


def there(flow: FlowSummary | FlowCurves) -> np.ndarray:
    """What arrives, up to the longest lag that a sequence is long enough for."""
    return np.asarray(flow.arriving, float)[: max(int(np.max(flow.output_times, initial=1)), 1)]


def clip(fractions: np.ndarray) -> np.ndarray:
    """Fractions clipped to [FLOOR, CEILING]; NaN inside a run of clipped ones, so that the curve stops at the edge."""
    fractions = np.asarray(fractions, float)
    outside = (fractions < FLOOR) | (fractions > CEILING)
    padded = np.concatenate([[True], outside, [True]])
    inner = outside & padded[:-2] & padded[2:]
    return np.where(inner, np.nan, np.clip(fractions, FLOOR, CEILING))


def _curve(ax: Axes, part: Part, look: Look, staged: bool) -> tuple[int, str] | None:
    """Draws one curve; returns what the picture cannot show, with the lag where that begins."""
    flow = part.of
    arriving = there(flow)
    lags = np.arange(len(arriving))
    low, high = (
        np.clip(np.asarray(band, float), FLOOR, CEILING)
        for band in (flow.arriving_low[: len(lags)], flow.arriving_high[: len(lags)])
    )
    ax.fill_between(lags, low, high, where=high > FLOOR, color=part.color, alpha=0.2, linewidth=0)
    reach = f"1 % reaches {steps(flow.reach, flow.reach_is_bound)}"
    verdict = "" if staged or flow.judgement is None else f"{flow.judgement.kind}, "
    label = look.words(part.name, verdict + reach)
    style = {"linewidth": 2 * look.line, "label": label, "gid": part.gid("arriving")} | part.line(len(lags))
    line: Any = ax.plot(lags, clip(arriving), **style)[0]
    line.measured = arriving
    if 0 <= flow.reach < len(lags):
        at = np.clip(arriving[flow.reach], FLOOR, CEILING)
        dot: dict[str, Any] = {"color": part.color, "markersize": 7 * look.mark, "clip_on": False, "zorder": 4}
        ax.plot([flow.reach], [at], part.marker, gid=part.gid("reach"), **dot)
    for found, words in (
        (np.isnan(arriving), "not a number"),
        (arriving < FLOOR, "below 1e-12"),
        (arriving > CEILING, "above 1e12"),
    ):
        if found.any():
            first = int(np.argmax(found))
            return first, f"{part.name}:\n{words} from lag {first}".removeprefix(":\n")
    return None


def _intervals(ax: Axes, parts: tuple[Part, ...], look: Look) -> None:
    """The verdict's interval at its lag, in each line's colour; the bars stand side by side."""
    width = ax.get_xlim()[1]
    for i, part in enumerate(parts):
        judged = part.of.judgement
        if judged is None or not 0 < judged.lag:
            continue
        ends = np.clip(np.nan_to_num([*judged.arriving_interval, judged.arriving], nan=np.nan), FLOOR, CEILING)
        if np.isnan(ends).any() or ends[1] == FLOOR:
            continue
        at = judged.lag + 0.014 * width * (i - (len(parts) - 1) * (0.5 if judged.lag < 0.97 * width else 1))
        bar = ax.errorbar(
            [at], [ends[2]], [[max(ends[2] - ends[0], 0)], [max(ends[1] - ends[2], 0)]], color=part.color,
            linewidth=2 * look.line, capsize=4 * look.mark, capthick=2 * look.line, clip_on=False, zorder=5,
            marker="D", markersize=4 * look.mark,
        )  # fmt: skip
        bar.lines[2][0].set_gid(part.gid("interval"))


def _write_notes(ax: Axes, notes: list[tuple[int, str]], look: Look) -> None:
    """Writes the notes in a lower corner that is free: on the right if all curves stop in the left half."""
    right = all(2 * lag < ax.get_xlim()[1] for lag, _ in notes)
    style = {"color": look.text, "fontsize": 9 * look.font, "va": "bottom", "bbox": label_box(look), "gid": "note"}
    for row, (_, note) in enumerate(reversed(notes)):
        ax.text(
            0.97 if right else 0.02,
            0.03 + 0.15 * row,
            note,
            transform=ax.transAxes,
            ha="right" if right else "left",
            **style,
        )


def _limits(ax: Axes, curves: list[np.ndarray], intervals: list[Any]) -> None:
    """Sets the axes: from 0.1 % or less to 1 or more, with room above for the label of the lag needed."""
    shown = np.concatenate([np.ravel(curve) for curve in (*curves, *intervals)]).astype(float)
    shown = np.clip(shown[~np.isnan(shown)], FLOOR, CEILING)
    low, high = (shown.min(), shown.max()) if shown.size else (1.0, 1.0)
    low, high = np.floor(np.log10(low) + 0.05), np.ceil(np.log10(high) - 0.1)
    low, high = min(low, -3.0), max(high, 0.0)
    ax.set_ylim(10.0**low, 10.0 ** (high + 0.15 + 0.12 * (high - low)))
    ax.set_xlim(0, max(max(len(curve) for curve in curves) - 1, 1))


def _needed(ax: Axes, lag: int, look: Look) -> None:
    mark_lag(ax, lag, look)
    left = lag > 0.5 * ax.get_xlim()[1]
    ax.annotate(
        f"needed: lag {lag}" if look.roomy else f"lag {lag}",
        (lag, 1),
        xycoords=ax.get_xaxis_transform(),
        xytext=(-5 if left else 5, -4),  # in points: low axes too keep their frame free of the label's box
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=look.good,
        fontsize=9.5 * look.font,
        fontweight="bold",
        bbox=label_box(look),
    )


def caption(diagnosis: Diagnosis) -> Caption:
    lag = diagnosis.stages[-1].flow.lag
    shown = (
        "The curve starts at 1, where the error is measured, and shows what is left of the gradient after so many "
        "steps back. Where it falls below the dotted line, less than 1 % arrives (the dot marks the last lag above "
        f"it). The green line is at {steps(lag)}, the lag the task needs: the closer to 1 a curve crosses it, the "
        "better the network can learn from that far back. The scale is logarithmic, so a straight line down is a "
        "loss of the same share at every step; a drop at the first step alone is lost only once. The line is the "
        "median sequence; the band holds 80 % of them."
    )
    alt = "; ".join(
        f"{stage.name}: {percentage(flow.at_lag)} arrives at lag {lag}, "
        f"1 % reaches {steps(flow.reach, flow.reach_is_bound)} back"
        for stage in diagnosis.stages
        for flow in [stage.flow]
    )
    return Caption(shown, f"Fraction of the gradient that arrives against the lag. {alt}.")


FIGURE = Figure(
    "lag_profile",
    "How far back the gradient reaches",
    "Gradient that arrives",
    ARRIVING,
    FLOW,
    draw,
    caption,
    readout=Readout(at_lag, (Curve("arriving", percentage),)),
)
