"""What a `GradientFlow` says lag by lag and output by output, over its sequences, as NumPy: what summaries and figures
show. For the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np

from jrnn.flow.credit.result import GradientFlow
from jrnn.flow.verdicts.arrival import Arrival, arrival
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.types import InputError
from jrnn.wording import brief, counted


@dataclass(frozen=True)
class FlowCurves:
    """Host numbers (NumPy float64), each as in `FlowSummary`; what needs a lag to judge is not among them."""

    arriving: np.ndarray
    arriving_low: np.ndarray
    arriving_high: np.ndarray
    credit: np.ndarray
    output_times: np.ndarray
    lag_norms: np.ndarray
    """Empty where nothing was split by lag, as the next two."""
    lag_shares: np.ndarray
    lag_errors: np.ndarray
    effective_horizon: int
    """-1 where it is not known."""
    sum_error: float
    sequences: int
    arriving_by_state: dict[str, np.ndarray]
    lag_norms_by_gate: dict[str, np.ndarray]
    exact: bool

    def __repr__(self) -> str:
        return brief(self, f"{len(self.arriving)} lags", f"{counted(self.outputs, 'output')} followed")

    judgement: ClassVar[None] = None
    lag: ClassVar[None] = None

    @property
    def outputs(self) -> int:
        """Output times that carry gradient and were followed back."""
        return len(self.output_times)

    @property
    def reach(self) -> int:
        """The largest lag at which at least 1 % of the gradient still arrives."""
        return int(np.flatnonzero(self.arriving >= VANISHED).max(initial=0))

    @property
    def reach_is_bound(self) -> bool:
        """Whether that is the longest lag there is, so that the reach may be longer."""
        known = np.flatnonzero(~np.isnan(self.arriving))
        return bool(len(known) and self.arriving[known[-1]] >= VANISHED)


def flow_curves(flow: GradientFlow) -> FlowCurves:
    """The curves of a flow; outputs that carry no gradient are left out. Of a run read backwards, times are counted in
    the order of reading.

    Raises:
      InputError: the flow is empty, has a leading axis of `jax.vmap`, or is under `jax.jit`.
    """
    if np.ndim(flow.output_times) != 1:
        needed = "one of them: jax.tree.map(lambda a: a[0], flow)"
        raise InputError("flow", "those of several networks (jax.vmap)", needed)
    if not np.size(flow.credit):
        raise InputError("flow", f"credit of shape {np.shape(flow.credit)}", "an output and a sequence at least")
    here = flow.arrival()
    by_state = jax.tree_util.tree_leaves_with_path(flow.credit_by_state)
    low, middle, high = bands(here, here)
    reverse = bool(flow.reverse)
    credit, times = np.asarray(flow.credit, np.float64), np.asarray(flow.output_times)
    credit = credit.reshape(*credit.shape[:2], int(np.prod(credit.shape[2:])))
    sequences = credit.shape[2]
    if reverse:
        credit, times = credit[::-1, ::-1], credit.shape[1] - times[::-1]
    alive = credit.any(axis=(1, 2))
    if alive.any():
        credit, times = credit[alive], times[alive]
    split = flow.lag_norms is not None
    norms, shares, errors = (
        np.asarray(values if split else (), np.float64) for values in (flow.lag_norms, flow.lag_shares, flow.lag_errors)
    )
    return FlowCurves(
        arriving=middle,
        arriving_low=low,
        arriving_high=high,
        credit=typical_credit(credit),
        output_times=times,
        lag_norms=norms,
        lag_shares=shares,
        lag_errors=errors,
        effective_horizon=int(flow.effective_horizon()) if split else -1,
        sum_error=float(flow.sum_error),
        sequences=sequences,
        arriving_by_state={
            jax.tree_util.keystr(path, simple=True, separator="."): bands(
                arrival(size, flow.output_times, reverse), here
            )[1]
            for path, size in (by_state if len(by_state) > 1 else [])
        },
        lag_norms_by_gate={gate: np.asarray(norms, np.float64) for gate, norms in flow.lag_norms_by_gate.items()},
        exact=bool(flow.exact),
    )


def bands(part: Arrival, whole: Arrival) -> np.ndarray:
    """[3, L]: 10 %, 50 %, 90 % quantiles over sequences of what arrives of `part`, relative to what `whole` sent."""
    quantiles = np.full((3, whole.by_lag.shape[1]), np.nan)
    for lag in range(quantiles.shape[1]):
        there = whole.there[:, lag]
        sent = np.where(there, whole.by_lag[:, min(whole.base, lag)], 0.0)
        arrived = np.where(there & sent.any(axis=1, keepdims=True), part.by_lag[:, lag], 0.0).sum(0)
        sent = sent.sum(0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            each = (arrived / sent)[sent != 0]
            quantiles[:, lag] = np.quantile(each, (0.1, 0.5, 0.9)) if len(each) else np.nan
    return quantiles


def typical_credit(credit: np.ndarray) -> np.ndarray:
    """[R, T+1, S] -> [R, T+1]: the median over the sequences whose output carries gradient; zero where none does."""
    rows = []
    for row in credit:
        alive = np.flatnonzero(row.any(axis=0))
        rows.append(np.median(row[:, alive], axis=1) if len(alive) else np.zeros(len(row)))
    return np.stack(rows)
