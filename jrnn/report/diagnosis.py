"""What `jrnn diagnose` found, as one value that the terminal, the page, the figures and the JSON file all show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jrnn.flow.summary import FlowSummary


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
class Diagnosis:
    """Everything the report shows."""

    title: str
    """For example "Elman, 128 units, on digits"."""
    data: dict[str, Any]
    """name, source (one sentence), cases, steps, features, task, lag, lag_reason."""
    model: dict[str, Any]
    """cell, hidden, layers, parameters (count), state (N), max_norm, optimizer, learning_rate, batch_size, steps,
    seed."""
    stages: tuple[Stage, ...]
    """In order of time; one only where a saved model is diagnosed."""
    history: dict[str, np.ndarray] = field(default_factory=dict)
    """Per update [steps]: "loss", "accuracy" (if any), "grad_norm" (before clipping), "clip_factor", "clipped" (0/1),
    "skipped" (0/1). Empty where nothing was trained."""
    versions: dict[str, str] = field(default_factory=dict)
    """jrnn, jax, python."""
    command: str = ""
    """The command that made this, for the page's foot."""
