"""What several seeds have in common: a median with a band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.report.diagnosis import Diagnosis, OverSeeds
from jrnn.report.figures.base import TRAINING, Caption, Drawn, Figure, arrange
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.quantities import Found, Quantity, alone
from jrnn.report.figures.readout import Curve, Readout, at_update
from jrnn.report.figures.style import finish, named_styles, prepare, spans_decades
from jrnn.report.figures.themes import Look, look_of
from jrnn.training.fitted import Fitted
from jrnn.types import InputError
from jrnn.wording import listed, number, sentence_case

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = (10, 90)
"""Percentiles over seeds."""


def plot_over_seeds(
    values: Any,
    x: Any = None,
    *,
    of: str = "loss",
    xlabel: str | None = None,
    ylabel: str | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws the median over seeds and the band from the 10th to the 90th percentile; log axis over two decades.

    Args:
      values: an ensemble, `fit(seed=[0, 1, 2])`, whose history is drawn, or the losses of a diagnosis; or numbers
        [S, n], such as exponents or what arrives by lag, one row a seed; or a dict {name: any of them} for several,
        with a legend. Single numbers that are not finite are left out of median and band.
      x: [n], what the numbers stand for; by default 1..n.
      of: the metric of an ensemble's history.
      xlabel, ylabel: of the axes; by default "update" and the metric for ensembles.
      ax: matplotlib Axes; by default those of a new figure.
      title: above the axes; "" for none, by default what is drawn.
      legend: whether there is one, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: no ensemble and no [S, n], a metric that there is not, x of another length, matplotlib is not there.
    """
    several = values if isinstance(values, Mapping) else {"": values}
    if not several:
        raise InputError("values", "an empty dict", "an ensemble or numbers [S, n] a name")
    rows = {name: _rows(given, of) for name, given in several.items()}
    trained = any(isinstance(given, Fitted | OverSeeds) for given in several.values())
    xlabel = ("update" if trained else "") if xlabel is None else xlabel
    ylabel = (of if trained else "") if ylabel is None else ylabel
    title = sentence_case(f"{ylabel or 'values'} over seeds") if title is None else title
    look = replace(look_of(ax, dark), title=title, legend=legend)
    if ax is not None:
        arrange(ax)
    return _bands(rows, x, xlabel, ylabel, ax, look)


def _bands(rows: dict[str, np.ndarray], x: Any, xlabel: str, ylabel: str, ax: Axes | None, look: Look) -> Axes:
    """As `plot_over_seeds` says, of numbers [S, n]."""
    ax = prepare(ax, look, xlabel, ylabel)
    for (name, each), style in zip(rows.items(), named_styles(len(rows), look), strict=True):
        at = np.arange(1, each.shape[1] + 1) if x is None else np.asarray(x)
        if at.shape != each.shape[1:]:
            raise InputError("x", f"shape {at.shape}", f"{each.shape[1:]}, one for each of n")
        known = np.isfinite(each).any(axis=0)  # nothing is left of a column without any
        low, middle, high = np.full((3, len(at)), np.nan)
        finite = np.where(np.isfinite(each), each, np.nan)
        low[known], middle[known], high[known] = np.nanpercentile(finite[:, known], (BAND[0], 50, BAND[1]), axis=0)
        count = f"{len(each)} seed{'' if len(each) == 1 else 's'}"
        ax.fill_between(at, low, high, color=style["color"], alpha=0.25, linewidth=0, gid=f"band {name}".strip())
        few: dict[str, Any] = (
            {"marker": "o", "markersize": 4 * look.mark} if len(at) <= 16 else {"markevery": max(len(at) // 8, 1)}
        )
        label = f"{name} ({count})" if name else f"{count}: median, {BAND[0]}–{BAND[1]} %"
        told: dict[str, Any] = {"label": label, "gid": f"median {name}".strip(), "linewidth": 2 * look.line}
        ax.plot(at, middle, **told, **(few | style))
    if x is None:
        ax.xaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator("auto", integer=True))
    if spans_decades(np.concatenate([each.ravel() for each in rows.values()])):
        set_log_scale(ax)
    return finish(ax, look)


def _rows(given: Any, of: str) -> np.ndarray:
    """[S, n] in float64."""
    if isinstance(given, Fitted):
        if given.seeds is None:
            raise InputError("values", "a single run", "an ensemble, fit(seed=[0, 1, 2])")
        if of not in given.history:
            raise InputError("of", repr(of), f"one of {', '.join(sorted(given.history))}")
        given = given.history[of]
    if isinstance(given, OverSeeds):
        given = given.losses
    try:
        rows = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        needed = "an ensemble, numbers [S, n], or a dict of such"
        raise InputError("values", f"a {type(given).__name__}", needed) from None
    if rows.ndim != 2 or not rows.size:
        raise InputError("values", f"shape {rows.shape}", "[S, n], one row a seed, at least one number")
    return rows


def _find(value: Any) -> Found | None:
    return Found(value.losses if value.losses.size else None) if isinstance(value, OverSeeds) else None


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """The losses of the training batches."""
    return _bands({part.name: part.of for part in drawn.parts}, None, "update", "loss", ax, look)


def caption(diagnosis: Diagnosis) -> Caption:
    every: Any = diagnosis.over_seeds
    told = listed(f"{name} {every.spread(name)}" for name in every.scores[0])
    shown = (
        f"The same training from {len(every.seeds)} seeds: other first weights and another order of the same data. The "
        f"line is the median of their losses at each update, the band goes from the {BAND[0]}th to the {BAND[1]}th "
        "percentile. Networks whose bands overlap are not told apart by their curves. Everything else on this page is "
        f"of seed {every.typical}, whose held-out loss is the median."
    )
    return Caption(shown, f"Losses over {len(every.seeds)} seeds. On held-out data, median and range: {told}.")


OF_SEEDS = Quantity("an OverSeeds", _find, lambda diagnosis: alone(diagnosis.over_seeds))
FIGURE = Figure(
    "over_seeds",
    "How training went over seeds",
    "Loss over seeds",
    TRAINING,
    OF_SEEDS,
    draw,
    caption,
    lacking="a run of one seed",
    needed="one of several, jrnn diagnose --seeds 5",
    readout=Readout(at_update, (Curve("median", number, "median {}"),)),
)
