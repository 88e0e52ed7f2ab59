"""What clipping did: the gradient norm of every update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import CLIPPING, Caption, Drawn, Figure, Part
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.quantities import history_with
from jrnn.report.figures.readout import Curve, Readout, at_update
from jrnn.report.figures.style import DENSE, finish, prepare
from jrnn.report.figures.themes import Look
from jrnn.report.training_facts import clipping_facts
from jrnn.wording import number, percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_clipping(
    measured: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the gradient norm before clipping (log axis) for every update, and the line of `max_norm`.

    Updates that were clipped and updates that were not differ in colour and shape; crosses at the top are updates
    skipped because a number was not finite. The legend says which share was clipped, or that nothing clips.

    Args:
      measured: a run's history (a dict of arrays), a `Fitted`, a dict {name: any of them}, or a `Diagnosis`.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or logged no grad_norm, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_clipping` says."""
    ax = prepare(ax, look, "update", look.ylabel("gradient norm before clipping", "gradient norm"))
    set_log_scale(ax, "mask")
    updates = [_run(ax, part, len(drawn.parts) == 1, look) for part in drawn.parts]
    ax.set_xlim(0, max(updates) + 1)
    return finish(ax, look, columns=2)


def _run(ax: Axes, part: Part, alone: bool, look: Look) -> int:
    """Draws one run; returns its updates. Of several, each has a colour and a shape, and only its line says what was
    clipped."""
    history, facts = part.of.columns, part.of.facts
    norms = np.asarray(history["grad_norm"], float)
    updates = np.arange(1, len(norms) + 1)
    clipped, skipped = (np.asarray(history.get(name, np.zeros(len(norms)))) > 0 for name in ("clipped", "skipped"))
    share = f"clipped: {percentage(facts.clipped_share)}{' of the updates' if look.roomy else ''}"
    rest = "no clipping: max_norm is not set" if facts.max_norm is None else "not clipped"
    values = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    dots: dict[str, Any] = {"linestyle": "none", "markersize": 3.5 * look.mark, "markeredgewidth": 0}
    dots |= {"rasterized": len(norms) > DENSE}
    if alone:
        groups = [("not clipped", ~clipped, "o", look.soft, rest), ("clipped", clipped, "^", look.accent, share)]
    else:
        groups = [("norms", np.ones(len(norms), bool), part.marker, part.color, look.words(part.name, share))]
    for gid, chosen, marker, color, label in groups:
        if gid != "clipped" or facts.clipped_share or facts.max_norm is not None:
            own = {"marker": marker, "color": color, "label": label, "gid": part.gid(gid)}
            ax.plot(updates[chosen], values[chosen], **own, **dots)
    if facts.max_norm is not None and np.isfinite(facts.max_norm):
        line: dict[str, Any] = {"linewidth": 1.5 * look.line, "linestyle": "--", "gid": part.gid("max-norm")}
        told = {"color": look.text, "label": f"max_norm = {number(facts.max_norm)}"}
        line |= told if alone else {"color": part.color}
        ax.axhline(facts.max_norm, **line)
    if skipped.any():
        cross: dict[str, Any] = {"color": look.text if alone else part.color, "markersize": 6 * look.mark}
        label = f"skipped ({facts.skipped})" if alone else "_nolegend_"
        at = updates[skipped]
        top = {"transform": ax.get_xaxis_transform(), "label": label, "gid": part.gid("skipped")}
        ax.plot(at, np.full(len(at), 0.98), "x", **cross, **top)
    return len(norms)


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
    "What clipping did",
    CLIPPING,
    history_with("grad_norm"),
    draw,
    caption,
    lacking="a history without 'grad_norm'",
    needed="one that comes from training",
    readout=Readout(
        at_update,
        (
            Curve("not clipped", number, "not clipped"),
            Curve("clipped", number, "clipped"),
        ),
    ),
)
