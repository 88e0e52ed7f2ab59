"""What `jrnn diagnose` found, as one value that the terminal, the page, the figures and the JSON file all show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from jrnn.flow.summary import FlowSummary
from jrnn.prescribing.result import Prescription
from jrnn.report.red_card import red_card
from jrnn.training.simple_answers import Baseline
from jrnn.types import InputError
from jrnn.wording import brief, number, score

Show = TypeVar("Show", bound=Callable[..., Any])


@dataclass(frozen=True)
class Stage:
    """One moment of the network's life."""

    name: str
    """"before training" or "after training" (or "as saved")."""
    step: int
    """Optimizer updates so far."""
    scores: dict[str, float]
    """On held-out data: "loss" (nats a case for classes, mean squared error otherwise), "accuracy" (0..1) if any."""
    flow: FlowSummary


@dataclass(frozen=True)
class ClippingProof:
    """What a report shows of a `jrnn.ClippingProof`: the gradient of one real batch, split by lag, under two clips."""

    max_norm: float
    """The global norm that is clipped to, so small that both clips act."""
    lag_norms: np.ndarray
    """[L]: ||G_tau|| without clipping, sum_tau G_tau = dL/dparams."""
    clipped_lag_norms: np.ndarray
    """[L]: the same of the gradient clipped to a global norm of max_norm: each G_tau times one number."""
    per_step_lag_norms: np.ndarray
    """[L]: the same with ||delta_t|| clipped at every step of the backward pass."""
    largest_difference: float
    """max over tau of |p'_tau - p_tau| / max(1, p_tau), p and p' = ||G_tau|| / ||G_0|| before and after the global
    clip: rounding."""
    step_max_norm: float | None = None
    """What ||delta_t|| is clipped to."""

    def __repr__(self) -> str:
        moved = f"the global clip changes the lag profile by {number(self.largest_difference)} at most"
        return brief(self, f"{len(self.lag_norms)} lags", moved)


def shown_proof(proof: Any) -> ClippingProof:
    """The fields of a `jrnn.ClippingProof` that a report shows, as numbers and NumPy arrays."""
    arrays = {each.name: np.asarray(getattr(proof, each.name)) for each in fields(ClippingProof)}
    values: dict[str, Any] = {name: value if value.ndim else value.item() for name, value in arrays.items()}
    return ClippingProof(**values)


@dataclass(frozen=True)
class OverSeeds:
    """The same training from several seeds."""

    seeds: tuple[int, ...]
    scores: tuple[dict[str, float], ...]
    """On held-out data, of each: as `Stage.scores`."""
    typical: int
    """The seed whose held-out loss is the median: its network is the one that is shown."""
    losses: np.ndarray
    """[S, updates]: of the training batches."""

    def spread(self, name: str) -> str:
        """The median of a score, and the least and the most over seeds, in words."""
        values = np.array([scores[name] for scores in self.scores])
        middle, low, high = (score(name, float(of(values))) for of in (np.median, np.min, np.max))
        return f"{middle} ({low} to {high})"

    def __repr__(self) -> str:
        return brief(self, f"{len(self.seeds)} seeds", *(f"{name} {self.spread(name)}" for name in self.scores[0]))


@dataclass(frozen=True)
class Diagnosis:
    """Everything the report shows."""

    title: str
    """For example "Elman, 128 units, on digits"."""
    data: dict[str, Any]
    """name, source (one sentence), cases, steps, features, task, lag, lag_reason; where it is known, plateau, the loss
    of the best predictor that makes no use of the lag, and plateau_reason."""
    model: dict[str, Any]
    """cell, hidden, layers, parameters (count), state (N), max_norm, optimizer, learning_rate, batch_size, steps,
    seed."""
    stages: tuple[Stage, ...]
    """In order of time; one only where a saved model is diagnosed."""
    history: dict[str, np.ndarray] = field(default_factory=dict)
    """Per update [steps]: "loss", "accuracy" (if any), "grad_norm" (before clipping), "clip_factor", "clipped" (0/1),
    "skipped" (0/1), and where logged those of `jrnn.training.delta_metrics` and "tangent_growth". Empty where nothing
    was trained."""
    versions: dict[str, str] = field(default_factory=dict)
    """jrnn, jax, python."""
    command: str = ""
    """The command that made this, for the page's foot."""
    clipping_proof: ClippingProof | None = None
    """What clipping does to the split by lag; None where nothing was trained."""
    prescription: Prescription | None = None
    """What the race of `jrnn prescribe` found; None where there was none."""
    advice: str = ""
    """What to try next, in sentences; empty for nothing."""
    next_command: str = ""
    """The command that tries it."""
    baselines: tuple[Baseline, ...] = ()
    """Answers that need no network, with their scores on the same held-out data; the last stage is compared with
    them."""
    over_seeds: OverSeeds | None = None
    """What other seeds gave; None where there was one."""

    @property
    def red_card(self) -> str:
        """What is said first: that the network of the last stage does no better than a baseline; else empty."""
        if not self.stages:
            return ""
        return red_card(self.baselines, self.stages[-1].scores, self.history.get("loss", ()))

    def __repr__(self) -> str:
        return brief(self, self.title, *(f"{stage.name}: {stage.flow.verdict}" for stage in self.stages))


def shows_diagnosis(show: Show, stages: int = 0) -> Show:
    """`show`, which first checks that it is given a diagnosis with at least `stages` stages."""

    @wraps(show)
    def checked(diagnosis: Diagnosis, *args: Any, **options: Any) -> Any:
        if not isinstance(diagnosis, Diagnosis):
            raise InputError("diagnosis", f"a {type(diagnosis).__name__}", "a jrnn.report.Diagnosis")
        if len(diagnosis.stages) < stages:
            raise InputError("diagnosis", "one without stages", "one with a stage at least")
        return show(diagnosis, *args, **options)

    return cast(Show, checked)


def shows_stages(show: Show) -> Show:
    """`show` of a diagnosis that has at least one stage."""
    return shows_diagnosis(show, 1)
