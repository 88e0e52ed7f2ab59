"""`fit`: the training loop, one jitted step at a time, that can be killed and continued without a bit of difference."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import optax

from jrnn.cells import check_cell
from jrnn.cures import skip_nonfinite
from jrnn.cures.base import Cure, Training, apply_to_cell, apply_to_training, check_cures
from jrnn.cures.clipping import check_max_norm
from jrnn.training.arguments import check_objective
from jrnn.training.batches import source_of
from jrnn.training.ensembles import fit_ensemble
from jrnn.training.fit_arguments import check_counts, check_seed, folder_for, interruption, seeds_of
from jrnn.training.fit_step import make_step
from jrnn.training.fitted import Fitted, columns
from jrnn.training.hooks import Hook, SkipLimit, check_log, row_hook
from jrnn.training.interrupts import Interrupts
from jrnn.training.loop import Intervals, TrainingLoop
from jrnn.training.optimizing import LEARNING_RATE, chosen_optimizer, clipped_optimizer
from jrnn.training.penalties import Penalty, check_penalties
from jrnn.training.setup import Setup
from jrnn.training.storage.folders import writable
from jrnn.training.storage.locking import locked
from jrnn.training.telemetry.metric_log import MetricLog
from jrnn.training.telemetry.tangent_probe import EVERY
from jrnn.training.training_step import TrainingStep
from jrnn.training.unroll_options import check_options
from jrnn.training.weights import Carry, Weights, cured_weights, first_carry, initial_weights
from jrnn.types import InputError, Params


def fit(
    cell: Any,
    objective: Any,
    data: Mapping[str, Any] | Callable[[int], Mapping[str, Any]],
    *,
    steps: int,
    params: Params = None,
    loss_params: Params = None,
    optimizer: optax.GradientTransformation | None = None,
    max_norm: float | None = 1.0,
    learning_rate: Any = LEARNING_RATE,
    batch_size: int = 32,
    seed: int | Sequence[int] = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: int = 100,
    log_every: int = 10,
    log: Callable[[dict[str, Any]], object] | None = None,
    max_skipped: int | None = 10,
    flow_every: int | None = EVERY,
    progress: bool = False,
    tensorboard: bool = False,
    unroll_options: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    penalties: Sequence[Penalty] = (),
    cures: Sequence[Cure] = (),
) -> Fitted:
    """Trains a cell and a head: gradient, norm, clip, optimizer step, in that order.

    theta <- theta + optimizer(clip(g)), g = d(L + penalties)/dtheta by backpropagation through time, and nothing at
    all if a number in it is NaN or Inf (`skip_nonfinite`). Everything is a function of (arguments, step): a run that
    was killed, or stopped with Ctrl-C, and is resumed ends with the bits of one that was never interrupted. Metrics
    stay on the device between logs.

    Ctrl-C ends the run after the current step, with a checkpoint; a second one raises KeyboardInterrupt at once.

    Args:
      cell: a cell, stack or `Bidirectional`.
      objective: an `Objective`, or any `loss(loss_params, unrolled, batch) -> scalar | (scalar, metrics)`.
      data: {"x": [cases, T, F], "y": ..., "lengths": [cases]} (and "resets", "mask" [cases, T]); y is [cases],
        [cases, K], or with a time axis second for objectives with `_each`. Or a function data(step) -> batch, of the
        step alone. A batch is time-major: {"x": [T, B, F], "y": ..., "lengths": [B], "resets", "mask": [T, B]}.
      steps: the number of updates in all; a resumed run does what is missing of them, and may not be past them.
      params, loss_params: to start from (they are copied); by default drawn from the seed.
      optimizer: an Optax transformation; by default Adam with `learning_rate`. It gets the clipped gradient, and the
        loss as the extra argument `value`.
      max_norm: the largest global gradient norm, in units of the gradient; None does not clip.
      learning_rate: Adam's, a number or an Optax schedule; not beside an `optimizer`, which has its own.
      batch_size: B, at most the number of cases; each epoch is a permutation of the cases. Not used for functions.
      seed: of the parameters, the batches, the noise and what penalties draw. Several, [0, 1, 2], are an ensemble of S
        members trained in one program: params, loss_params and opt_state gain a leading axis [S], the history too,
        `fitted.member(i)` is one of them. Each is the run of its seed alone, up to rounding; with a function as `data`
        all see the same batches, and parameters that are given are those of each. With `out` each has a folder of its
        own, out/seed-<seed>, that `load` and `fit(seed=..., resume=True)` take as any run's; the ensemble is resumed
        with the same seeds, with the same bits. A member of too many skipped updates (`max_skipped`) stands still with
        a warning, and its history is NaN from there; `log` gets the rows of each with its "seed"; the progress bar
        shows the first.
      out: a folder for metrics.jsonl (non-finite numbers as "nan", "inf", "-inf"), TensorBoard files and
        checkpoints/<step>; None writes nothing.
      resume: continue the newest checkpoint in `out`; starts anew, and says so, if there is none.
      checkpoint_every: steps between checkpoints; the last step always has one. Three are kept.
      log_every: steps between fetching metrics from the device.
      log: a function of a dict, for a service such as Weights & Biases: called once for each step, in their order, with
        the row that metrics.jsonl gets ("step" and plain numbers; NaN and Inf as floats), whenever metrics are fetched.
        A resumed run tells it nothing of the steps before its checkpoint; after a kill, the steps since the newest
        checkpoint are done again, and told again, with the same numbers. What it raises ends the run, after a
        checkpoint, and is raised by `fit`.
      max_skipped: stop after so many skipped updates in a row; None goes on for ever.
      flow_every: log where the gradient goes in the first step and every `flow_every`-th after it: figures of dL/dh_t
        from the same backward pass (`delta_metrics`), and the growth of random tangents along 4 sequences of the batch
        (`tangent_growth`; left out where there is none: `Bidirectional`, complex states). Such a step takes 1.2 to
        1.5 times as long at 32 sequences and 128 units, up to 3.5 times at one (benchmarks/telemetry_cost.py).
        None logs neither. A resumed run may have another.
      progress, tensorboard: show a progress bar; write event files (both need the extra `train`).
      unroll_options: more options of `unroll`: truncate, remat, reverse, ...
      metadata: a dict that JSON can hold, kept in every checkpoint and returned by `load`; "step" and "config" are
        `fit`'s own. A resumed run may have another, and by default keeps the one it had.
      penalties: terms to be added to the objective, each a `Penalty`: a function penalty(cell, params, xs, unrolled,
        deltas, key) -> scalar, with its weight inside. Their values are logged by name; "loss" stays the objective's
        own, and the optimizer's `value` is the sum.
      cures: what transforms the problem before the first step, such as [jrnn.cures.Chrono(200)], one after the other:
        the cell, the initial parameters (measured on the first batch), then clip, optimizer and penalties. Parameters
        that are given are those of the cell after the cures.
    Returns:
      a `Fitted`.
    Raises:
      InputError: an argument does not fit; `out` cannot be written, is trained in by another process (whose process id
        is told), holds a run and resume is False, or holds a run with another cell, objective, optimizer, seed, batch
        size, data or penalties (which is named), or with more steps.
      StorageError: the disk is full, or the like; names the newest whole checkpoint, from which resume=True goes on.
      NonFiniteError: the last `max_skipped` updates were all skipped; says where the first NaN or Inf came from.
    """
    check_cell(cell)
    cures = check_cures(cures)
    cell = apply_to_cell(cures, cell)
    check_objective(objective)
    counts = {"batch_size": batch_size, "checkpoint_every": checkpoint_every, "log_every": log_every}
    seeds = seeds_of(seed)
    first = int(seeds[0] if seeds else check_seed(seed))
    check_counts(steps, **counts, max_skipped=max_skipped, flow_every=flow_every)
    folder = folder_for(out, resume=resume, tensorboard=tensorboard)
    unclipped = chosen_optimizer(optimizer, learning_rate)
    check_options(unroll_options)
    check_log(log)
    penalties = check_penalties(penalties)
    source = source_of(data, objective, batch_size, first)
    norm = None if max_norm is None else check_max_norm(max_norm)
    training = apply_to_training(cures, Training(unclipped, norm, penalties))
    inner = clipped_optimizer(training.optimizer, training.max_norm)
    penalties = check_penalties(training.penalties)
    training_step = TrainingStep(cell, objective, skip_nonfinite(inner), dict(unroll_options or {}), penalties)
    batch: Any = jax.eval_shape(source.batch, source.arguments(0))

    def weights_of(source: Any, seed: int) -> Weights:
        weights = initial_weights(cell, objective, params, loss_params, batch, seed)
        if any(cure.measures for cure in cures):
            weights = cured_weights(cures, cell, weights, source.batch(source.arguments(0)), seed)
        return weights

    every = Intervals(log_every, checkpoint_every, flow_every)
    config = {"optimizer": optimizer, "learning_rate": learning_rate, "max_norm": training.max_norm, "cures": cures}
    setup = Setup(
        training_step, source, weights_of, inner, int(steps), training.max_norm, max_skipped, every, folder, resume,
        metadata, config, log, progress, tensorboard,
    )  # fmt: skip
    return fit_alone(setup, first) if seeds is None else fit_ensemble(setup, seeds)


def fit_alone(setup: Setup, seed: int) -> Fitted:
    """A single run."""
    training_step, source, folder, steps = setup.training_step, setup.source, setup.folder, setup.steps
    weights = setup.weights_of(source, seed)
    carry = first_carry(weights, training_step.optimizer)
    with nullcontext() if folder is None else locked(writable("out", folder), "training", "out"):
        run = setup.opened(folder, source, weights, seed)
        carry, done, history = run.restore(carry)
        check_going(carry, setup.max_skipped, folder, done < steps)
        step = make_step(training_step, source, seed, setup.max_norm, setup.max_skipped)
        loop = TrainingLoop(step, source, run, carry, done, history, setup.every, setup.max_skipped)
        shown = {"progress": setup.progress, "tensorboard": setup.tensorboard, "history": history}
        with Interrupts() as interrupts, MetricLog(run.out, done, steps, **shown) as telemetry:
            hooks: list[Hook] = [telemetry] if setup.log is None else [telemetry, row_hook(setup.log)]
            if setup.max_skipped is not None:
                hooks.append(SkipLimit(training_step, source, setup.inner, seed, setup.max_skipped))
            loop.until(steps, hooks, interrupts)
    if loop.done < steps:
        print(interruption(loop.done, steps, folder), file=sys.stderr)
    weights, opt_state = loop.carry
    cell, objective, interrupted = training_step.cell, training_step.objective, loop.done < steps
    table = columns(loop.history)
    return Fitted(cell, weights["cell"], weights["loss"], opt_state, loop.done, table, objective, interrupted, folder)


def check_going(carry: Carry, max_skipped: int | None, folder: Path | None, more: bool) -> None:
    """InputError for a run that was left after so many skipped updates in a row that it would stand still."""
    skipped = int(carry[1].consecutive)
    if more and max_skipped is not None and skipped >= max_skipped:
        needed = (
            f"more than {skipped}, the updates in a row that the run in {folder} had skipped when it ended; or None"
        )
        raise InputError("max_skipped", max_skipped, needed)
