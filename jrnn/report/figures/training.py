"""How training went: loss and accuracy of every update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import TRAINING, Caption, Drawn, Figure, Part
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.over_seeds import plot_over_seeds
from jrnn.report.figures.quantities import history_with
from jrnn.report.figures.readout import Curve, Readout, at_update
from jrnn.report.figures.style import DENSE, color_axes, finish, prepare, spans_decades
from jrnn.report.figures.themes import Look
from jrnn.training import Fitted
from jrnn.wording import listed, number, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_training(
    measured: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the loss (left axis) and, where there is one, the accuracy (right axis) of each update's training batch.

    Faint lines are the values, strong ones their running mean. A loss that spans over two decades gets a log axis. A
    dotted line is the loss without the lag, where it is known (`diagnosis.data["plateau"]`).

    Args:
      measured: a run's history (a dict of arrays), a `Fitted`, a dict {name: any of them}, or a `Diagnosis`.
      ax: matplotlib Axes to draw on; the accuracy shares its horizontal axis; by default those of a new figure.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes of the loss; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or logged no loss, or matplotlib is not installed.
    """
    if isinstance(measured, Fitted) and measured.seeds is not None:
        return plot_over_seeds(measured, ax=ax, title=title, legend=legend, dark=dark)
    return FIGURE.plot(measured, ax, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_training` says."""
    runs = [part.of.columns for part in drawn.parts]
    classified, alone = all("accuracy" in run for run in runs), len(runs) == 1
    unit = "loss (nats a case)" if classified else "loss (mean squared error)" if _staged(drawn) else "loss"
    ax = prepare(ax, look, "update", look.ylabel(unit, "loss"))
    right = _right(ax, look) if classified else None
    handles = []
    for part, run in zip(drawn.parts, runs, strict=True):
        style = {"color": look.text, "linestyle": "-"} if alone else part.line(len(run["loss"]))
        handles.append(_trace(ax, run, "loss", part, style | {"label": "loss" if alone else part.name}, look))
        if right is not None:
            style = {"color": look.accent if alone else part.color, "linestyle": "--"}
            trace = _trace(right, run, "accuracy", part, style | {"label": "accuracy"}, look)
            handles += [trace] * alone
    plateaus = dict.fromkeys(part.of.plateau for part in drawn.parts if part.of.plateau is not None)
    for plateau in plateaus:
        line: dict[str, Any] = {"color": look.text, "linestyle": ":", "linewidth": 1.5 * look.line, "gid": "plateau"}
        handles.append(ax.axhline(plateau, label=f"plateau {number(plateau)}", **line))
    if spans_decades(np.concatenate([run["loss"] for run in runs])):
        set_log_scale(ax)
    ax.set_xlim(0, max(len(run["loss"]) for run in runs) + 1)
    return finish(ax, look, handles, columns=3)


def _staged(drawn: Drawn) -> bool:
    """Whether it is known what the loss is: in a diagnosis, that of the task."""
    return any(part.of.told for part in drawn.parts)


def _right(ax: Axes, look: Look) -> Axes:
    """The axis of the accuracy."""
    right = ax.twinx()
    color_axes(right, look)
    right.spines["right"].set_visible(True)
    right.spines["left"].set_visible(False)
    right.set_ylabel("accuracy (%)", color=look.text)
    right.set_ylim(0, 102)
    return right


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Centred mean of the finite values within `width` updates; the window shrinks at the ends."""
    finite = np.isfinite(values)
    kernel = np.ones(max(min(width, len(values)), 1))
    count = np.convolve(finite, kernel, mode="same")
    total = np.convolve(np.where(finite, values, 0.0), kernel, mode="same")
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _trace(ax: Axes, run: Any, name: str, part: Part, style: dict[str, Any], look: Look) -> Any:
    """Draws a column of a run, faint, and its running mean; returns the line of the mean."""
    values = np.asarray(run[name], float) * (100 if name == "accuracy" else 1)
    updates = np.arange(1, len(values) + 1)
    shown = np.where(np.isfinite(values), values, np.nan)
    faint = {"alpha": 0.3, "marker": "." if len(values) <= 30 else None, "rasterized": len(values) > DENSE}
    ax.plot(updates, shown, color=style["color"], linewidth=look.line, gid=part.gid(name), **faint)
    smooth = running_mean(values, max(len(values) // 40, 1))
    return ax.plot(updates, smooth, linewidth=2 * look.line, gid=part.gid(f"{name} mean"), **style)[0]


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
    "How training went",
    TRAINING,
    history_with("loss"),
    draw,
    caption,
    lacking="a history without 'loss'",
    needed="one that comes from training",
    readout=Readout(
        at_update,
        (
            Curve("loss mean", number, "loss"),
            Curve("accuracy mean", lambda value: score("accuracy", value / 100), "accuracy"),
        ),
    ),
)
