"""The figures of the training run: what clipping did, and how loss and accuracy went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis, shows_diagnosis
from jrnn.report.facts import clipping_facts
from jrnn.report.style import color_axes, legend, prepare, spans_decades, theme
from jrnn.types import InputError
from jrnn.wording import number, percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSE = 3000
"""From so many points on, they are stored as pixels in a vector figure, so that the file stays small."""


@shows_diagnosis
def plot_clipping(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the gradient norm before clipping (log axis) for every update, and the line of `max_norm`.

    Updates that were clipped and updates that were not differ in colour and shape; crosses at the top are updates
    skipped because a number was not finite. The title says which share was clipped, or that nothing clips.

    Args:
      diagnosis: what to draw; it must come from training.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: nothing was trained, or matplotlib is not installed.
    """
    look, history, facts = theme(dark), diagnosis.history, clipping_facts(diagnosis)
    norms = np.asarray(_column(history, "grad_norm"), float)
    updates = np.arange(1, len(norms) + 1)
    clipped = np.asarray(history.get("clipped", np.zeros(len(norms)))) > 0
    skipped = np.asarray(history.get("skipped", np.zeros(len(norms)))) > 0
    title = "No clipping: max_norm is not set"
    rest = "one update" if facts.max_norm is None else "not clipped"
    if facts.max_norm is not None:
        title = f"Clipping changed {percentage(facts.clipped_share)} of the updates"
    ax = prepare(ax, dark, title, "update", "gradient norm before clipping", 1 + bool(skipped.any()))
    ax.set_yscale("log", nonpositive="mask")
    drawn = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    dots: dict[str, Any] = {
        "linestyle": "none",
        "markersize": 3.5,
        "markeredgewidth": 0,
        "rasterized": len(norms) > DENSE,
    }
    ax.plot(updates[~clipped], drawn[~clipped], marker="o", color=look.soft, label=rest, gid="not clipped", **dots)
    if facts.max_norm is not None:
        ax.plot(updates[clipped], drawn[clipped], marker="^", color=look.accent, label="clipped", gid="clipped", **dots)
        line = f"max_norm = {number(facts.max_norm)}"
        ax.axhline(facts.max_norm, color=look.text, linewidth=1.5, linestyle="--", label=line, gid="max-norm")
    if skipped.any():
        top, label = ax.get_xaxis_transform(), f"skipped ({facts.skipped})"
        at = updates[skipped]
        ax.plot(
            at, np.full(len(at), 0.98), "x", color=look.text, transform=top, label=label, gid="skipped", markersize=6
        )
    ax.set_xlim(0, len(norms) + 1)
    legend(ax, dark, columns=2 if skipped.any() else 3)
    return ax


@shows_diagnosis
def plot_training(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the loss (left axis) and, where there is one, the accuracy (right axis) of each update's training batch.

    Faint lines are the values, strong ones their running mean. A loss that spans over two decades gets a log axis.

    Args:
      diagnosis: what to draw; it must come from training.
      ax: matplotlib Axes for the loss; the accuracy shares its horizontal axis. By default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes of the loss; `.figure` is the Figure.
    Raises:
      InputError: nothing was trained, or matplotlib is not installed.
    """
    look, history = theme(dark), diagnosis.history
    loss = np.asarray(_column(history, "loss"), float)
    classified = "accuracy" in history
    unit = "loss (nats a case)" if classified else "loss (mean squared error)"
    ax = prepare(ax, dark, "Training", "update", unit, 1)
    handles = [_trace(ax, loss, look.text, "-", "loss")]
    if spans_decades(loss):
        ax.set_yscale("log")
    if classified:
        right = ax.twinx()
        color_axes(right, look)
        right.spines["right"].set_visible(True)
        right.spines["left"].set_visible(False)
        right.set_ylabel("accuracy (%)", color=look.text)
        right.set_ylim(0, 102)
        handles.append(_trace(right, 100 * np.asarray(history["accuracy"], float), look.accent, "--", "accuracy"))
    ax.set_xlim(0, len(loss) + 1)
    legend(ax, dark, handles, columns=2)
    return ax


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Centred mean of the finite values within `width` updates; the window shrinks at the ends."""
    finite = np.isfinite(values)
    kernel = np.ones(max(min(width, len(values)), 1))
    count = np.convolve(finite, kernel, mode="same")
    total = np.convolve(np.where(finite, values, 0.0), kernel, mode="same")
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _trace(ax: Axes, values: np.ndarray, color: str, linestyle: str, name: str) -> Any:
    updates = np.arange(1, len(values) + 1)
    drawn = np.where(np.isfinite(values), values, np.nan)
    dense, marker = len(values) > DENSE, "." if len(values) <= 30 else None
    ax.plot(updates, drawn, color=color, alpha=0.3, linewidth=1, marker=marker, gid=name, rasterized=dense)
    smooth = running_mean(values, max(len(values) // 40, 1))
    return ax.plot(updates, smooth, color=color, linewidth=2, linestyle=linestyle, label=name, gid=f"{name} mean")[0]


def _column(history: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in history or not len(history[name]):
        raise InputError("diagnosis", f"a history without {name!r}", "one that comes from training")
    return history[name]
