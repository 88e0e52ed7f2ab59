"""How much of the gradient arrives at each lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.flow.summary import FlowSummary
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.report.diagnosis import Diagnosis, Stage
from jrnn.report.figures.base import ARRIVING, Caption, Figure
from jrnn.report.figures.style import FLOOR, Theme, label_box, legend, mark_lag, prepare, stage_styles
from jrnn.wording import percentage, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CEILING = 1e12
"""Fractions above it (infinities, too) or below FLOOR are drawn at the edge, with a note."""


def plot_lag_profile(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the fraction of the gradient that arrives (log axis) against the lag in steps, for each stage.

    A band spans the 10 % to 90 % quantiles over sequences. Lines mark 1 % and the lag the task needs, where a bar is
    the verdict's interval of confidence (stages a little apart); a dot on each curve marks its reach, the largest lag
    where 1 % still arrives. A curve that falls below 1e-12 (zeros, too) ends at the bottom, and a note says at which
    lag; above 1e12 likewise. Gaps are lags where the fraction is not a number.

    Args:
      diagnosis: what to draw.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_lag_profile` says."""
    stages = diagnosis.stages
    ax = prepare(ax, colours, FIGURE.title, "lag: steps back in time", "fraction of the gradient", len(stages))
    ax.set_yscale("log", nonpositive="mask")
    notes = [_curve(ax, stage, style) for stage, style in zip(stages, stage_styles(len(stages), colours), strict=True)]
    _limits(ax, [there(stage.flow) for stage in stages], [s.flow.judgement.arriving_interval for s in stages])
    ax.axhline(VANISHED, color=colours.text, linewidth=1, linestyle=":", gid="one-percent")
    ax.text(1.015, VANISHED, "1 %", transform=ax.get_yaxis_transform(), color=colours.text, va="center", fontsize=9)
    _needed(ax, stages[-1].flow.lag, colours)
    _intervals(ax, stages, colours)
    _write_notes(ax, [note for note in notes if note], colours)
    legend(ax, colours)
    return ax


def there(flow: FlowSummary) -> np.ndarray:
    """What arrives, up to the longest lag that a sequence is long enough for."""
    return np.asarray(flow.arriving, float)[: max(int(np.max(flow.output_times, initial=1)), 1)]


def clip(fractions: np.ndarray) -> np.ndarray:
    """Fractions clipped to [FLOOR, CEILING]; NaN inside a run of clipped ones, so that the curve stops at the edge."""
    fractions = np.asarray(fractions, float)
    outside = (fractions < FLOOR) | (fractions > CEILING)
    padded = np.concatenate([[True], outside, [True]])
    inner = outside & padded[:-2] & padded[2:]
    return np.where(inner, np.nan, np.clip(fractions, FLOOR, CEILING))


def _curve(ax: Axes, stage: Stage, style: dict[str, Any]) -> tuple[int, str] | None:
    """Draws one stage; returns what the picture cannot show, with the lag where that begins."""
    flow = stage.flow
    arriving = there(flow)
    lags = np.arange(len(arriving))
    low, high = (
        np.clip(np.asarray(band, float), FLOOR, CEILING)
        for band in (flow.arriving_low[: len(lags)], flow.arriving_high[: len(lags)])
    )
    ax.fill_between(lags, low, high, where=high > FLOOR, color=style["color"], alpha=0.2, linewidth=0)
    reach = f"{'at least ' if flow.reach_is_bound else ''}{steps(flow.reach)}"
    ax.plot(
        lags,
        clip(arriving),
        linewidth=2,
        label=f"{stage.name}: 1 % reaches {reach}",
        gid=f"arriving {stage.name}",
        **style,
    )
    if 0 <= flow.reach < len(lags):
        at = np.clip(arriving[flow.reach], FLOOR, CEILING)
        ax.plot(
            [flow.reach],
            [at],
            "o",
            color=style["color"],
            markersize=7,
            clip_on=False,
            zorder=4,
            gid=f"reach {stage.name}",
        )
    for found, words in (
        (np.isnan(arriving), "not a number"),
        (arriving < FLOOR, "below 1e-12"),
        (arriving > CEILING, "above 1e12"),
    ):
        if found.any():
            first = int(np.argmax(found))
            return first, f"{stage.name}:\n{words} from lag {first}"
    return None


def _intervals(ax: Axes, stages: tuple[Stage, ...], colours: Theme) -> None:
    """The verdict's interval at its lag, in each stage's colour; the bars stand side by side."""
    width = ax.get_xlim()[1]
    for i, (stage, style) in enumerate(zip(stages, stage_styles(len(stages), colours), strict=True)):
        judged = stage.flow.judgement
        ends = np.clip(np.nan_to_num([*judged.arriving_interval, judged.arriving], nan=np.nan), FLOOR, CEILING)
        if not 0 < judged.lag or np.isnan(ends).any() or ends[1] == FLOOR:
            continue
        at = judged.lag + 0.014 * width * (i - (len(stages) - 1) * (0.5 if judged.lag < 0.97 * width else 1))
        bar = ax.errorbar(
            [at], [ends[2]], [[max(ends[2] - ends[0], 0)], [max(ends[1] - ends[2], 0)]], color=style["color"],
            linewidth=2, capsize=4, capthick=2, clip_on=False, zorder=5, marker="D", markersize=4,
        )  # fmt: skip
        bar.lines[2][0].set_gid(f"interval {stage.name}")


def _write_notes(ax: Axes, notes: list[tuple[int, str]], colours: Theme) -> None:
    """Writes the notes in a lower corner that is free: on the right if all curves stop in the left half."""
    right = all(2 * lag < ax.get_xlim()[1] for lag, _ in notes)
    style = {"color": colours.text, "fontsize": 9, "va": "bottom", "bbox": label_box(colours), "gid": "note"}
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


def _needed(ax: Axes, lag: int, colours: Theme) -> None:
    mark_lag(ax, lag, colours)
    left = lag > 0.5 * ax.get_xlim()[1]
    ax.annotate(
        f"needed: lag {lag}",
        (lag, 0.98),
        xycoords=ax.get_xaxis_transform(),
        xytext=(-5 if left else 5, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=colours.good,
        fontsize=9.5,
        fontweight="bold",
        bbox=label_box(colours),
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
        f"{s.name}: {percentage(s.flow.at_lag)} arrives at lag {lag}, 1 % reaches {_reach(s)}" for s in diagnosis.stages
    )
    return Caption(shown, f"Fraction of the gradient that arrives against the lag. {alt}.")


def _reach(stage: Stage) -> str:
    return f"{'at least ' if stage.flow.reach_is_bound else ''}{steps(stage.flow.reach)} back"


FIGURE = Figure("lag_profile", "How far back the gradient reaches", ARRIVING, draw, caption)
