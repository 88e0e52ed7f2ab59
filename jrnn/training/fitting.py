"""`fit`: the training loop, one jitted step at a time, that can be killed and continued without a bit of difference."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn.boundary import check_count, is_count
from jrnn.cells import check_cell
from jrnn.cures import skip_nonfinite
from jrnn.cures.clipping import check_max_norm
from jrnn.training import runs
from jrnn.training.arguments import check_objective
from jrnn.training.batches import source_of
from jrnn.training.fit_step import make_step, noise_key
from jrnn.training.interrupts import Interrupts
from jrnn.training.locking import locked
from jrnn.training.metrics import Row
from jrnn.training.nonfinite import NonFiniteError, first_nonfinite
from jrnn.training.optimizing import LEARNING_RATE, check_optimizer, check_rate, clipped_optimizer
from jrnn.training.probing import EVERY
from jrnn.training.storage import folder_of, writable
from jrnn.training.telemetry import Telemetry
from jrnn.training.training_step import TrainingStep
from jrnn.training.unroll_options import check_options
from jrnn.training.weights import Carry, first_carry, initial_weights
from jrnn.types import InputError, Params


class Fitted(NamedTuple):
    """What `fit` returns."""

    cell: Any
    """The cell, as given."""
    params: Params
    """Its parameters after the last step."""
    loss_params: Params
    """The objective's (head's) parameters."""
    opt_state: Any
    """The optimizer's state, a `SkipState` outermost; `jrnn.cures.clip_rate(opt_state)` is the share of clipped
    updates."""
    step: int
    """How many steps were done, over all resumed parts; the next batch would be that of this step."""
    history: dict[str, np.ndarray]
    """Metrics per step, each [step]: "step" from 0, loss, accuracy for classes, grad_norm (before clipping),
    clip_factor, clipped and skipped (0 or 1), and what else the objective returned. With `flow_every` also
    delta_early, delta_late, delta_growth and delta_reach (`delta_metrics`), and tangent_growth (`tangent_growth`),
    NaN at the steps that did not measure them. Resumed runs have the earlier ones too."""
    objective: Any
    """The objective, as given."""
    interrupted: bool
    """Whether Ctrl-C ended the run before `steps`."""
    out: Path | None
    """The run's folder."""


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
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: int = 100,
    log_every: int = 10,
    max_skipped: int | None = 10,
    flow_every: int | None = EVERY,
    progress: bool = False,
    tensorboard: bool = False,
    unroll_options: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Fitted:
    """Trains a cell and a head: gradient, norm, clip, optimizer step, in that order.

    theta <- theta + optimizer(clip(g)), g = dL/dtheta by backpropagation through time, and nothing at all if a number
    in it is NaN or Inf (`skip_nonfinite`). Everything is a function of (arguments, step): a run that was killed, or
    stopped with Ctrl-C, and is resumed ends with the bits of one that was never interrupted. Metrics stay on the
    device between logs.

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
      seed: of the parameters, the batches and the noise.
      out: a folder for metrics.jsonl (non-finite numbers as "nan", "inf", "-inf"), TensorBoard files and
        checkpoints/<step>; None writes nothing.
      resume: continue the newest checkpoint in `out`; starts anew, and says so, if there is none.
      checkpoint_every: steps between checkpoints; the last step always has one. Three are kept.
      log_every: steps between fetching metrics from the device.
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
    Returns:
      a `Fitted`.
    Raises:
      InputError: an argument does not fit; `out` cannot be written, is trained in by another process (whose process id
        is told), holds a run and resume is False, or holds a run with another cell, objective, optimizer, seed, batch
        size or data (which is named), or with more steps.
      StorageError: the disk is full, or the like; names the newest whole checkpoint, from which resume=True goes on.
      NonFiniteError: the last `max_skipped` updates were all skipped; says where the first NaN or Inf came from.
    """
    check_cell(cell)
    check_objective(objective)
    counts = {"steps": steps, "batch_size": batch_size, "checkpoint_every": checkpoint_every, "log_every": log_every}
    counts |= {
        name: value for name, value in (("max_skipped", max_skipped), ("flow_every", flow_every)) if value is not None
    }
    for name, value in counts.items():
        least = int(name != "steps")
        check_count(name, value, least, f"an integer of at least {least}")
    if steps >= 2**31:
        raise InputError("steps", steps, "fewer than 2^31")
    if not is_count(seed) or seed >= 2**63:
        raise InputError("seed", repr(seed), "an integer from 0 to 2^63 - 1")
    if out is None and (resume or tensorboard):
        raise InputError("out", "None", "a folder, for resume=True" if resume else "a folder, for tensorboard=True")
    out = None if out is None else folder_of("out", out)
    if optimizer is not None:
        check_optimizer(optimizer)
    check_rate(learning_rate, optimizer)
    check_options(unroll_options)
    source = source_of(data, objective, batch_size, seed)
    max_norm = None if max_norm is None else check_max_norm(max_norm)
    inner = clipped_optimizer(optimizer, learning_rate, max_norm)
    tx = skip_nonfinite(inner)

    arguments = source.arguments(0)
    weights = initial_weights(cell, objective, params, loss_params, jax.eval_shape(source.batch, arguments), seed)
    carry = first_carry(weights, tx)
    settings = {
        "optimizer": optimizer,
        "max_norm": max_norm,
        "learning_rate": learning_rate,
        "unroll_options": unroll_options,
        "metadata": metadata,
        "steps": int(steps),
    }
    with nullcontext() if out is None else locked(writable("out", out), "training", "out"):
        run = runs.open_run(out, resume, cell, objective, source, tx, weights, seed=int(seed), **settings)
        carry, start, history = run.restore(carry)
        training_step = TrainingStep(cell, objective, tx, dict(unroll_options or {}))
        step_fn = make_step(training_step, source, seed, max_norm, max_skipped)

        step, waiting, interrupted = start, [], False
        with (
            Interrupts() as interrupts,
            Telemetry(run.out, start, steps, progress=progress, tensorboard=tensorboard, history=history) as telemetry,
        ):

            def flush() -> None:
                rows, stop = before_stop(fetched(waiting, step), max_skipped)
                waiting.clear()
                history.extend(rows)
                telemetry.write(rows)
                if stop is not None and max_skipped is not None:
                    raise stopped(cell, objective, source, inner, carry, stop, seed, max_skipped, unroll_options)

            while step < steps and not interrupts.requested:
                measured = flow_every is not None and step % flow_every == 0
                carry, metrics = step_fn(carry, np.int32(step), source.arguments(step), measured)
                waiting.append(metrics)
                step += 1
                checkpoint = run.out is not None and step % checkpoint_every == 0 and step < steps
                if step % log_every == 0 or checkpoint:
                    flush()
                if checkpoint:
                    run.checkpoint(step, carry)
            flush()
            run.checkpoint(step, carry)
            interrupted = step < steps
    if interrupted:
        kept = "nothing saved, since out is None"
        if out is not None:
            options = f"--resume --out {shlex.quote(str(out))}"
            kept = f"saved in {out}; go on with resume=True and the same out (command line: {options})"
        print(f"interrupted after step {step} of {steps}: {kept}", file=sys.stderr)
    weights, opt_state = carry
    columns = dict.fromkeys(name for row in history for name in row)
    table = {name: np.array([row.get(name, np.nan) for row in history]) for name in columns}
    return Fitted(cell, weights["cell"], weights["loss"], opt_state, step, table, objective, interrupted, out)


