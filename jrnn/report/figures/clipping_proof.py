"""What clipping cannot do: the split of the gradient by lag, before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import CLIPPING, Caption, Drawn, Figure
from jrnn.report.figures.log_axis import set_log_scale
from jrnn.report.figures.quantities import PROOF
from jrnn.report.figures.readout import Curve, Readout, at_lag
from jrnn.report.figures.style import FLOOR, finish, prepare
from jrnn.report.figures.themes import Look
from jrnn.wording import number, percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_clipping_proof(
    measured: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws ||G_tau|| / ||G_0|| (log axis) against the lag: unclipped, clipped to a global norm, and delta_t clipped.

    The first two lie on each other: clipping multiplies every lag's part by the same number. A clip of each step's
    delta_t is another thing: it changes what the lags say.

    Args:
      measured: a `ClippingProof`, a dict {name: proof} (a panel each), or a `Diagnosis` that has one.
      ax: matplotlib Axes to draw on; by default those of a new figure.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_clipping_proof` says."""
    proof = drawn.parts[0].of
    ax = prepare(ax, look, "lag τ: steps back in time", "‖$G_\\tau$‖ / ‖$G_0$‖")
    limit = f"clipped to {number(proof.max_norm)}"
    marks: dict[str, Any] = {"marker": "o", "markersize": 5 * look.mark, "markerfacecolor": "none", "linestyle": "none"}
    per_step = f"clipped to {number(proof.step_max_norm)}" if proof.step_max_norm is not None else "clipped"
    width = 2 * look.line
    dashed: dict[str, Any] = {"linewidth": width, "linestyle": "--"}
    curves: tuple[tuple[str, str, np.ndarray, str, dict[str, Any]], ...] = (
        ("not clipped", "", proof.lag_norms, look.before, {"linewidth": width}),
        ("global norm", f" {limit}: the same split", proof.clipped_lag_norms, look.after, marks),
        ("each step's δ", f" {per_step}: another split", proof.per_step_lag_norms, look.soft, dashed),
    )
    set_log_scale(ax, "mask")
    shown = []
    for name, more, norms, color, own in curves:
        share = relative(norms)
        shown.append(share[share >= FLOOR])
        style: dict[str, Any] = {**own, "markevery": max(len(share) // 24, 1)}
        values = np.where(share >= FLOOR, share, np.nan)
        line: Any = ax.plot(values, color=color, label=name + (more if look.roomy else ""), gid=name, **style)[0]
        line.measured = share
    every = np.concatenate(shown)
    ax.set_ylim(every.min(initial=0.1) / 1.5, every.max(initial=1.0) * 2)
    ax.set_xlim(0, max(len(proof.lag_norms) - 1, 1))
    return finish(ax, look)


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
    "Clipping is a bandage",
    CLIPPING,
    PROOF,
    draw,
    caption,
    lacking="no clipping_proof",
    needed="one from training",
    one=True,
    is_told=lambda diagnosis: len(diagnosis.history.get("grad_norm", ())) > 0,
    readout=Readout(at_lag, (Curve("", percentage),)),
)
