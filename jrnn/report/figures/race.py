"""The race: held-out loss against updates, arm by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jrnn.prescribing.candidates import AS_IT_IS
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import RACE, Caption, Figure
from jrnn.report.figures.style import Theme, legend, prepare, spans_decades
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_race(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the held-out loss of every arm of a race against its updates: the median over seeds, for those of the final
    with the range over seeds behind it; the best constant answer and the target as level lines.

    Args:
      diagnosis: what to draw; it must come from `jrnn prescribe`.
      ax: matplotlib Axes; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: there was no race, or matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_race` says."""
    found = diagnosis.prescription
    assert found is not None
    finalists = [row.name for row in found.table if row.figure is not None]
    ax = prepare(ax, colours, FIGURE.title, "update", "held-out loss", len(finalists) + 1)
    shown = {AS_IT_IS: colours.before}
    others = [name for name in finalists if name != AS_IT_IS]
    shown |= dict(zip(others, (colours.after, *colours.others), strict=False))
    handles = []
    for name, (updates, losses) in found.curves.items():
        finite = np.where(np.isfinite(losses), losses, np.nan)
        if name not in finalists:
            ax.plot(updates, np.median(finite, axis=1), color=colours.soft, linewidth=1, alpha=0.5, gid=name)
            continue
        style = {"color": shown[name], "linestyle": (0, (4, 1.5)) if name == AS_IT_IS else "-"}
        ax.fill_between(updates, finite.min(axis=1), finite.max(axis=1), color=shown[name], alpha=0.15, linewidth=0)
        label = "yours, as it is" if name == AS_IT_IS else name
        handles += ax.plot(updates, np.median(finite, axis=1), linewidth=2, label=label, gid=name, **style)
    if found.floor is not None:
        line = {"color": colours.text, "linewidth": 1, "linestyle": ":"}
        handles.append(ax.axhline(found.floor, label=f"{found.floor_name} ({number(found.floor)})", **line))
    if found.target is not None:
        ax.axhline(found.target, color=colours.good, linewidth=1.5, linestyle="-.", gid="target")
    everything = np.concatenate([losses.ravel() for _, losses in found.curves.values()])
    if spans_decades(everything):
        ax.set_yscale("log")
    legend(ax, colours, handles)
    return ax


def caption(diagnosis: Diagnosis) -> Caption:
    found = diagnosis.prescription
    assert found is not None
    seeds = next((row.seeds for row in found.table if row.figure is not None), 0)
    if not seeds:
        shown = "The held-out loss while training, of the arms that were seen before the race was interrupted."
        return Caption(shown, f"Loss curves of {len(found.curves)} arms. {found.sentence}")
    target = "" if found.target is None else f" The dash-dotted line is the target, {number(found.target)}."
    shown = (
        f"The held-out loss while training. Coloured lines are the final ({seeds} seeds, median and range, on cases "
        f"that took no part in the choice), grey ones arms that left the race before it.{target}"
    )
    return Caption(shown, f"Loss curves of {len(found.curves)} arms. {found.sentence}")


FIGURE = Figure(
    "race",
    "The race",
    RACE,
    draw,
    caption,
    is_measured=lambda diagnosis: diagnosis.prescription is not None and bool(diagnosis.prescription.curves),
    lacking="one without a prescription",
    needed="one that comes from `jrnn prescribe`",
)
