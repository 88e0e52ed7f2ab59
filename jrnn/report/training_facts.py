"""What happened in the training run, in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jrnn.report.diagnosis import Diagnosis


@dataclass(frozen=True)
class ClippingFacts:
    """What clipping did in the whole run."""

    updates: int
    """Updates tried."""
    max_norm: float | None
    """The gradient norm that is clipped to; None if nothing clips."""
    clipped_share: float
    """Clipped updates / updates."""
    norm_median: float
    """Median over updates of the gradient norm before clipping; NaNs left out."""
    norm_largest: float
    """The largest of them; inf if one was infinite."""
    skipped: int
    """Updates left out because a number was not finite."""


def measured(history: Mapping[str, np.ndarray]) -> np.ndarray:
    """[updates] of bool: whether delta_late was measured; where it was not it is NaN."""
    return ~np.isnan(np.asarray(history.get("delta_late", ()), float))


@dataclass(frozen=True)
class History:
    """What a training run logged, with what a figure can say of it."""

    columns: Mapping[str, np.ndarray]
    """Per update, as `Fitted.history`."""
    max_norm: float | None
    """What the gradient is clipped to; None if nothing clips, inf if it is not known."""
    plateau: float | None = None
    """The loss without the lag, where it is known."""
    told: bool = False
    """Whether it is that of a diagnosis, whose loss is the task's own."""

    @property
    def facts(self) -> ClippingFacts:
        """What clipping did."""
        return facts_of(self.columns, self.max_norm)


def history_of(diagnosis: Diagnosis) -> History:
    """The history of a diagnosis."""
    return History(diagnosis.history, diagnosis.model.get("max_norm"), diagnosis.data.get("plateau"), True)


def logged(columns: Mapping[str, np.ndarray]) -> History:
    """A history alone: the norm that was clipped to is what clipped gradients were scaled to."""
    norms, factors, clipped = (
        np.asarray(columns.get(name, ()), float) for name in ("grad_norm", "clip_factor", "clipped")
    )
    limit = np.inf
    if len(norms) == len(factors) == len(clipped):
        scaled = (norms * factors)[(clipped > 0) & np.isfinite(norms)]
        limit = float(np.median(scaled)) if len(scaled) else np.inf
    return History(columns, limit)


def clipping_facts(diagnosis: Diagnosis) -> ClippingFacts:
    """What clipping did in the whole run; zero updates and NaN norms where nothing was trained."""
    return history_of(diagnosis).facts


def facts_of(history: Mapping[str, np.ndarray], limit: float | None) -> ClippingFacts:
    """What clipping to `limit` did."""
    norms = np.asarray(history.get("grad_norm", ()), float)
    clipped, skipped = (np.asarray(history.get(name, ()), float) for name in ("clipped", "skipped"))
    known = norms[~np.isnan(norms)]
    return ClippingFacts(
        updates=max(len(norms), len(clipped), len(skipped), len(history.get("loss", ()))),
        max_norm=None if limit is None else float(limit),
        clipped_share=float((clipped > 0).mean()) if clipped.size else 0.0,
        norm_median=float(np.median(known)) if known.size else float("nan"),
        norm_largest=float(known.max()) if known.size else float("nan"),
        skipped=int((skipped > 0).sum()),
    )
