"""The figure of what clipping cannot do: the split of the gradient by lag, before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis, shows_diagnosis
from jrnn.report.lag_figure import FLOOR
from jrnn.report.style import legend, prepare, theme
from jrnn.types import InputError
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@shows_diagnosis
def plot_clipping_proof(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws ||G_tau|| / ||G_0|| (log axis) against the lag: unclipped, clipped to a global norm, and delta_t clipped.

    The first two lie on each other: clipping multiplies every lag's part by the same number. A clip of each step's
    delta_t is another thing: it changes what the lags say.

    Args:
      diagnosis: what to draw; it must have a `clipping_proof`.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: there is no proof, or matplotlib is not installed.
    """
    proof, look = diagnosis.clipping_proof, theme(dark)
    if proof is None:
        raise InputError("diagnosis", "no clipping_proof", "one from training")
    labels = ("Clipping is a bandage", "lag τ: steps back in time", "‖G_τ‖ / ‖G_0‖")
    ax = prepare(ax, dark, *labels, 3)
    limit = f"clipped to {number(proof.max_norm)}"
    marks: dict[str, Any] = {"marker": "o", "markersize": 5, "markerfacecolor": "none", "linestyle": "none"}
    per_step = f"clipped to {number(proof.step_max_norm)}" if proof.step_max_norm is not None else "clipped"
    curves: tuple[tuple[str, np.ndarray, str, dict[str, Any]], ...] = (
        ("not clipped", proof.lag_norms, look.before, {"linewidth": 2}),
        (f"global norm {limit}: the same", proof.clipped_lag_norms, look.after, marks),
        (
            f"each step's δ_t {per_step}: another",
            proof.per_step_lag_norms,
            look.soft,
            {"linewidth": 2, "linestyle": "--"},
        ),
    )
    ax.set_yscale("log", nonpositive="mask")
    shown = []
    for label, norms, color, own in curves:
        share = relative(norms)
        shown.append(share[share >= FLOOR])
        style: dict[str, Any] = {**own, "markevery": max(len(share) // 24, 1)}
        drawn = np.where(share >= FLOOR, share, np.nan)
        ax.plot(drawn, color=color, label=label, gid=label.split(":")[0], **style)
    values = np.concatenate(shown)
    ax.set_ylim(values.min(initial=0.1) / 1.5, values.max(initial=1.0) * 2)
    ax.set_xlim(0, max(len(proof.lag_norms) - 1, 1))
    legend(ax, dark)
    return ax


def relative(norms: Any) -> np.ndarray:
    """||G_tau|| / ||G_0||; NaN where that is no number."""
    norms = np.asarray(norms, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return norms / norms[0]
