"""The Lyapunov spectrum, with what theory expects beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.flow.lyapunov.dataset_spectrum import MeasuredSpectrum
from jrnn.flow.theory.network_theory import Expected
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.report.diagnosis import Diagnosis, Stage
from jrnn.report.figures.base import WHY, Caption, Figure
from jrnn.report.figures.style import Theme, furnish, legend, prepare, split, stage_styles, write_note
from jrnn.wording import nats, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEP = -4.0
"""Nats per step: where the axis ends if exponents reach lower (2 % of the gradient is left after each such step)."""

STAGE, COLUMN = 0.6, 2.0  # distances in the strip: of stages, and of largest and mean


def plot_lyapunov(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the Lyapunov exponents (nats per step), largest first, against i/N, with theory in a strip on the right.

    Bars, a band where there are many, are standard errors. Above the green line, ln(1 %) / lag, a direction keeps over
    1 % at the lag that the task needs. The strip holds, for each stage, the measured largest and mean exponent (dots)
    beside the mean-field prediction for random Gaussian weights (diamonds) and Pascanu's bound ln(sigma_max sup |phi'|)
    (bar with an arrow down); for gated cells the thin curve is what the keeping gate alone would give each unit.

    Args:
      diagnosis: what to draw; some stage must have `flow.spectrum`.
      ax: matplotlib Axes to draw on, a part of which goes to the strip; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes of the spectrum; `.figure` is the Figure.
    Raises:
      InputError: no stage has a spectrum, or matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_lyapunov` says."""
    styles = stage_styles(len(diagnosis.stages), colours)
    chosen = [(s, s.flow.spectrum, style) for s, style in zip(diagnosis.stages, styles, strict=True)]
    drawn = [(stage, found, style) for stage, found, style in chosen if found is not None]
    lag = drawn[-1][0].flow.lag
    gated = any(layer.gate for stage, _, _ in drawn for layer in stage.flow.theory)
    rows = len(drawn) + (lag > 0) + gated
    ax = prepare(ax, colours, FIGURE.title, "", "", rows, 4.1)
    ax, beside = split(ax, (2.5, 1.0), beside=True)
    furnish(ax, colours, "direction, the strongest first: i / N", "Lyapunov exponent (nats per step)")
    furnish(beside, colours, "", "")
    beside.sharey(ax)
    beside.tick_params(labelleft=False, length=0, axis="y")
    lowest = [_spectrum(ax, stage, found, style) for stage, found, style in drawn]
    places = [_beside(beside, i, stage, found, style, colours) for i, (stage, found, style) in enumerate(drawn)]
    handles = ax.get_legend_handles_labels()[0]
    if gated:
        handles.append(_handle(colours.soft, "the keeping gate alone", linewidth=1.2, linestyle=":"))
    if lag:
        need = math.log(VANISHED) / lag
        for part in (ax, beside):
            part.axhline(need, color=colours.good, linewidth=1.5, linestyle="-.", gid="needed")
        handles.append(_handle(colours.good, f"above: keeps 1 % over lag {lag}", linewidth=1.5, linestyle="-."))
        lowest.append(1.5 * need)
    tops = [float(found.exponents[np.isfinite(found.exponents)].max(initial=0.0)) for _, found, _ in drawn]
    tops += [value for values in places for value in values if math.isfinite(value)]
    low, high = max(min(lowest), DEEP), max([*tops, 0.0])
    room = max(high - low, 0.1)
    ax.set_ylim(low - 0.05 * room, high + 0.07 * room)
    ax.set_xlim(0, 1.01)
    ax.axhline(0, color=colours.text, linewidth=1, linestyle=":", gid="zero")
    beside.axhline(0, color=colours.text, linewidth=1, linestyle=":")
    note = _note([found for _, found, _ in drawn], min(lowest))
    if note:
        write_note(ax, note, colours)
    _strip_axis(beside, len(drawn), any(len(values) for values in places), colours)
    legend(ax, colours, handles)
    return ax


def _spectrum(ax: Axes, stage: Stage, found: MeasuredSpectrum, style: dict[str, Any]) -> float:
    """Draws one stage; returns its lowest finite value."""
    i = np.arange(1, len(found.exponents) + 1) / found.size
    values = np.where(np.isfinite(found.exponents), found.exponents, np.nan)
    errors = np.where(np.isfinite(found.standard_errors), found.standard_errors, 0.0)
    few = len(i) <= 16
    if few:
        bars = ax.errorbar(
            i, values, errors, linewidth=2, capsize=3, marker="o", markersize=4, label=stage.name, **style
        )
        bars.lines[0].set_gid(f"exponents {stage.name}")
    else:
        ax.fill_between(i, values - errors, values + errors, color=style["color"], alpha=0.3, linewidth=0)
        ax.plot(i, values, linewidth=2, label=stage.name, gid=f"exponents {stage.name}", **style)
    for layer in stage.flow.theory:
        if layer.gate:
            units = np.arange(1, len(layer.half_lives) + 1) / found.size
            color = {"color": style["color"], "linewidth": 1.2, "linestyle": ":"}
            ax.plot(units, layer.gate_exponents, gid=f"gate {layer.layer} {stage.name}", **color)
    known = values[np.isfinite(values)]
    return float(known.min(initial=0.0))


