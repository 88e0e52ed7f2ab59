"""The lag profile of the data: how much of the answer its last steps explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import RACE, Caption, Drawn, Figure, Part
from jrnn.report.figures.quantities import DATA_LAGS
from jrnn.report.figures.readout import Curve, Readout, at_lag
from jrnn.report.figures.style import finish, mark_lag, prepare
from jrnn.report.figures.themes import Look
from jrnn.wording import confidence, percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_data_lags(
    measured: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the share of the answer's variance that the data's last steps explain, against how far back they go: a
    predictor, no network. A curve that rises before the line of the needed lag has something to teach on the way.

    Args:
      measured: what `jrnn.prescribe` found or its `data_lags`, a dict {name: any of them}, or a `Diagnosis`.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or the data were not measured, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_data_lags` says."""
    xlabel = "lag: inputs up to so many steps back" if look.roomy else "lag: steps back"
    ax = prepare(ax, look, xlabel, look.ylabel("share of the answer explained", "explained"))
    for part in drawn.parts:
        _profile(ax, part, look)
    for lag in dict.fromkeys(part.of.lag for part in drawn.parts):
        mark_lag(ax, lag, look, f"lag needed: {lag}")
    ax.set_xlim(0, max(max(part.of.windows[-1] - 1 for part in drawn.parts), 1))
    ax.set_ylim(0, 1.02)
    return finish(ax, look)


def _profile(ax: Axes, part: Part, look: Look) -> None:
    """Draws one curve, and the interval of all shorter lags."""
    found = part.of
    lags, shares = found.windows - 1, np.clip(found.explained, 0.0, 1.0)
    style: dict[str, Any] = {"marker": "o", "markersize": 4 * look.mark} | part.style
    label = look.words(part.name, "explained on held-out cases")
    curve: dict[str, Any] = {"linewidth": 2 * look.line, "clip_on": False, "label": label, "gid": part.gid("explained")}
    ax.plot(lags, shares, **curve, **style)
    near, low, high = (np.clip(value, 0.0, 1.0) for value in (found.near, *found.near_interval))
    bar = [[max(near - low, 0)], [max(high - near, 0)]]
    ends: dict[str, Any] = {"linewidth": 1.5 * look.line, "capsize": 4 * look.mark}
    ax.errorbar([found.lag - 1], [near], bar, color=part.color, **ends)


def caption(diagnosis: Diagnosis) -> Caption:
    """How to read it."""
    found = diagnosis.prescription.data_lags if diagnosis.prescription is not None else None
    assert found is not None
    shown = (
        f"No network yet: how much of the answer's variance a linear predictor explains that sees the inputs, and "
        f"their products, up to so many steps back. {found.sentence} The bar is the interval of all "
        f"shorter lags, at {confidence(0.99)}."
    )
    near, whole = (percentage(max(each, 0.0)) for each in (found.near, found.whole))
    alternative = f"Share explained against lag: {near} below lag {found.lag}, {whole} with all steps. {found.kind}."
    return Caption(shown, alternative)


FIGURE = Figure(
    "data_lags",
    "Where the data hold the answer",
    "Lags in the data",
    RACE,
    DATA_LAGS,
    draw,
    caption,
    lacking="one without a lag profile of the data",
    needed="one that comes from `jrnn prescribe`",
    readout=Readout(at_lag, (Curve("explained", percentage, "explained {}"),)),
)
