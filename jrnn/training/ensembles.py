"""An ensemble: the same training from several seeds in one program, by `vmap` of the training step.

Each member is the run that `fit` with its seed alone would be, up to rounding (a batched product may sum in another
order), and has a folder of its own, as that run would leave it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.training.batches import Cases, two_epochs
from jrnn.training.fit_arguments import interruption
from jrnn.training.fit_step import make_ensemble_step
from jrnn.training.fitted import Fitted, member_folder, stacked_columns
from jrnn.training.hooks import Hook, SkipLimit, row_hook
from jrnn.training.interrupts import Interrupts
from jrnn.training.loop import TrainingLoop, before_stop, fetched
from jrnn.training.setup import Setup
from jrnn.training.storage import checkpoints
from jrnn.training.storage.folders import StorageError, writable
from jrnn.training.storage.locking import locked
from jrnn.training.storage.run_folder import RunFolder
from jrnn.training.telemetry.metric_log import MetricLog
from jrnn.training.telemetry.metrics import Row
from jrnn.training.weights import Carry, first_carry
from jrnn.types import Array, InputError


class Sources:
    """The batches of every member: of cases an order of its own for each, of a function the same for all."""

    def __init__(self, source: Any, seeds: Sequence[int]):
        self.members = [source.for_seed(seed) for seed in seeds]
        self.own_order = isinstance(source, Cases)
        self.axes = (None, 0, None) if self.own_order else None
        """Where the members are in `arguments`, for `vmap`."""
        self.orders: tuple[int, Array] | None = None

    def arguments(self, step: int) -> Any:
        """As a source gives them, the orders of the cases [S, 2 cases]."""
        first = self.members[0]
        if not self.own_order:
            return first.arguments(step)
        epoch, offset = divmod(step * first.batch_size, first.cases)
        if self.orders is None or self.orders[0] != epoch:
            self.orders = epoch, jnp.stack([two_epochs(one.key, epoch, one.cases) for one in self.members])
        return first.device, self.orders[1], np.int32(offset)

    def batch(self, arguments: Any) -> dict[str, Array]:
        """The batch of one member; traceable."""
        return self.members[0].batch(arguments)


class Folders:
    """The members' folders as one."""

    def __init__(self, runs: Sequence[RunFolder], out: Path | None, seeds: Sequence[int], interval: int):
        self.runs, self.out = runs, out
        if out is not None:
            self.agree(seeds, interval)

    def agree(self, seeds: Sequence[int], interval: int) -> None:
        """All go on from the step of the one that is least far: a process may be killed between two checkpoints. Seeds
        without any, where the others have done more than the `interval` of the first, are no such case."""
        done = [run.done for run in self.runs]
        new = [seed for seed, run in zip(seeds, self.runs, strict=True) if run.stored is None]
        if new and max(done) > interval:
            given = f"{new}, new beside a run in {self.out} that has done {max(done)} steps"
            raise InputError("seed", given, "the seeds of that run, to resume it; train new ones in another `out`")
        for run, own in zip(self.runs, done, strict=True):
            if own == min(done):
                continue
            path = run.folder / str(min(done))
            try:
                run.stored = checkpoints.read(path) if min(done) else None
            except checkpoints.Damaged as error:
                given = f"members that have done {sorted(set(done))} steps, and no whole checkpoint {path}"
                raise InputError("out", given, "members that can go on from the same step; or another `out`") from error

    def restore(self, carries: Sequence[Carry]) -> tuple[Carry, int, list[list[Row]]]:
        """(the carry of all, the step, the earlier metrics of each)."""
        restored = [run.restore(carry) for run, carry in zip(self.runs, carries, strict=True)]
        carry = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[one[0] for one in restored])
        return carry, restored[0][1], [one[2] for one in restored]

    def checkpoint(self, step: int, carry: Carry) -> None:
        """Writes the state of every member."""
        for index, run in enumerate(self.runs if self.out is not None else ()):
            run.checkpoint(step, member_of(carry, index))


def member_of(carry: Any, index: int) -> Any:
    """One member's leaves."""
    return jax.tree.map(lambda leaf: leaf[index], carry)


