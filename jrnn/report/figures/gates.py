"""Gate by gate: the parameter gradient by lag, and what arrives by each part of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import ARRIVING, Caption, Figure
from jrnn.report.figures.lag_gradients import ended, heard, log_axis
from jrnn.report.figures.style import Theme, furnish, legend, mark_lag, prepare, split
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1, 1.5)))


def plot_gates(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws, for the last stage of a gated cell, ||G_tau|| of each gate's parameters, and what arrives by each path.

    Above: the parameter gradient by lag, gate by gate. Below, where the state has parts (an LSTM's h and c): the
    fraction of the gradient that arrives by way of each alone. Both axes are logarithmic.

    Args:
      diagnosis: what to draw; its last stage must have `flow.lag_norms_by_gate`.
      ax: matplotlib Axes to draw on, divided where there are paths; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes of the gates; `.figure` is the Figure.
    Raises:
      InputError: the cell has no gates, or matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_gates` says."""
    stage = diagnosis.stages[-1]
    gates, paths = stage.flow.lag_norms_by_gate, stage.flow.arriving_by_state
    x, rows = "lag τ: steps back in time", -(-len(gates) // 4)
    ax = prepare(ax, colours, f"{FIGURE.title}, {stage.name}", "" if paths else x, "", rows, 5.6 if paths else 3.9)
    parts = split(ax, (1.0, 1.0)) if paths else [ax]
    furnish(ax, colours, "" if paths else x, "‖$G_\\tau$‖ of the gate's\nweights (loss per unit)")
    _curves(ax, {f"gate {name}": heard(norms) for name, norms in gates.items()}, colours, 4)
    if paths:
        furnish(parts[1], colours, x, "fraction of the gradient\nthat arrives")
        _curves(parts[1], {f"by way of {name}": np.asarray(a, float) for name, a in paths.items()}, colours, 2)
    for part in parts:
        mark_lag(part, stage.flow.lag, colours)
    return ax


def _curves(ax: Axes, curves: dict[str, np.ndarray], colours: Theme, columns: int) -> None:
    """Draws one line for each name; they differ in colour and dashes."""
    low = log_axis(ax, list(curves.values()), colours)
    for i, (name, curve) in enumerate(curves.items()):
        style = {"color": colours.lines[i % len(colours.lines)], "linestyle": DASHES[i % len(DASHES)]}
        ax.plot(ended(curve, low), linewidth=1.8, label=name, gid=name, **style)
    legend(ax, colours, columns=columns)


def caption(diagnosis: Diagnosis) -> Caption:
    flow = diagnosis.stages[-1].flow
    paths = (
        " Below, the two ways back, each alone: h, which every step squeezes through the gates, and c, the memory that "
        "the forget gate keeps. Where c lies higher, the memory carries the gradient."
        if flow.arriving_by_state
        else ""
    )
    shown = f"Which gate's weights hear how far back: the gradient of each gate's weights, lag by lag.{paths}"
    alt = ", ".join(f"{gate} {number(np.asarray(norms)[0])}" for gate, norms in flow.lag_norms_by_gate.items())
    return Caption(shown, f"Norm of each gate's parameter gradient by lag. At lag 0: {alt}.")


FIGURE = Figure(
    "gates",
    "Gate by gate",
    ARRIVING,
    draw,
    caption,
    is_measured=lambda diagnosis: bool(diagnosis.stages and diagnosis.stages[-1].flow.lag_norms_by_gate),
    lacking="a last stage without gates",
    needed="one of a gated cell (LSTM, GRU)",
)
