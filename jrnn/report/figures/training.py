"""How training went: loss and accuracy of every update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import TRAINING, Caption, Figure, has_history
from jrnn.report.figures.style import DENSE, Theme, color_axes, legend, prepare, spans_decades
from jrnn.wording import listed, number, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_training(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the loss (left axis) and, where there is one, the accuracy (right axis) of each update's training batch.

    Faint lines are the values, strong ones their running mean. A loss that spans over two decades gets a log axis. A
    dotted line is the loss without the lag, where it is known (`diagnosis.data["plateau"]`).

    Args:
      diagnosis: what to draw; it must come from training.
      ax: matplotlib Axes for the loss; the accuracy shares its horizontal axis. By default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes of the loss; `.figure` is the Figure.
    Raises:
      InputError: nothing was trained, or matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_training` says."""
    history = diagnosis.history
    loss = np.asarray(history["loss"], float)
    classified = "accuracy" in history
    unit = "loss (nats a case)" if classified else "loss (mean squared error)"
    ax = prepare(ax, colours, FIGURE.title, "update", unit, 1)
    handles = [_trace(ax, loss, colours.text, "-", "loss")]
    plateau = diagnosis.data.get("plateau")
    if plateau is not None:
        label = f"plateau {number(plateau)}"
        handles.append(
            ax.axhline(plateau, color=colours.text, linestyle=":", linewidth=1.5, label=label, gid="plateau")
        )
    if spans_decades(loss):
        ax.set_yscale("log")
    if classified:
        right = ax.twinx()
        color_axes(right, colours)
        right.spines["right"].set_visible(True)
        right.spines["left"].set_visible(False)
        right.set_ylabel("accuracy (%)", color=colours.text)
        right.set_ylim(0, 102)
        handles.append(_trace(right, 100 * np.asarray(history["accuracy"], float), colours.accent, "--", "accuracy"))
    ax.set_xlim(0, len(loss) + 1)
    legend(ax, colours, handles, columns=3)
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


def caption(diagnosis: Diagnosis) -> Caption:
    scores = listed(f"{name} {score(name, value)}" for name, value in diagnosis.stages[-1].scores.items())
    measures = (
        "loss (the error) should fall and the accuracy rise"
        if "accuracy" in diagnosis.history
        else "loss (the error) should fall"
    )
    shown = (
        f"The {measures}. Faint lines are single updates, strong lines their running mean, both on the data the "
        "network trained on. The numbers in the table are on held-out data, which it never saw."
    )
    if diagnosis.data.get("plateau") is not None:
        shown += (
            f" The dotted line at {number(diagnosis.data['plateau'])} is the plateau, the loss of the best predictor "
            f"that makes no use of what lies {diagnosis.data['lag']} steps back: {diagnosis.data['plateau_reason']}."
        )
    return Caption(shown, f"Training curves. On held-out data at the end: {scores}.")


FIGURE = Figure(
    "training",
    "How training went",
    TRAINING,
    draw,
    caption,
    is_measured=has_history("loss"),
    lacking="a history without 'loss'",
    needed="one that comes from training",
)
