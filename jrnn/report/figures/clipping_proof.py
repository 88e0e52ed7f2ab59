"""What clipping cannot do: the split of the gradient by lag, before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import CLIPPING, Caption, Figure, has_history
from jrnn.report.figures.style import FLOOR, Theme, legend, prepare
from jrnn.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_clipping_proof` says."""
    proof = diagnosis.clipping_proof
    assert proof is not None
    labels = (FIGURE.title, "lag τ: steps back in time", "‖$G_\\tau$‖ / ‖$G_0$‖")
    ax = prepare(ax, colours, *labels, 3)
    limit = f"clipped to {number(proof.max_norm)}"
    marks: dict[str, Any] = {"marker": "o", "markersize": 5, "markerfacecolor": "none", "linestyle": "none"}
    per_step = f"clipped to {number(proof.step_max_norm)}" if proof.step_max_norm is not None else "clipped"
    curves: tuple[tuple[str, np.ndarray, str, dict[str, Any]], ...] = (
        ("not clipped", proof.lag_norms, colours.before, {"linewidth": 2}),
        (f"global norm {limit}: the same split", proof.clipped_lag_norms, colours.after, marks),
        (
            f"each step's $\\delta_t$ {per_step}: another split",
            proof.per_step_lag_norms,
            colours.soft,
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
    legend(ax, colours)
    return ax


def relative(norms: Any) -> np.ndarray:
    """||G_tau|| / ||G_0||; NaN where that is no number."""
    norms = np.asarray(norms, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return norms / norms[0]


def caption(diagnosis: Diagnosis) -> Caption:
    shown = (
        "Clipping to a global norm multiplies the part from every lag by the same number, so it moves no information "
        "between lags: their shares are the same before and after, and what vanished stays vanished. It keeps a large "
        "update from doing damage, no more; the cure is another start, another cell or another step."
    )
    proof = diagnosis.clipping_proof
    if proof is None:
        return Caption(shown, "")
    found = number(proof.largest_difference)
    shown += (
        f" The figure shows it on a real batch: before and after the two differ by {found} at most. Clipping each "
        "step's gradient on its way back is another thing: it changes what each lag says."
    )
    return Caption(shown, f"Split of the gradient by lag before and after clipping. They differ by {found} at most.")


FIGURE = Figure(
    "clipping_proof",
    "Clipping is a bandage",
    CLIPPING,
    draw,
    caption,
    is_measured=lambda diagnosis: diagnosis.clipping_proof is not None,
    lacking="no clipping_proof",
    needed="one from training",
    is_told=has_history("grad_norm"),
)
