"""The loop of `fit`: steps on the device, metrics fetched now and then, hooks, checkpoints."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jrnn.training.hooks import Hook
from jrnn.training.interrupts import Interrupts
from jrnn.training.nonfinite import NonFiniteError
from jrnn.training.storage.folders import StorageError
from jrnn.training.telemetry.metrics import Row
from jrnn.training.weights import Carry


class Intervals(NamedTuple):
    """How often something happens, in steps."""

    log: int
    checkpoint: int
    flow: int | None
    """Where the gradient goes is measured; None: never."""


class Checkpoints(Protocol):
    """Where a loop leaves its state: the folder of a run, or those of an ensemble; `out` is None for nowhere."""

    out: Path | None

    def checkpoint(self, step: int, carry: Carry) -> None: ...


class TrainingLoop:
    """A run from its first (or restored) carry to its end."""

    def __init__(
        self,
        step: Callable[..., Any],
        source: Any,
        folder: Checkpoints,
        carry: Carry,
        done: int,
        history: list[Row],
        every: Intervals,
        max_skipped: int | None,
    ):
        self.step, self.source, self.folder, self.every, self.max_skipped = step, source, folder, every, max_skipped
        self.carry, self.done, self.history = carry, done, history
        self.waiting: list[dict[str, jax.Array]] = []
        """Metrics that are still on the device, of the last steps done."""

    def until(self, steps: int, hooks: Sequence[Hook], interrupts: Interrupts) -> None:
        """Does the steps that are left of `steps`, or those up to an interrupt; leaves a checkpoint."""
        while self.done < steps and not interrupts.requested:
            self.advance()
            checkpoint = self.folder.out is not None and self.done % self.every.checkpoint == 0 and self.done < steps
            if checkpoint or self.done % self.every.log == 0:
                self.flush(hooks)
            if checkpoint:
                self.folder.checkpoint(self.done, self.carry)
        self.flush(hooks)
        self.folder.checkpoint(self.done, self.carry)

    def advance(self) -> None:
        """One step."""
        measured = self.every.flow is not None and self.done % self.every.flow == 0
        arguments = self.source.arguments(self.done)
        self.carry, metrics = self.step(self.carry, np.int32(self.done), arguments, measured)
        self.waiting.append(metrics)
        self.done += 1

    def flush(self, hooks: Sequence[Hook]) -> None:
        """Fetches the metrics and hands them to the hooks; an error of a user's own leaves a checkpoint."""
        rows = before_stop(fetched(self.waiting, self.done), self.max_skipped)
        self.waiting.clear()
        self.history.extend(rows)
        try:
            for hook in hooks if rows else ():
                hook(rows, self.carry)
        except (StorageError, NonFiniteError):
            raise
        except Exception:
            self.folder.checkpoint(self.done, self.carry)
            raise


def fetched(waiting: list[dict[str, jax.Array]], done: int) -> list[Row]:
    """The metrics of the last steps as plain numbers; this is where the host waits for the device."""
    rows = []
    for step, metrics in enumerate(jax.device_get(waiting), done - len(waiting)):
        plain = {name: value.item() for name, value in metrics.items() if np.ndim(value) == 0 and name != "step"}
        rows.append({"step": step, **plain})
    return rows


def before_stop(rows: list[Row], max_skipped: int | None) -> list[Row]:
    """The rows without "in_a_row", up to the one at which the run stopped for too many skipped updates in a row: later
    steps did nothing."""
    in_a_row = [row.pop("in_a_row") for row in rows]
    reached = (i for i, count in enumerate(in_a_row, 1) if max_skipped is not None and count >= max_skipped)
    return rows[: next(reached, len(rows))]
