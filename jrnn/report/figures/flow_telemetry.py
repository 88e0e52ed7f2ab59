"""The gradient during training: late and early in the sequences, and its growth per step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import TRAINING, Caption, Drawn, Figure, Part
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.quantities import history_with
from jrnn.report.figures.readout import Curve, Readout, at_update
from jrnn.report.figures.style import DASHED, DENSE, finish, furnish, prepare, split
from jrnn.report.figures.themes import Look
from jrnn.report.figures.training import running_mean
from jrnn.report.training_facts import measured as measured_at
from jrnn.wording import nats, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_flow_telemetry(
    measured: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws delta_late and delta_early of the updates that measured them (log axis), and below the growth in nats per
    step.

    The lower axes, of the same width, hold delta_growth and the probe tangent_growth (diamonds); their dotted line at 0
    is where nothing is lost or gained. Faint lines are the values, strong ones their running mean (of the logarithms,
    for delta).

    Args:
      measured: a run's history (a dict of arrays), a `Fitted`, a dict {name: any of them}, or a `Diagnosis`.
      ax: matplotlib Axes to draw on, the lower part of which goes to the growth; by default those of a new figure.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes of delta; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or logged no delta_late (train with `flow_every`), or matplotlib is not
        installed.
    """
    return FIGURE.plot(measured, ax, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_flow_telemetry` says."""
    ax = prepare(ax, look, "", look.ylabel("‖dL/dh‖, rms\n(loss per unit of state)", "‖dL/dh‖", 0.55))
    set_log_scale(ax, "mask")
    ax.tick_params(labelbottom=False)
    ax, below = split(ax, (3, 2))
    below.sharex(ax)
    furnish(below, look, "update", look.ylabel("growth\n(nats per step)", "growth", 0.35))
    below.axhline(0, color=look.text, linewidth=1, linestyle=":", gid="zero")
    alone = len(drawn.parts) == 1
    handles = [handle for part in drawn.parts for handle in _run(ax, below, part, alone, look)]
    ax.set_xlim(0, max(len(measured_at(part.of.columns)) for part in drawn.parts) + 1)
    return finish(ax, look, handles, columns=2)


def _run(ax: Axes, below: Axes, part: Part, alone: bool, look: Look) -> list[Any]:
    """Draws one run; returns its lines for the legend: of several runs the late gradient's, which bears the name."""
    history = part.of.columns
    at = measured_at(history)
    updates = np.flatnonzero(at) + 1
    handles = []
    styles: tuple[dict[str, Any], ...] = (
        {"color": look.after}, {"color": look.before, "linestyle": DASHED}, {"color": look.text}
    )  # fmt: skip
    if not alone:
        line = part.line(len(updates))
        styles = (line, {"color": part.color, "linestyle": DASHED}, line)
    for (axes, name, label), style in zip(
        (
            (ax, "delta_late", "late (last tenth)"),
            (ax, "delta_early", "early (first tenth)"),
            (below, "delta_growth", "growth from late to early" if look.roomy else "growth"),
        ),
        styles,
        strict=True,
    ):
        values, late = (np.asarray(history[column], float)[at] for column in (name, "delta_late"))
        there = late > 0 if axes is below else values > 0  # where nothing was sent back, nothing grew
        drawn = np.where(np.isfinite(values) & there, values, np.nan)
        width = max(len(values) // 40, 1)
        smooth = running_mean(drawn, width) if axes is below else np.exp(running_mean(np.log(drawn), width))
        few = "." if len(values) <= 30 else None
        faint = {"color": style["color"], "alpha": 0.3, "marker": few, "rasterized": len(values) > DENSE}
        axes.plot(updates, drawn, linewidth=look.line, gid=part.gid(name), **faint)
        own = label if alone else part.name if name == "delta_late" else "_nolegend_"
        strong = {"linewidth": 2 * look.line, "label": own, "gid": part.gid(f"{name} mean")}
        handles += axes.plot(updates, smooth, **strong, **style)
    probe = np.asarray(history.get("tangent_growth", np.full(len(at), np.nan)), float)
    probed = np.isfinite(probe)
    if probed.any():
        dots = {"linestyle": "none", "marker": "D", "markersize": 3 * look.mark, "markeredgewidth": 0, "alpha": 0.8}
        dots |= {"color": look.accent if alone else part.color, "gid": part.gid("tangent_growth")}
        label = "random direction" if alone else "_nolegend_"
        handles += below.plot(np.flatnonzero(probed) + 1, probe[probed], label=label, **dots)
    return handles


def caption(diagnosis: Diagnosis) -> Caption:
    shown = (
        "For updates spread over the training: the size of the gradient with respect to the state over the last tenth "
        "of each sequence (near the error) and over the first tenth (far back), and below it the growth per step "
        "between the two. Close together means that the training signal gets through; far apart, that it vanishes "
        "(early below late) or explodes. Where every step has an error of its own, early steps also collect the pull "
        "of all later ones."
    )
    last = int(np.flatnonzero(measured_at(diagnosis.history))[-1])
    late, early = (float(diagnosis.history[f"delta_{name}"][last]) for name in ("late", "early"))
    end = f"At the end: {number(early)}, {number(late)}."
    return Caption(shown, f"Gradient early and late in the sequences during training. {end}")


FIGURE = Figure(
    "flow_telemetry",
    "How the gradient travelled during training",
    "Gradient in training",
    TRAINING,
    history_with("delta_late"),
    draw,
    caption,
    lacking="a history without 'delta_late'",
    needed="one from training with `flow_every`",
    readout=Readout(
        at_update,
        (
            Curve("delta_late mean", number, "late"),
            Curve("delta_early mean", number, "early"),
            Curve("delta_growth mean", nats, "growth"),
            Curve("tangent_growth", nats, "random direction"),
        ),
    ),
)
