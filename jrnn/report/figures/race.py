"""The race: held-out loss against updates, arm by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.prescribing.candidates import AS_IT_IS
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures import quantities
from jrnn.report.figures.base import RACE, Caption, Drawn, Figure
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.readout import Curve, Readout, at_update
from jrnn.report.figures.style import DASHED, finish, prepare, spans_decades
from jrnn.report.figures.themes import Look
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_race(
    measured: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the held-out loss of every arm of a race against its updates: the median over seeds, for those of the final
    with the range over seeds behind it; the best constant answer and the target as level lines.

    Args:
      measured: what `jrnn.prescribe` found, a dict {name: that} (a panel each), or a `Diagnosis` that has it.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or has no curves, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_race` says."""
    found = drawn.parts[0].of
    finalists = [row.name for row in found.table if row.figure is not None]
    ax = prepare(ax, look, "update", "held-out loss")
    shown = {AS_IT_IS: look.before}
    others = [name for name in finalists if name != AS_IT_IS]
    shown |= dict(zip(others, (look.after, *look.others), strict=False))
    handles = []
    for name, (updates, losses) in found.curves.items():
        finite = np.where(np.isfinite(losses), losses, np.nan)
        if name not in finalists:
            ax.plot(updates, np.median(finite, axis=1), color=look.soft, linewidth=look.line, alpha=0.5, gid=name)
            continue
        style: dict[str, Any] = {"color": shown[name], "linestyle": DASHED if name == AS_IT_IS else "-"}
        ax.fill_between(updates, finite.min(axis=1), finite.max(axis=1), color=shown[name], alpha=0.15, linewidth=0)
        label = "yours, as it is" if name == AS_IT_IS else name
        handles += ax.plot(updates, np.median(finite, axis=1), linewidth=2 * look.line, label=label, gid=name, **style)
    if found.floor is not None:
        line = {"color": look.text, "linewidth": look.line, "linestyle": ":"}
        handles.append(ax.axhline(found.floor, label=look.words(found.floor_name, number(found.floor)), **line))
    if found.target is not None:
        line = {"color": look.good, "linewidth": 1.5 * look.line, "linestyle": "-.", "gid": "target"}
        handles.append(ax.axhline(found.target, label=look.words("target", number(found.target)), **line))
    everything = np.concatenate([losses.ravel() for _, losses in found.curves.values()])
    if spans_decades(everything):
        set_log_scale(ax)
    return finish(ax, look, handles)


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
    "The race",
    RACE,
    quantities.RACE,
    draw,
    caption,
    one=True,
    lacking="one without a prescription",
    needed="one that comes from `jrnn prescribe`",
    readout=Readout(at_update, (Curve("", number),)),
)
