"""What the weights hear: the parameter gradient by lag, for each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import ARRIVING, Caption, Drawn, Figure
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.quantities import LAG_NORMS
from jrnn.report.figures.readout import Curve, Readout, at_lag
from jrnn.report.figures.style import FLOOR, finish, mark_lag, prepare, write_note
from jrnn.report.figures.themes import Look
from jrnn.wording import number, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_heard_lags(
    measured: Any,
    *,
    ax: Axes | None = None,
    lag: int | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws ||G_tau|| (log axis) against the lag, a line each: what each lag puts into the weights' gradient.

    sum_tau G_tau = dL/dparams. A triangle marks the effective horizon, by which the cumulated norm reaches 95 %. What
    is under 1e-12 of the largest, zeros too, ends at the bottom. Where only a sample of the outputs was followed, a
    band spans ||G_tau|| plus and minus its sampling error.

    Args:
      measured: a `GradientFlow`, a `FlowSummary`, a dict {name: any of them}, or a `Diagnosis`: its stages.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      lag: the lag that the task needs, to be marked; by default that of the verdict, where there is one.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or was not split by lag, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, lag=lag, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_heard_lags` says."""
    ylabel = look.ylabel("‖$G_\\tau$‖ (loss per unit of weight)", "‖$G_\\tau$‖")
    ax = prepare(ax, look, "lag τ: steps back in time", ylabel)
    curves = [heard(part.of.lag_norms) for part in drawn.parts]
    low = log_axis(ax, curves, look)
    for part, curve in zip(drawn.parts, curves, strict=True):
        horizon, errors = part.of.effective_horizon, part.of.lag_errors[: len(curve)]
        if not part.of.exact and len(errors):
            ends = (np.maximum(curve - errors, ax.get_ylim()[0]), curve + errors)
            band: dict[str, Any] = {"color": part.color, "alpha": 0.13, "linewidth": 0, "gid": part.gid("error")}
            ax.fill_between(np.arange(len(curve)), *ends, **band)
        label = look.words(part.name, f"95 % from the last {steps(horizon)}")
        style = {"linewidth": 2 * look.line, "label": label, "gid": part.gid("heard")} | part.line(len(curve))
        line: Any = ax.plot(ended(curve, low), **style)[0]
        line.measured = curve
        if 0 <= horizon < len(curve):
            at = max(float(np.nan_to_num(curve[horizon], posinf=low)), low)
            mark: dict[str, Any] = {"color": part.color, "markersize": 9 * look.mark, "clip_on": False}
            ax.plot([horizon], [at], "v", gid=part.gid("horizon"), **mark)
    mark_lag(ax, drawn.lag, look, "lag needed")
    return finish(ax, look)


def heard(norms: Any) -> np.ndarray:
    """||G_tau|| without the last lag, that of the initial state, where it is exactly 0: the state is not learnt."""
    norms = np.asarray(norms, float)
    return norms[:-1] if len(norms) > 1 and norms[-1] == 0 else norms


def ended(curve: np.ndarray, low: float) -> np.ndarray:
    """The curve up to the lag from which on it stays below `low`, where it ends at the bottom; infinities are gaps."""
    last = gone_from(curve, low)
    kept = np.where(np.isfinite(curve) & (curve >= low), curve, np.nan)
    if 0 < last < len(curve):
        kept[last] = low
    return kept


def log_axis(ax: Axes, curves: list[np.ndarray], look: Look) -> float:
    """Sets a log axis that spans at most 12 decades; returns its lower end. A note says at which lag curves fall below
    it."""
    every = np.concatenate(curves)
    known = every[np.isfinite(every) & (every > 0)]
    high = min(known.max(initial=1e-300), 1e300) if known.size else 1.0
    low = max(known.min(initial=high), FLOOR * high) if known.size else 0.1
    set_log_scale(ax, "mask")
    ax.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high * 1.2)))
    ax.yaxis.set_minor_formatter(lambda *_: "")
    ax.set_xlim(0, max(max(len(curve) for curve in curves) - 1, 1))
    gone = [lag for curve in curves if (lag := gone_from(curve, low)) < len(curve) - 1]
    if gone:
        write_note(ax, f"under {number(low)} (or 0) from lag {min(gone)}", look, right=True)
    return low


def gone_from(curve: np.ndarray, low: float) -> int:
    """The lag from which on every value is below `low`; the number of lags if there is none."""
    there = np.flatnonzero(~(curve < low))
    return int(there[-1]) + 1 if len(there) else 0


def caption(diagnosis: Diagnosis) -> Caption:
    shown = (
        "The same question asked of the weights: the part of their gradient that comes from so many steps back. "
        f"{_sum(diagnosis)} The triangle is the lag by which 95 % of them are summed: what lies further back hardly "
        "moves the weights."
    )
    alt = "; ".join(f"{s.name}: 95 % from the last {steps(s.flow.effective_horizon)}" for s in diagnosis.stages)
    return Caption(shown, f"Norm of the parameter gradient from each lag. {alt}.")


def _sum(diagnosis: Diagnosis) -> str:
    """A sentence on what the parts add up to, and how well that is known."""
    caution = next((s.flow.judgement.caution for s in diagnosis.stages if s.flow.judgement.caution), "")
    if caution:
        return caution
    flow = diagnosis.stages[-1].flow
    said = f"; here they are estimated from {flow.outputs} outputs, spread evenly over all; the band is their error"
    return f"The parts add up to the gradient that training uses{'' if flow.exact else said}."


FIGURE = Figure(
    "heard_lags",
    "What the weights hear",
    "What the weights hear",
    ARRIVING,
    LAG_NORMS,
    draw,
    caption,
    lacking="a flow with by_lag=False",
    needed="one that was split by lag: by_lag=True",
    readout=Readout(at_lag, (Curve("heard", number),)),
)
