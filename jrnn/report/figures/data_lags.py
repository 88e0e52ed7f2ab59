"""The lag profile of the data: how much of the answer its last steps explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import RACE, Caption, Figure
from jrnn.report.figures.style import Theme, legend, mark_lag, prepare
from jrnn.wording import percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_data_lags(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws the share of the answer's variance that the data's last steps explain, against how far back they go: a
    predictor, no network. A curve that rises before the line of the needed lag has something to teach on the way.

    Args:
      diagnosis: what to draw; it must come from `jrnn prescribe`.
      ax: matplotlib Axes; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: there was no race, the data were not measured, or matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def measured(diagnosis: Diagnosis) -> bool:
    """Whether there is a curve."""
    found = diagnosis.prescription
    return found is not None and found.data_lags is not None and len(found.data_lags.windows) > 0


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_data_lags` says."""
    found = diagnosis.prescription.data_lags if diagnosis.prescription is not None else None
    assert found is not None
    ax = prepare(ax, colours, FIGURE.title, "lag: inputs up to so many steps back", "share of the answer explained", 2)
    lags, shares = found.windows - 1, np.clip(found.explained, 0.0, 1.0)
    style = {"color": colours.after, "linewidth": 2, "marker": "o", "markersize": 4, "clip_on": False}
    ax.plot(lags, shares, label="explained on held-out cases", gid="explained", **style)
    low, high = np.clip(found.near_interval, 0.0, 1.0)
    bar = [[max(np.clip(found.near, 0, 1) - low, 0)], [max(high - np.clip(found.near, 0, 1), 0)]]
    ax.errorbar([found.lag - 1], [np.clip(found.near, 0, 1)], bar, color=colours.after, linewidth=1.5, capsize=4)
    mark_lag(ax, found.lag, colours, f"the lag needed, {found.lag}")
    ax.set_xlim(0, max(lags[-1], 1))
    ax.set_ylim(0, 1.02)
    legend(ax, colours)
    return ax


def caption(diagnosis: Diagnosis) -> Caption:
    """How to read it."""
    found = diagnosis.prescription.data_lags if diagnosis.prescription is not None else None
    assert found is not None
    shown = (
        f"No network yet: how much of the answer's variance a linear predictor explains that sees the inputs, and "
        f"their products, up to so many steps back. {found.sentence} The bar is the 99 % interval of all shorter lags."
    )
    near, whole = (percentage(max(each, 0.0)) for each in (found.near, found.whole))
    alternative = f"Share explained against lag: {near} below lag {found.lag}, {whole} with all steps. {found.kind}."
    return Caption(shown, alternative)


FIGURE = Figure(
    "data_lags",
    "Where the data hold the answer",
    RACE,
    draw,
    caption,
    is_measured=measured,
    lacking="one without a lag profile of the data",
    needed="one that comes from `jrnn prescribe`",
)
