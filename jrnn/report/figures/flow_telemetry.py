"""The gradient during training: late and early in the sequences, and its growth per step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import TRAINING, Caption, Figure
from jrnn.report.figures.style import DENSE, Theme, furnish, legend, prepare, split
from jrnn.report.figures.training import running_mean
from jrnn.report.training_facts import measured
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_flow_telemetry(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws delta_late and delta_early of the updates that measured them (log axis), and below the growth in nats per
    step.

    The lower axes, of the same width, hold delta_growth and the probe tangent_growth (diamonds); their dotted line at 0
    is where nothing is lost or gained. Faint lines are the values, strong ones their running mean (of the logarithms,
    for delta).

    Args:
      diagnosis: what to draw; it must come from training with `flow_every`.
      ax: matplotlib Axes to draw on, the lower part of which goes to the growth; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes of delta; `.figure` is the Figure.
    Raises:
      InputError: the history has no delta_late, or matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_flow_telemetry` says."""
    history = diagnosis.history
    ax = prepare(ax, colours, FIGURE.title, "", "‖dL/dh‖, rms\n(loss per unit of state)", 2)
    ax.set_yscale("log", nonpositive="mask")
    ax.tick_params(labelbottom=False)
    ax, below = split(ax, (3, 2))
    below.sharex(ax)
    furnish(below, colours, "update", "growth\n(nats per step)")
    below.axhline(0, color=colours.text, linewidth=1, linestyle=":", gid="zero")
    at = measured(history)
    updates = np.flatnonzero(at) + 1
    handles = []
    for axes, name, color, dash, label in (
        (ax, "delta_late", colours.after, "-", "late (last tenth)"),
        (ax, "delta_early", colours.before, (0, (4, 1.5)), "early (first tenth)"),
        (below, "delta_growth", colours.text, "-", "growth from late to early"),
    ):
        values, late = (np.asarray(history[column], float)[at] for column in (name, "delta_late"))
        there = late > 0 if axes is below else values > 0  # where nothing was sent back, nothing grew
        drawn = np.where(np.isfinite(values) & there, values, np.nan)
        width = max(len(values) // 40, 1)
        smooth = running_mean(drawn, width) if axes is below else np.exp(running_mean(np.log(drawn), width))
        few = "." if len(values) <= 30 else None
        dots = {"marker": few, "rasterized": len(values) > DENSE}
        axes.plot(updates, drawn, color=color, alpha=0.3, linewidth=1, gid=name, **dots)
        handles += axes.plot(updates, smooth, color=color, linewidth=2, linestyle=dash, label=label, gid=f"{name} mean")
    probe = np.asarray(history.get("tangent_growth", np.full(len(at), np.nan)), float)
    probed = np.isfinite(probe)
    if probed.any():
        dots = {"linestyle": "none", "marker": "D", "markersize": 3, "markeredgewidth": 0, "alpha": 0.8}
        dots |= {"color": colours.accent, "label": "random direction", "gid": "tangent_growth"}
        handles += below.plot(np.flatnonzero(probed) + 1, probe[probed], **dots)
    ax.set_xlim(0, len(at) + 1)
    legend(ax, colours, handles, columns=2)
    return ax


def caption(diagnosis: Diagnosis) -> Caption:
    shown = (
        "For updates spread over the training: the size of the gradient with respect to the state over the last tenth "
        "of each sequence (near the error) and over the first tenth (far back), and below it the growth per step "
        "between the two. Close together means that the training signal gets through; far apart, that it vanishes "
        "(early below late) or explodes. Where every step has an error of its own, early steps also collect the pull "
        "of all later ones."
    )
    last = int(np.flatnonzero(measured(diagnosis.history))[-1])
    late, early = (float(diagnosis.history[f"delta_{name}"][last]) for name in ("late", "early"))
    end = f"At the end: {number(early)}, {number(late)}."
    return Caption(shown, f"Gradient early and late in the sequences during training. {end}")


FIGURE = Figure(
    "flow_telemetry",
    "How the gradient travelled during training",
    TRAINING,
    draw,
    caption,
    is_measured=lambda diagnosis: bool(measured(diagnosis.history).any()),
    lacking="a history without 'delta_late'",
    needed="one from training with `flow_every`",
)
