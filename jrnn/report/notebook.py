"""What a notebook shows of a result: a card with its curve, or a table. HTML that stands alone, without matplotlib.

Colours are the page's own (`currentColor`) and one that is readable on light and on dark. Everything from outside is
escaped. A result without values, under `jax.jit` or of another form, has no card: the notebook shows its `repr`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import jax
import numpy as np

from jrnn.flow import FlowSummary, GradientFlow, LyapunovSpectrum, MeasuredSpectrum, WindowBands, WindowSpectrum
from jrnn.flow.comparison import Comparison
from jrnn.flow.curves import flow_curves
from jrnn.flow.lyapunov.dataset_spectrum import over_sequences
from jrnn.flow.singular_values.window_quantiles import bands_of
from jrnn.prescribing import Prescription
from jrnn.report.race_table import race_columns, race_rows
from jrnn.report.small_curve import Curve, lag_curve, update_curve
from jrnn.report.templating import rendered
from jrnn.report.training_facts import logged
from jrnn.training import Fitted
from jrnn.unrolling.checks import concrete
from jrnn.wording import cell_title, counted, halving, kept, nats, number, percentage, score, steps

MOST = 12
"""Rows of a table at most: the first ones, and the last."""
MAIN = ("credit", "exponents", "log_singular_values")
"""Arrays without which there is nothing to show."""


def with_values(card: Callable[[Any], str]) -> Callable[[Any], str | None]:
    """A card of results whose arrays hold values, some at least; None for others."""

    @wraps(card)
    def checked(result: Any) -> str | None:
        leaves = jax.tree.leaves(result) if isinstance(result, tuple) else []
        arrays = [leaf for leaf in leaves if not isinstance(leaf, bool | int | float | str)]
        if any(not hasattr(leaf, "shape") or concrete(leaf) is None for leaf in arrays):
            return None
        if any(np.size(getattr(result, name, 0)) == 0 for name in MAIN if hasattr(result, name)):
            return None
        one = getattr(result, "output_times", np.zeros(1)), getattr(result, "size", 0)
        return card(result) if tuple(map(np.ndim, one)) == (1, 0) else None  # else of several networks, by jax.vmap

    return checked


@with_values
def flow_card(flow: GradientFlow | FlowSummary) -> str:
    """The verdict, where there is one, and the curve of what arrives at each lag."""
    curves = flow_curves(flow) if isinstance(flow, GradientFlow) else flow
    facts = [f"{counted(curves.outputs, 'output')} of {counted(curves.sequences, 'sequence')} followed"]
    if curves.effective_horizon >= 0:
        facts.append(f"95 % of the weights' gradient from the last {steps(curves.effective_horizon)}")
    if curves.judgement is None:
        said = f"1 % of the gradient reaches {steps(curves.reach, curves.reach_is_bound)} back."
        facts.append("flow.verdict(lag) judges a lag, flow.plot() draws this")
    else:
        said = curves.sentence
    return _card(type(flow).__name__, said, curve=lag_curve(curves), foot="; ".join(facts))


@with_values
def spectrum_table(spectrum: LyapunovSpectrum | MeasuredSpectrum) -> str:
    """The exponents with their errors, largest first."""
    found = over_sequences(spectrum) if isinstance(spectrum, LyapunovSpectrum) else spectrum
    rows = [
        (str(i + 1), nats(value), number(error), halving(value))
        for i, (value, error) in enumerate(zip(found.exponents, found.standard_errors, strict=True))
    ]
    said = f"{len(rows)} of {found.size} exponents, the mean of {counted(found.sequences, 'sequence')}"
    head = ("i", "per step", "standard error", "so a perturbation")
    return _card(type(spectrum).__name__, said, head, rows, foot="; ".join(found.warnings))


@with_values
def windows_table(windows: WindowSpectrum | WindowBands) -> str:
    """The largest, the middle and the smallest singular value at each lag."""
    found = bands_of(windows) if isinstance(windows, WindowSpectrum) else windows
    rows = []
    for lag, logs in zip(found.lags, found.log_singular_values[1], strict=True):
        rows.append((f"{int(lag):,}", *(nats(logs[i]) for i in (0, len(logs) // 2, -1)), kept(logs[0])))
    said = f"ln sigma_i of dh_t/dh_(t - lag), the median of {counted(found.sequences, 'sequence')}, N = {found.size}"
    last = "smallest" if found.complete else f"smallest of {found.log_singular_values.shape[2]}"
    return _card(type(windows).__name__, said, ("lag", "largest", "middle", last, "the largest keeps"), rows)


def fitted_card(fitted: Fitted) -> str | None:
    """The last losses, what clipping did, and the curve of the loss; of an ensemble the medians over its seeds."""
    if not isinstance(fitted.history, dict):
        return None
    members = {name: np.asarray(values) for name, values in fitted.history.items()}
    run = logged({name: np.median(values, axis=0) if values.ndim > 1 else values for name, values in members.items()})
    losses = np.asarray(run.columns.get("loss", ()), float)
    tenth = losses[-max(len(losses) // 10, 1) :]
    rows = [] if fitted.seeds is None else [("seeds, of which the median", f"{len(fitted.seeds)}")]
    rows += [("updates", f"{fitted.step:,}{' (interrupted)' if fitted.interrupted else ''}")]
    if np.isfinite(tenth).any():
        rows.append(("loss, mean of the last tenth", number(float(np.mean(tenth[np.isfinite(tenth)])))))
    if len(accuracy := np.asarray(run.columns.get("accuracy", ()), float)):
        rows.append(("accuracy of the last batch", score("accuracy", accuracy[-1])))
    if run.facts.updates:
        rows += [("gradient norm, median", number(run.facts.norm_median))]
        rows += [("updates clipped", percentage(run.facts.clipped_share)), ("skipped", f"{run.facts.skipped:,}")]
    where = f"in {fitted.out}" if fitted.out else ""
    curve = update_curve(losses, "loss of every update") if np.isfinite(losses).sum() > 1 else None
    return _card("Fitted", cell_title(fitted.cell), (), rows, curve=curve, foot=where)


def prescription_card(found: Prescription) -> str:
    """The finding, and the table of the race."""
    table = race_columns(found), race_rows(found)
    return _card("Prescription", found.sentence, *table, foot=found.evidence, code=found.recipe)


def comparison_card(comparison: Comparison) -> str:
    """The table, and the curves of all networks."""
    head, *rows = comparison.cells()
    return _card("Comparison", f"At lag {comparison.lag}", head, rows, foot="comparison.plot() draws the curves")


def _card(
    kind: str,
    said: str,
    head: Sequence[str] = (),
    rows: Iterable[Sequence[str]] = (),
    *,
    curve: Curve | None = None,
    foot: str = "",
    code: str = "",
) -> str:
    """A box with the result's type, a sentence, what is shown, and small print; of a long table the first rows and the
    last."""
    rows = list(rows)
    if len(rows) > MOST:
        rows = [*rows[: MOST - 2], ("…", *[""] * (len(head) - 1)), rows[-1]]
    return rendered("card.html", kind=kind, said=said, head=head, rows=rows, curve=curve, foot=foot, code=code)
