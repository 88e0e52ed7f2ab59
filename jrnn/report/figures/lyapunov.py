"""The Lyapunov spectrum, with what theory expects beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.flow.lyapunov.dataset_spectrum import MeasuredSpectrum
from jrnn.flow.theory.network_theory import Expected
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import WHY, Caption, Drawn, Figure, Part
from jrnn.report.figures.quantities import SPECTRUM
from jrnn.report.figures.readout import Curve, Readout
from jrnn.report.figures.style import finish, furnish, legend, prepare, split, write_note
from jrnn.report.figures.themes import Look
from jrnn.wording import nats, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEP = -4.0
"""Nats per step: where the axis ends if exponents reach lower (2 % of the gradient is left after each such step)."""

STAGE, COLUMN = 0.6, 2.0  # distances in the strip: of stages, and of largest and mean


def plot_lyapunov(
    measured: Any,
    *,
    ax: Axes | None = None,
    lag: int | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the Lyapunov exponents (nats per step), largest first, against i/N (against i where under half of them was
    measured), with theory in a strip on the right.

    Bars, a band where there are many, are standard errors. Above the green line, ln(1 %) / lag, a direction keeps over
    1 % at the lag that the task needs. The strip holds, for each network, the measured largest and mean exponent (dots)
    beside the mean-field prediction for random Gaussian weights (diamonds) and Pascanu's bound ln(sigma_max sup |phi'|)
    (bar with an arrow down); for gated cells the thin curve is what the keeping gate alone would give each unit.

    Args:
      measured: a `LyapunovSpectrum`, a `MeasuredSpectrum`, a `FlowSummary` with a `spectrum`, a dict {name: any of
        them}, or a `Diagnosis`.
      ax: matplotlib Axes to draw on, a part of which goes to the strip; by default those of a new figure.
      lag: the lag that the task needs, to be marked; by default that of the verdict, where there is one.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes of the spectrum; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or has no spectrum, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, lag=lag, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_lyapunov` says."""
    parts, lag = drawn.parts, drawn.lag
    spectra = [part.of.measured for part in parts]
    gated = any(layer.gate for part in parts for layer in part.of.theory)
    ax = prepare(ax, look, "", "", 4.1)
    ax, *others = split(ax, (2.5, 1.0), beside=True) if look.roomy else [ax]  # on narrow axes there is no room for it
    exponent = look.ylabel("Lyapunov exponent (nats per step)", "nats per step")
    few = all(2 * len(found.exponents) < found.size for found in spectra)  # on i / N they would fill a corner
    place = f"i{'' if few else ' / N'}"
    furnish(ax, look, f"direction, the strongest first: {place}" if look.roomy else f"direction {place}", exponent)
    lowest = [_spectrum(ax, part, few, look) for part in parts]
    places: list[list[float]] = []
    for beside in others:
        furnish(beside, look, "", "")
        beside.sharey(ax)
        beside.tick_params(labelleft=False, length=0, axis="y")
        places += [_beside(beside, i, part, look) for i, part in enumerate(parts)]
    handles = ax.get_legend_handles_labels()[0]
    if gated and look.roomy:
        handles.append(_handle(look.soft, "the keeping gate alone", linewidth=1.2 * look.line, linestyle=":"))
    if lag:
        need = math.log(VANISHED) / lag
        dashed: dict[str, Any] = {"linewidth": 1.5 * look.line, "linestyle": "-."}
        for panel in (ax, *others):
            panel.axhline(need, color=look.good, gid="needed", **dashed)
        handles.append(
            _handle(look.good, f"above: keeps 1 % over lag {lag}" if look.roomy else f"1 % at lag {lag}", **dashed)
        )
        lowest.append(1.5 * need)
    tops = [float(found.exponents[np.isfinite(found.exponents)].max(initial=0.0)) for found in spectra]
    tops += [value for values in places for value in values if math.isfinite(value)]
    low, high = max(min(lowest), DEEP), max([*tops, 0.0])
    room = max(high - low, 0.1)
    ax.set_ylim(low - 0.05 * room, high + 0.07 * room)
    ax.set_xlim(0, 1.01)
    if few:
        ax.set_xlim(0.5, max(len(found.exponents) for found in spectra) + 0.5)
        ax.xaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator("auto", integer=True))
    ax.axhline(0, color=look.text, linewidth=1, linestyle=":", gid="zero")
    note = _note(spectra, min(lowest))
    if note and look.roomy:
        write_note(ax, note, look)
    for beside in others:
        beside.axhline(0, color=look.text, linewidth=1, linestyle=":")
        _strip_axis(beside, len(parts), any(len(values) for values in places), look)
    return finish(ax, look, handles)