def expectations(theory: tuple[Expected, ...]) -> tuple[float, float, float]:
    """(largest, mean, bound) in nats per step for the whole network; NaN where unknown.

    The Jacobian of a stack is block triangular: its spectrum is the union of its layers', bounded by the largest.
    """
    fields = [layer for layer in theory if not math.isnan(layer.gain)]
    if not fields or len(fields) < len(theory):
        return math.nan, math.nan, math.nan
    bound = max(layer.norm_gain for layer in fields)
    largest, mean = (
        max(layer.largest_exponent for layer in fields),
        float(np.mean([layer.mean_exponent for layer in fields])),
    )
    return largest, mean, math.log(bound) if bound > 0 else -math.inf


def _beside(
    ax: Axes, index: int, stage: Stage, found: MeasuredSpectrum, style: dict[str, Any], colours: Theme
) -> list[float]:
    """Draws measurement and theory, largest and mean, in the strip; returns the values that theory gave."""
    largest, mean, bound = expectations(stage.flow.theory)
    color, at = style["color"], STAGE * index
    measured = (float(found.exponents[0]), found.mean_exponent)
    for x, (value, theirs, name) in enumerate(((measured[0], largest, "largest"), (measured[1], mean, "mean"))):
        place = COLUMN * x + at
        if math.isfinite(value):
            ax.plot([place], [value], "o", color=color, markersize=6, gid=f"measured {name} {stage.name}")
        if math.isfinite(theirs):
            ax.plot(
                [place + 0.22], [theirs], "D", color=color, markersize=6, markerfacecolor=colours.background,
                markeredgewidth=1.5, gid=f"expected {name} {stage.name}", zorder=4,
            )  # fmt: skip
    if math.isfinite(bound):
        ax.errorbar(
            [at], [bound], yerr=0.001, uplims=True, color=color, marker="_", markersize=12, markeredgewidth=2,
            gid=f"bound {stage.name}",
        )  # fmt: skip
    return [value for value in (largest, mean, bound) if not math.isnan(value)]


def _strip_axis(ax: Axes, stages: int, theory: bool, colours: Theme) -> None:
    """Sets the names of the columns and the legend of the strip."""
    middle = STAGE / 2 * (stages - 1) + 0.11
    ax.set_xticks([middle, COLUMN + middle], ["largest", "mean"], fontsize=9)
    ax.set_xlim(-0.6, COLUMN + 2 * middle + 0.6)
    ax.grid(False, axis="x")
    marks = [_handle(colours.text, "measured", marker="o", linestyle="none", markersize=5)]
    if theory:
        face = {"markerfacecolor": colours.background, "markeredgewidth": 1.5}
        marks += [
            _handle(colours.text, "theory", marker="D", linestyle="none", markersize=5, **face),
            _handle(colours.text, "bound", marker="_", linestyle="none", markersize=9, markeredgewidth=2),
        ]
    legend(ax, colours, marks)


def _note(spectra: list[MeasuredSpectrum], lowest: float) -> str:
    """A note on exponents that the picture cannot show."""
    dead = max(int(np.isneginf(found.exponents).sum()) for found in spectra)
    lines = [f"−∞: {dead} direction{'s die' if dead > 1 else ' dies'} at once"] if dead else []
    missing = spectra[-1].size - len(spectra[-1].exponents)
    lines += [f"{missing} smaller ones were not measured"] if missing else []
    lines += [f"down to {lowest:.1f} nats, not shown"] if lowest < DEEP else []
    return "\n".join(lines)


def _handle(color: str, label: str, **options: Any) -> Any:
    return require("matplotlib.lines").Line2D([], [], color=color, label=label, **options)


def caption(diagnosis: Diagnosis) -> Caption:
    last = diagnosis.stages[-1].flow
    need = math.log(VANISHED) / last.lag if last.lag else 0.0
    shown = (
        "Lyapunov exponents are the growth per step of each direction in the long run: above 0 it explodes, below it "
        f"fades. To keep 1 % over {steps(last.lag)} it takes at least {nats(need)} per step, the green line. "
    )
    if not math.isnan(expectations(last.theory)[0]):
        shown += (
            "On the right, theory beside measurement: what a large network with random Gaussian weights of the same "
            "size would do with these data (diamonds; orthogonal or trained weights may differ from it, in the mean "
            "above all), and the bound that no direction can pass, from the norm of the weights (arrow). "
        )
    elif last.theory:
        shown += "The thin dotted curve is what the gate that keeps the state would do to each unit alone. "
    found = last.spectrum
    if found is not None and found.warnings:
        shown += f"Do not trust the last digits ({'; '.join(found.warnings)})."
    alt = "; ".join(
        f"{s.name}: largest {s.flow.spectrum.exponents[0]:+.3f} ± {s.flow.spectrum.standard_errors[0]:.3f}"
        for s in diagnosis.stages
        if s.flow.spectrum is not None
    )
    return Caption(shown.strip(), f"Lyapunov exponents in nats per step, largest first. {alt}.")


FIGURE = Figure(
    "lyapunov",
    "Growth in the long run",
    WHY,
    draw,
    caption,
    is_measured=lambda diagnosis: any(stage.flow.spectrum is not None for stage in diagnosis.stages),
    lacking="no stage with flow.spectrum",
    needed="a summary that measured it (`why=True`)",
)