class EnsembleLoop(TrainingLoop):
    """The loop over an ensemble: a history and hooks for each member. One with too many skipped updates in a row stands
    still from there; the others go on, and where none is left the error of the first is raised."""

    histories: list[list[Row]]
    hooks: list[list[Hook]]
    limits: list[SkipLimit]
    stopped: dict[int, int]
    """Members that stand still, and their last step."""

    def flush(self, hooks: Sequence[Hook]) -> None:
        """Fetches the metrics and hands each member's to its hooks; `hooks` get those of the first member."""
        waiting = jax.device_get(self.waiting)
        self.waiting.clear()
        try:
            for index, history in enumerate(self.histories):
                if index in self.stopped or not waiting:
                    continue
                rows = fetched([member_of(metrics, index) for metrics in waiting], self.done)
                most = self.max_skipped
                stops = most is not None and any(row["in_a_row"] >= most for row in rows)
                rows = before_stop(rows, most)
                history.extend(rows)
                if stops:
                    self.stopped[index] = int(rows[-1]["step"])
                for hook in (*self.hooks[index], *(hooks if index == 0 else ())):
                    hook(rows, self.carry)
        except StorageError:
            raise
        except Exception:
            self.folder.checkpoint(self.done, self.carry)
            raise
        if len(self.stopped) == len(self.histories):
            raise self.limits[0].nonfinite_error(self.stopped[0], member_of(self.carry, 0))


def fit_ensemble(setup: Setup, seeds: tuple[int, ...]) -> Fitted:
    """`fit` for several seeds at once, as its docstring says."""
    step, root = setup.training_step, setup.folder
    sources = Sources(setup.source, seeds)
    folders = [None if root is None else writable("out", member_folder(root, seed)) for seed in seeds]
    with ExitStack() as held:
        for folder in folders:
            held.enter_context(nullcontext() if folder is None else locked(folder, "training", "out"))
        carries, runs = [], []
        for folder, source, seed in zip(folders, sources.members, seeds, strict=True):
            weights = setup.weights_of(source, seed)
            carries.append(first_carry(weights, step.optimizer))
            runs.append(setup.opened(folder, source, weights, seed))
        together = Folders(runs, root, seeds, setup.every.checkpoint)
        carry, done, histories = together.restore(carries)
        program = make_ensemble_step(step, sources, seeds, setup.max_norm, setup.max_skipped)
        loop = EnsembleLoop(program, sources, together, carry, done, [], setup.every, setup.max_skipped)
        loop.histories, loop.stopped = histories, standing(carry, histories, setup.max_skipped)
        limit = partial(SkipLimit, step, inner=setup.inner, max_skipped=setup.max_skipped or 0)
        loop.limits = [limit(source=source, seed=seed) for source, seed in zip(sources.members, seeds, strict=True)]
        loop.hooks = []
        for run, seed in zip(runs, seeds, strict=True):
            shown = MetricLog(run.out, done, setup.steps, progress=False, tensorboard=setup.tensorboard)
            own: list[Hook] = [held.enter_context(shown)]
            if setup.log is not None:
                own.append(row_hook(partial(with_seed, setup.log, seed)))
            loop.hooks.append(own)
        bar = MetricLog(None, done, setup.steps, progress=setup.progress, tensorboard=False, history=histories[0])
        with Interrupts() as interrupts, bar:
            loop.until(setup.steps, [bar], interrupts)
    for index, last in loop.stopped.items():
        words = (
            f"seed {seeds[index]} stands still from step {last} on, after {setup.max_skipped} skipped updates in a row"
        )
        warnings.warn(words, UserWarning, stacklevel=3)
    if loop.done < setup.steps:
        print(interruption(loop.done, setup.steps, root, len(seeds)), file=sys.stderr)
    weights, opt_state = loop.carry
    table = stacked_columns(loop.histories, loop.done)
    return Fitted(
        step.cell, weights["cell"], weights["loss"], opt_state, loop.done, table, step.objective,
        loop.done < setup.steps, root, seeds,
    )  # fmt: skip


def standing(carry: Carry, histories: Sequence[list[Row]], max_skipped: int | None) -> dict[int, int]:
    """The members that stood still when the run was left, and their last step."""
    if max_skipped is None:
        return {}
    still = np.flatnonzero(np.asarray(carry[1].consecutive) >= max_skipped).tolist()
    return {i: int(histories[i][-1]["step"]) if histories[i] else 0 for i in still}


def with_seed(log: Any, seed: int, row: dict[str, Any]) -> None:
    """Tells a user's `log` whose row it is."""
    log({"seed": seed, **row})
