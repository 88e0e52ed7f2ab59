"""What one step does: the singular values of J_t = dh_t/dh_{t-1}."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jrnn.extras import require
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import WHY, Caption, Figure
from jrnn.report.figures.style import Theme, legend, prepare, spans_decades, stage_styles
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_singular_values(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the i-th singular value of one step's Jacobian J_t against i, largest first, for each stage.

    The line is the median over time and sequences, the band its 10 % to 90 % quantiles. Directions above the line at 1
    grow in one step, those below shrink. The axis is linear, and logarithmic if a value exceeds 10.

    Args:
      diagnosis: what to draw.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_singular_values` says."""
    stages = diagnosis.stages
    ylabel = "singular value of $J_t$ (factor a step)"
    ax = prepare(ax, colours, FIGURE.title, "direction i, the strongest first", ylabel, len(stages))
    every = np.concatenate([np.ravel(stage.flow.singular_values) for stage in stages]).astype(float)
    finite = every[np.isfinite(every)]
    logarithmic = bool(finite.size and finite.max() > 10)
    floor = max(1e-6, finite[finite > 0].min(initial=1.0)) if logarithmic else 0.0
    for stage, style in zip(stages, stage_styles(len(stages), colours), strict=True):
        low, middle, high = (
            np.maximum(np.where(np.isfinite(row), row, np.nan), floor) for row in stage.flow.singular_values
        )
        i = np.arange(1, len(middle) + 1)
        ax.fill_between(i, low, high, color=style["color"], alpha=0.2, linewidth=0)
        marker = "o" if len(i) <= 12 else None
        ax.plot(i, middle, linewidth=2, marker=marker, label=stage.name, gid=f"singular values {stage.name}", **style)
    if logarithmic:
        ax.set_yscale("log")
        if spans_decades(finite[finite > 0]):
            ax.set_ylim(bottom=floor)
    else:
        ax.set_ylim(0, max(1.12, 1.05 * finite.max(initial=0.0)))
    ax.axhline(1, color=colours.text, linewidth=1, linestyle=":", gid="one", label="1: neither grows nor shrinks")
    longest = max(max(stage.flow.singular_values.shape[-1] for stage in stages), 2)
    ax.set_xlim(1 - 0.02 * longest, longest * 1.02)
    ax.xaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    legend(ax, colours, columns=2)
    return ax


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
    WHY,
    draw,
    caption,
    is_measured=lambda diagnosis: any(stage.flow.forward for stage in diagnosis.stages),
    lacking="no stage whose step has forward derivatives",
    needed="one without a jax.custom_vjp",
)
