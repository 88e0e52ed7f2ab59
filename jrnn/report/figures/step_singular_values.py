"""What one step does: the singular values of J_t = dh_t/dh_{t-1}."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import WHY, Caption, Drawn, Figure
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.quantities import SINGULAR_VALUES
from jrnn.report.figures.readout import Curve, Readout
from jrnn.report.figures.style import finish, prepare, spans_decades
from jrnn.report.figures.themes import Look
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_singular_values(
    measured: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the i-th singular value of one step's Jacobian J_t against i, largest first, a line each.

    The line is the median over time and sequences, the band its 10 % to 90 % quantiles. Directions above the line at 1
    grow in one step, those below shrink. The axis is linear, and logarithmic if a value exceeds 10.

    Args:
      measured: Jacobians [..., N, N] as `jrnn.jacobians` gives, a `FlowSummary`, a dict {name: any of them}, or a
        `Diagnosis`.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_singular_values` says."""
    parts = drawn.parts
    ylabel = look.ylabel("singular value of $J_t$ (factor a step)", "singular value")
    ax = prepare(ax, look, "direction i, the strongest first" if look.roomy else "direction i", ylabel)
    every = np.concatenate([np.ravel(part.of) for part in parts]).astype(float)
    finite = every[np.isfinite(every)]
    logarithmic = bool(finite.size and finite.max() > 10)
    floor = max(1e-6, finite[finite > 0].min(initial=1.0)) if logarithmic else 0.0
    for part in parts:
        low, middle, high = (np.maximum(np.where(np.isfinite(row), row, np.nan), floor) for row in part.of)
        i = np.arange(1, len(middle) + 1)
        ax.fill_between(i, low, high, color=part.color, alpha=0.2, linewidth=0)
        style: dict[str, Any] = (
            {"marker": "o", "markersize": 4 * look.mark} | part.style if len(i) <= 12 else part.line(len(i))
        )
        label, gid = look.words(part.name), part.gid("singular values")
        ax.plot(i, middle, linewidth=2 * look.line, label=label, gid=gid, **style)
    if logarithmic:
        set_log_scale(ax)
        if spans_decades(finite[finite > 0]):
            ax.set_ylim(bottom=floor)
    else:
        ax.set_ylim(0, max(1.12, 1.05 * finite.max(initial=0.0)))
    one = "1: neither grows nor shrinks" if look.roomy else "_nolegend_"
    ax.axhline(1, color=look.text, linewidth=1, linestyle=":", gid="one", label=one)
    longest = max(max(part.of.shape[-1] for part in parts), 2)
    ax.set_xlim(1 - 0.02 * longest, longest * 1.02)
    ax.xaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    return finish(ax, look, columns=2)


def caption(diagnosis: Diagnosis) -> Caption:
    shown = (
        "A step treats each direction of the state differently; here are its factors, from the strongest direction "
        "to the weakest. Above the dotted line at 1 a direction grows in one step, below it shrinks. The steps "
        "multiply: what keeps 0.9 of its size at each of 64 steps ends with 0.1 %. The line is the median over "
        "time, the band holds 80 % of the steps."
    )
    alt = "; ".join(f"{s.name}: largest {number(s.flow.singular_values[1].max(initial=0))}" for s in diagnosis.stages)
    return Caption(shown, f"Singular values of the Jacobian of one step, largest first, median over time. {alt}.")


FIGURE = Figure(
    "singular_values",
    "What one step does to the gradient",
    "Singular values of $J_t$",
    WHY,
    SINGULAR_VALUES,
    draw,
    caption,
    lacking="one whose step has no forward derivatives",
    needed="one without a jax.custom_vjp",
    readout=Readout("direction {:.0f}".format, (Curve("singular values", number),)),
)