def fetched(waiting: list[dict[str, jax.Array]], step: int) -> list[Row]:
    """The metrics of the steps up to `step`, as plain numbers; this is where the host waits for the device."""
    rows = []
    for i, metrics in enumerate(jax.device_get(waiting)):
        plain = {name: value.item() for name, value in metrics.items() if np.ndim(value) == 0 and name != "step"}
        rows.append({"step": step - len(waiting) + i, **plain})
    return rows


def before_stop(rows: list[Row], max_skipped: int | None) -> tuple[list[Row], int | None]:
    """(rows without "in_a_row", up to where so many updates in a row were skipped; that step, or None)."""
    in_a_row = [row.pop("in_a_row") for row in rows]
    for i, count in enumerate(in_a_row):
        if max_skipped is not None and count >= max_skipped:
            return rows[: i + 1], int(rows[i]["step"])
    return rows, None


def stopped(
    cell: Any,
    objective: Any,
    source: Any,
    optimizer: Any,
    carry: Carry,
    step: int,
    seed: int,
    skipped: int,
    options: dict[str, Any] | None,
) -> NonFiniteError:
    """The error for a run that gets no further, with the first non-finite number of its last batch."""
    batch = jax.tree.map(jnp.asarray, source.batch(source.arguments(step)))
    weights, opt_state = carry
    key = noise_key(cell, seed, np.int32(step))
    report = first_nonfinite(
        cell,
        objective,
        weights["cell"],
        weights["loss"],
        batch,
        key=key,
        unroll_options=options,
        optimizer=optimizer,
        opt_state=opt_state.inner_state,
    )
    return NonFiniteError(step, skipped, report)