def _spectrum(ax: Axes, part: Part, few: bool, look: Look) -> float:
    """Draws one spectrum against i / N, a few exponents against i; returns its lowest finite value."""
    found = part.of.measured
    scale = 1 if few else found.size
    i = np.arange(1, len(found.exponents) + 1) / scale
    values = np.where(np.isfinite(found.exponents), found.exponents, np.nan)
    errors = np.where(np.isfinite(found.standard_errors), found.standard_errors, 0.0)
    line: dict[str, Any] = {"linewidth": 2 * look.line, "label": look.words(part.name)}
    if len(i) <= 16:
        style: dict[str, Any] = {"marker": "o", "markersize": 4 * look.mark} | part.style
        curve: Any = ax.errorbar(i, values, errors, capsize=3 * look.mark, **line, **style).lines[0]
    else:
        ax.fill_between(i, values - errors, values + errors, color=part.color, alpha=0.3, linewidth=0)
        curve = ax.plot(i, values, **line, **part.line(len(i)))[0]
    curve.set_gid(part.gid("exponents"))
    curve.measured = found.exponents
    curve.place = lambda place: f"direction {place * scale:.0f} of {found.size}"
    for layer in part.of.theory:
        if layer.gate:
            units = np.arange(1, len(layer.half_lives) + 1) / scale
            color = {"color": part.color, "linewidth": 1.2 * look.line, "linestyle": ":"}
            ax.plot(units, layer.gate_exponents, gid=part.gid(f"gate {layer.layer}"), **color)
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


def _beside(ax: Axes, index: int, part: Part, look: Look) -> list[float]:
    """Draws measurement and theory, largest and mean, in the strip; returns the values that theory gave."""
    found = part.of.measured
    largest, mean, bound = expectations(part.of.theory)
    size, at = 6 * look.mark, STAGE * index
    hollow: dict[str, Any] = {"markerfacecolor": look.background, "markeredgewidth": 1.5 * look.line, "zorder": 4}
    measured = (float(found.exponents[0]), found.mean_exponent)
    for x, (value, theirs, name) in enumerate(((measured[0], largest, "largest"), (measured[1], mean, "mean"))):
        place = COLUMN * x + at
        if math.isfinite(value):
            gid = part.gid(f"measured {name}")
            ax.plot([place], [value], part.marker, color=part.color, markersize=size, gid=gid)
        if math.isfinite(theirs):
            gid = part.gid(f"expected {name}")
            ax.plot([place + 0.22], [theirs], "D", color=part.color, markersize=size, gid=gid, **hollow)
    if math.isfinite(bound):
        bar: dict[str, Any] = {"marker": "_", "markersize": 12 * look.mark, "markeredgewidth": 2 * look.line}
        ax.errorbar([at], [bound], yerr=0.001, uplims=True, color=part.color, gid=part.gid("bound"), **bar)
    return [value for value in (largest, mean, bound) if not math.isnan(value)]


def _strip_axis(ax: Axes, stages: int, theory: bool, look: Look) -> None:
    """Sets the names of the columns and the legend of the strip."""
    middle = STAGE / 2 * (stages - 1) + 0.11
    ax.set_xticks([middle, COLUMN + middle], ["largest", "mean"])
    ax.tick_params(axis="x", labelsize=9 * look.font)
    ax.set_xlim(-0.6, COLUMN + 2 * middle + 0.6)
    ax.grid(False, axis="x")
    marks = [_handle(look.text, "measured", marker="o", linestyle="none", markersize=5 * look.mark)]
    if theory:
        face = {"markerfacecolor": look.background, "markeredgewidth": 1.5 * look.line, "markersize": 5 * look.mark}
        bound = {"markersize": 9 * look.mark, "markeredgewidth": 2 * look.line}
        marks += [
            _handle(look.text, "theory", marker="D", linestyle="none", **face),
            _handle(look.text, "bound", marker="_", linestyle="none", **bound),
        ]
    if look.above:
        legend(ax, look, marks)


def _note(spectra: list[MeasuredSpectrum], lowest: float) -> str:
    """A note on exponents that the picture cannot show."""
    dead = max(int(np.isneginf(found.exponents).sum()) for found in spectra)
    lines = [f"−∞: {dead} direction{'s die' if dead > 1 else ' dies'} at once"] if dead else []
    missing = spectra[-1].size - len(spectra[-1].exponents)
    lines += [f"{missing} smaller ones were not measured"] if missing else []
    lines += [f"down to {nats(lowest)}, not shown"] if lowest < DEEP else []
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
        f"{s.name}: largest {nats(s.flow.spectrum.exponents[0], s.flow.spectrum.standard_errors[0])}"
        for s in diagnosis.stages
        if s.flow.spectrum is not None
    )
    return Caption(shown.strip(), f"Lyapunov exponents in nats per step, largest first. {alt}.")


FIGURE = Figure(
    "lyapunov",
    "Growth in the long run",
    "Lyapunov spectrum",
    WHY,
    SPECTRUM,
    draw,
    caption,
    lacking="one without a spectrum",
    needed="a spectrum that was measured (a summary with `why=True`)",
    readout=Readout(str, (Curve("exponents", nats),)),
)
