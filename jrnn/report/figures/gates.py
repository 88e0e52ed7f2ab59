"""Gate by gate: the parameter gradient by lag, and what arrives by each part of the state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import ARRIVING, Caption, Drawn, Figure
from jrnn.report.figures.lag_gradients import ended, heard, log_axis
from jrnn.report.figures.quantities import GATES
from jrnn.report.figures.readout import Curve, Readout, at_lag
from jrnn.report.figures.style import finish, furnish, legend, mark_lag, prepare, split
from jrnn.report.figures.themes import Look
from jrnn.wording import number, percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = 12
"""Lines of letters, the height of axes that have room for the paths below the gates."""
DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1, 1.5)))


def plot_gates(
    measured: Any,
    *,
    ax: Axes | None = None,
    lag: int | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws, for a gated cell, ||G_tau|| of each gate's parameters, and what arrives by each path.

    Above: the parameter gradient by lag, gate by gate. Below, where the state has parts (an LSTM's h and c): the
    fraction of the gradient that arrives by way of each alone; axes of yours that are too low show the gates only. All
    axes are logarithmic.

    Args:
      measured: a `GradientFlow`, a `FlowSummary`, a dict {name: any of them} (a panel each), or a
        `Diagnosis`: its last stage.
      ax: matplotlib Axes to draw on, divided where there are paths; by default those of a new figure.
      lag: the lag that the task needs, to be marked; by default that of the verdict, where there is one.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes of the gates; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or the cell has no gates, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, lag=lag, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_gates` says."""
    (part,) = drawn.parts
    gates, paths = part.of.lag_norms_by_gate, part.of.arriving_by_state
    if not look.above and look.height < LINES * look.letters:
        paths = {}  # two panels would hold nothing but their legends
    x = "lag τ: steps back in time"
    ax = prepare(ax, look, "" if paths else x, "", 5.6 if paths else 3.9)
    panels = split(ax, (1.0, 1.0)) if paths else [ax]
    share = 0.45 if paths else 1.0
    gated = look.ylabel("‖$G_\\tau$‖ of the gate's\nweights (loss per unit)", "‖$G_\\tau$‖", share)
    furnish(ax, look, "" if paths else x, gated)
    _curves(ax, {name: heard(norms) for name, norms in gates.items()}, "gate", look, share)
    if paths:
        furnish(panels[1], look, x, look.ylabel("fraction of the gradient\nthat arrives", "arrives", share))
        _curves(
            panels[1], {name: np.asarray(values, float) for name, values in paths.items()}, "by way of", look, share
        )
        legend(panels[1], look, columns=2)
    for panel in panels:
        mark_lag(panel, drawn.lag, look)
    title = f"{look.title}, {part.name}" if part.name and look.title == FIGURE.title else look.title
    return finish(ax, replace(look, title=title), columns=4)


def _curves(ax: Axes, curves: dict[str, np.ndarray], kind: str, look: Look, share: float) -> None:
    """Draws one line for each name; they differ in colour and dashes. `share`: of the height that the axes have."""
    low = log_axis(ax, list(curves.values()), look)
    if look.legend is True and not look.above:  # a row of the legend stands below the curves
        bottom, top = ax.get_ylim()
        row = min(2.4 * look.letters / (share * look.height), 0.6)
        ax.set_ylim(top * (bottom / top) ** (1 / (1 - row)), top)
    for i, (name, curve) in enumerate(curves.items()):
        style = {"color": look.lines[i % len(look.lines)], "linestyle": DASHES[i % len(DASHES)]}
        label = f"{kind} {name}" if look.roomy else name
        line: Any = ax.plot(ended(curve, low), linewidth=1.8 * look.line, label=label, gid=f"{kind} {name}", **style)[0]
        line.measured = curve


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
    "Gate by gate",
    ARRIVING,
    GATES,
    draw,
    caption,
    lacking="one without gates",
    needed="one of a gated cell (LSTM, GRU)",
    one=True,
    height=5.6 / 3.9,
    readout=Readout(
        at_lag,
        (
            Curve("gate", number, "gate {}"),
            Curve("by way of", percentage, "by way of {}"),
        ),
    ),
)
