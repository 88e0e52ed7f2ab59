"""The figure of the gradient's way during training: early against late, and its growth per step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jrnn.report.diagnosis import Diagnosis, shows_diagnosis
from jrnn.report.facts import measured
from jrnn.report.style import color_axes, legend, prepare, theme
from jrnn.report.training_figures import DENSE, running_mean
from jrnn.types import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@shows_diagnosis
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
    look, history = theme(dark), diagnosis.history
    if not measured(history).any():
        raise InputError("diagnosis", "a history without 'delta_late'", "one from training with `flow_every`")
    ax = prepare(ax, dark, "The gradient's way during training", "", "‖dL/dh‖, rms\n(loss per unit of state)", 2)
    ax.set_yscale("log", nonpositive="mask")
    ax.tick_params(labelbottom=False)
    below = _lower_part(ax)
    below.set_facecolor(look.background)
    color_axes(below, look)
    below.grid(True, color=look.grid, linewidth=0.6)
    below.set_axisbelow(True)
    below.set_xlabel("update", color=look.text)
    below.set_ylabel("growth\n(nats per step)", color=look.text)
    below.axhline(0, color=look.text, linewidth=1, linestyle=":", gid="zero")
    at = measured(history)
    updates = np.flatnonzero(at) + 1
    handles = []
    for axes, name, color, dash, label in (
        (ax, "delta_late", look.after, "-", "late (last tenth)"),
        (ax, "delta_early", look.before, (0, (4, 1.5)), "early (first tenth)"),
        (below, "delta_growth", look.text, "-", "growth from late to early"),
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
        dots |= {"color": look.accent, "label": "random direction", "gid": "tangent_growth"}
        handles += below.plot(np.flatnonzero(probed) + 1, probe[probed], **dots)
    ax.set_xlim(0, len(at) + 1)
    legend(ax, dark, handles, columns=2)
    return ax


def _lower_part(ax: Axes) -> Axes:
    """New axes in the lower third of the place of `ax`, which keeps the rest."""
    figure, place = ax.figure, ax.get_subplotspec()
    if place is not None:
        upper, lower = place.subgridspec(2, 1, height_ratios=(3, 2))
        ax.set_subplotspec(upper)
        return figure.add_subplot(lower, sharex=ax)
    box = ax.get_position()
    ax.set_position((box.x0, box.y0 + 0.45 * box.height, box.width, 0.55 * box.height))
    return figure.add_axes((box.x0, box.y0, box.width, 0.35 * box.height), sharex=ax)
