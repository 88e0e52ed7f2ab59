"""What clipping did: the gradient norm of every update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import CLIPPING, Caption, Figure, has_history
from jrnn.report.figures.style import DENSE, Theme, legend, prepare
from jrnn.report.training_facts import clipping_facts
from jrnn.wording import number, percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_clipping(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the gradient norm before clipping (log axis) for every update, and the line of `max_norm`.

    Updates that were clipped and updates that were not differ in colour and shape; crosses at the top are updates
    skipped because a number was not finite. The legend says which share was clipped, or that nothing clips.

    Args:
      diagnosis: what to draw; it must come from training.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: nothing was trained, or matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_clipping` says."""
    history, facts = diagnosis.history, clipping_facts(diagnosis)
    norms = np.asarray(history["grad_norm"], float)
    updates = np.arange(1, len(norms) + 1)
    clipped = np.asarray(history.get("clipped", np.zeros(len(norms)))) > 0
    skipped = np.asarray(history.get("skipped", np.zeros(len(norms)))) > 0
    rest = "no clipping: max_norm is not set" if facts.max_norm is None else "not clipped"
    share = f"clipped: {percentage(facts.clipped_share)} of the updates"
    ax = prepare(ax, colours, FIGURE.title, "update", "gradient norm before clipping", 2 - (facts.max_norm is None))
    ax.set_yscale("log", nonpositive="mask")
    drawn = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    dots: dict[str, Any] = {
        "linestyle": "none",
        "markersize": 3.5,
        "markeredgewidth": 0,
        "rasterized": len(norms) > DENSE,
    }
    ax.plot(updates[~clipped], drawn[~clipped], marker="o", color=colours.soft, label=rest, gid="not clipped", **dots)
    if facts.max_norm is not None:
        ax.plot(updates[clipped], drawn[clipped], marker="^", color=colours.accent, label=share, gid="clipped", **dots)
        line = f"max_norm = {number(facts.max_norm)}"
        ax.axhline(facts.max_norm, color=colours.text, linewidth=1.5, linestyle="--", label=line, gid="max-norm")
    if skipped.any():
        top, label = ax.get_xaxis_transform(), f"skipped ({facts.skipped})"
        at = updates[skipped]
        ax.plot(
            at, np.full(len(at), 0.98), "x", color=colours.text, transform=top, label=label, gid="skipped", markersize=6
        )
    ax.set_xlim(0, len(norms) + 1)
    legend(ax, colours, columns=2)
    return ax


def caption(diagnosis: Diagnosis) -> Caption:
    facts = clipping_facts(diagnosis)
    median, largest = number(facts.norm_median), number(facts.norm_largest)
    norms = f"The gradient norm before clipping had the median {median} and reached {largest}."
    if facts.max_norm is None:
        did = f"Nothing was clipped: max_norm is not set. Each point is the size of one update's gradient. {norms}"
    else:
        limit = number(facts.max_norm)
        did = (
            f"Each point is the size of one update's gradient. Those above the dashed line (max_norm = {limit}) were "
            f"scaled down to it: {percentage(facts.clipped_share)} of {facts.updates:,} updates. {norms}"
        )
    why = (
        "Clipping multiplies the whole gradient by one number. It keeps a large update from doing damage, but it "
        "moves no information between lags: what vanished stays vanished."
    )
    skipped = f" {facts.skipped:,} updates were skipped because a number was not finite." if facts.skipped else ""
    return Caption(f"{did} {why}{skipped}", f"Gradient norm of each update. {norms}")


FIGURE = Figure(
    "clipping",
    "What clipping did",
    CLIPPING,
    draw,
    caption,
    is_measured=has_history("grad_norm"),
    lacking="a history without 'grad_norm'",
    needed="one that comes from training",
)
