"""The folder of a run: is it this run's, where did it stop, and its checkpoints."""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cures import global_norm
from jrnn.extras import require
from jrnn.training.batches import Cases
from jrnn.training.optimizing import update_weights
from jrnn.training.storage import checkpoints
from jrnn.training.storage.descriptions import described, difference, spelled, with_contents
from jrnn.training.storage.folders import storing
from jrnn.training.storage.saving import check_metadata
from jrnn.training.storage.trees import like_template
from jrnn.training.telemetry.metrics import METRICS, Row, cut_back
from jrnn.training.training_step import TrainingStep
from jrnn.training.weights import Carry, Weights, owned
from jrnn.types import InputError
from jrnn.unrolling.checks import is_count

KEEP = 3


class RunFolder:
    """A run in a folder, or in none."""

    def __init__(
        self,
        out: Path | None,
        config: dict[str, Any],
        about: dict[str, Any],
        resume: bool,
        steps: int,
        metadata: dict[str, Any] | None = None,
    ):
        self.out, self.config, self.about, self.metadata = out, config, about, metadata
        self.stored: checkpoints.Stored | None = None
        self.written, self.done = -1, 0
        if out is None:
            return
        require("orbax.checkpoint")
        self.folder = out / "checkpoints"
        if checkpoints.steps_in(self.folder) and not resume:
            needed = "resume=True (--resume) to continue it, or another folder"
            raise InputError("out", f"{out}, which holds the checkpoints of a run", needed)
        self.stored = checkpoints.newest(self.folder, "out")
        if self.stored is not None:
            with checkpoints.understood(self.stored.path, "out"):
                self.check(self.stored, steps)
            self.done = self.stored.about["metadata"]["step"]
        elif resume:
            print(f"nothing to resume in {out}: starting anew", file=sys.stderr)

    def check(self, stored: checkpoints.Stored, steps: int) -> None:
        """InputError for the first thing in which the stored run differs from this one, or if it went further."""
        metadata = stored.about.get("metadata", {})
        whole = is_count(metadata.get("step")) and isinstance(metadata.get("config"), dict)
        if not whole or not {"params", "loss_params", "opt_state"} <= stored.trees.keys():
            raise InputError(
                "out", f"{stored.path}, which is no checkpoint of `fit`", "a folder that `fit(out=...)` wrote"
            )
        theirs = {"cell": stored.about["cell"], "objective": stored.about["objective"], **metadata["config"]}
        ours = {"cell": self.about["cell"], "objective": self.about["objective"], **self.config}
        for name in dict.fromkeys([*ours, *theirs]):
            value = ours.get(name)
            if same(value, theirs.get(name)):
                continue
            if name == "data":
                given = f"other data than the run in {self.out} was trained on"
                raise InputError(name, given, "the same data, to resume; or another `out`")
            parts = difference(value, theirs.get(name)) if name in self.about else (value, theirs.get(name))
            given, needed = (part if isinstance(part, str) else spelled(part) for part in parts)
            raise InputError(name, given, f"{needed}, as in {stored.path}, to resume; or another `out`")
        done = metadata["step"]
        if steps < done:
            raise InputError("steps", steps, f"at least {done}, what the run in {self.out} has done")
        if self.metadata is None:
            self.metadata = {name: value for name, value in metadata.items() if name not in ("step", "config")}

    def restore(self, carry: Carry) -> tuple[Carry, int, list[Row]]:
        """(carry, step, earlier metrics): those of the newest checkpoint, or (carry, 0, [])."""
        step = 0
        if self.stored is not None:
            where = self.stored.path
            names = (("params", carry[0]["cell"]), ("loss_params", carry[0]["loss"]), ("opt_state", carry[1]))
            with checkpoints.understood(where, "out"):
                params, loss_params, opt_state = (
                    like_template(self.stored.trees[name], like, "optimizer" if name == "opt_state" else name, where)
                    for name, like in names
                )
            carry = owned(({"cell": params, "loss": loss_params}, opt_state))
            step = self.written = self.stored.about["metadata"]["step"]
            self.stored = None
        if self.out is None:
            return carry, step, []
        with storing(self.out):
            checkpoints.set_aside(self.folder, step, self.done)
            checkpoints.tidy(self.folder, KEEP)
            return carry, step, cut_back(self.out / METRICS, step)

    def checkpoint(self, step: int, carry: Carry) -> None:
        """Writes the state after `step` steps, unless it is there already."""
        if self.out is None or step == self.written:
            return
        weights, opt_state = carry
        trees = {"params": weights["cell"], "loss_params": weights["loss"], "opt_state": opt_state}
        metadata = {**(self.metadata or {}), "step": step, "config": self.config}
        with storing(self.out):
            checkpoints.write(self.folder / str(step), trees, {**self.about, "metadata": metadata})
            self.written = step
            checkpoints.tidy(self.folder, KEEP)


def open_run(
    out: Path | None,
    resume: bool,
    training_step: TrainingStep,
    source: Any,
    weights: Weights,
    steps: int,
    metadata: dict[str, Any] | None,
    *,
    seed: int,
    optimizer: Any,
    max_norm: float | None,
    learning_rate: Any,
    cures: tuple[Any, ...] = (),
) -> RunFolder:
    """The run in the folder `out`, checked against what is there; the optimizer as `fit` was given it."""
    metadata = None if metadata is None else check_metadata(metadata)
    if out is None:
        return RunFolder(None, {}, {}, resume, steps)
    rate = None if optimizer is not None or callable(learning_rate) else float(learning_rate)
    config = {
        "seed": seed,
        "data": described(source.describe()),
        "batch_size": source.batch_size if isinstance(source, Cases) else None,
        "max_norm": described(max_norm),
        "learning_rate": rate,
        "optimizer": "adam" if rate is not None else optimizer_fingerprint(training_step.optimizer, weights),
        "unroll_options": described(dict(training_step.unroll_options)),
    }
    if training_step.penalties:  # not there in the checkpoints of earlier versions
        config["penalties"] = {"tuple": [with_contents(penalty) for penalty in training_step.penalties]}
    if cures:
        config["cures"] = " ".join(cure.option for cure in cures)
    about = {"cell": described(training_step.cell), "objective": described(training_step.objective)}
    return RunFolder(out, config, about, resume, steps, metadata)


def optimizer_fingerprint(optimizer: Any, weights: Weights) -> list[float]:
    """What tells one optimizer from another, since an Optax transformation is functions only: the norms of its first
    updates for gradients that follow a fixed pattern."""

    def pattern(weight: Any) -> Any:
        return jnp.cos(jnp.arange(weight.size, dtype=jnp.float32)).reshape(weight.shape)

    norms, state = [], optimizer.init(weights)
    still = jax.tree.map(jnp.zeros_like, weights)
    waves = jax.tree.map(pattern, weights)
    for size in (1e-2, 1e-3, 1e-2):
        grads = jax.tree.map(partial(scaled, size), waves, weights)
        moved, state = update_weights(optimizer, grads, state, still, jnp.ones(()))
        norms.append(float(global_norm(moved)))
    return norms


def scaled(size: float, wave: Any, weight: Any) -> Any:
    """size * wave, in the weight's dtype."""
    return (size * wave).astype(weight.dtype)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two settings are equal; lists of numbers (an optimizer's fingerprint) up to what another machine may
    round differently."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(
            math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-12) for a, b in zip(ours, theirs, strict=True)
        )
    return ours == theirs
