"""What a run is, read and checked once: what `fit` hands to a single run or to an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optax

from jrnn.training.batches import Cases, Generated
from jrnn.training.loop import Intervals
from jrnn.training.storage.run_folder import RunFolder, open_run
from jrnn.training.training_step import TrainingStep
from jrnn.training.weights import Weights


@dataclass(frozen=True)
class Setup:
    """All but the seed."""

    training_step: TrainingStep
    source: Cases | Generated
    """The batches of the (first) seed; `source.for_seed` those of another."""
    weights_of: Callable[[Any, int], Weights]
    """(source, seed) -> the weights before the first step."""
    inner: optax.GradientTransformation
    """The optimizer without `skip_nonfinite`."""
    steps: int
    max_norm: float | None
    max_skipped: int | None
    every: Intervals
    folder: Path | None
    resume: bool
    metadata: dict[str, Any] | None
    config: Mapping[str, Any]
    """What a resumed run must have in common: optimizer, learning_rate, max_norm and cures, as given."""
    log: Callable[[dict[str, Any]], object] | None
    progress: bool
    tensorboard: bool

    def opened(self, folder: Path | None, source: Any, weights: Weights, seed: int) -> RunFolder:
        """The folder of one run of this kind, checked against what is there."""
        return open_run(
            folder,
            self.resume,
            self.training_step,
            source,
            weights,
            self.steps,
            self.metadata,
            seed=seed,
            **self.config,
        )
