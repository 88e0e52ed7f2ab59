"""What happens between steps: a hook gets the rows of the steps that were done, and may end the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn.training.fit_step import step_keys
from jrnn.training.nonfinite import NonFiniteError, look_again
from jrnn.training.telemetry.metrics import Row
from jrnn.training.training_step import TrainingStep
from jrnn.training.weights import Carry
from jrnn.types import InputError

Hook = Callable[[list[Row], Carry], None]
"""hook(rows, carry): the metrics of the steps since the last call, plain numbers, one row a step in their order, and
the weights and optimizer state after them. It is called whenever metrics are fetched from the device. What it raises
ends the run."""


def check_log(log: Any) -> None:
    """InputError unless it can be called."""
    if log is not None and not callable(log):
        raise InputError("log", f"a {type(log).__name__}", "a function of a dict, the metrics of one step")


def row_hook(log: Callable[[dict[str, Any]], object]) -> Hook:
    """A user's `log`, called for each row with a dict of its own."""

    def hook(rows: list[Row], carry: Carry) -> None:
        for row in rows:
            log(dict(row))

    return hook


@dataclass(frozen=True)
class SkipLimit:
    """The hook that ends a run after `max_skipped` skipped updates in a row."""

    training_step: TrainingStep
    source: Any
    inner: optax.GradientTransformation
    """The optimizer without `skip_nonfinite`."""
    seed: int
    max_skipped: int

    def __call__(self, rows: list[Row], carry: Carry) -> None:
        if int(carry[1].consecutive) >= self.max_skipped:
            raise self.nonfinite_error(int(rows[-1]["step"]), carry)

    def nonfinite_error(self, step: int, carry: Carry) -> NonFiniteError:
        """The error, with the first non-finite number of the step's batch."""
        weights, opt_state = carry
        batch = jax.tree.map(jnp.asarray, self.source.batch(self.source.arguments(step)))
        keys = step_keys(self.training_step, self.seed, np.int32(step))
        unwrapped = replace(self.training_step, optimizer=self.inner)
        report = look_again(unwrapped, weights, batch, keys, opt_state.inner_state)
        return NonFiniteError(step, self.max_skipped, report)
