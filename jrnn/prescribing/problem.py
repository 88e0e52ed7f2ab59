"""What is raced: a cell with its objective, or a user's own training problem around a cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn.cells import draws_noise, is_causal, jit_by_cell
from jrnn.cures import skip_nonfinite
from jrnn.cures.base import Cure, Training, apply_to_training
from jrnn.numerics import norm
from jrnn.training.batches import time_major
from jrnn.training.objectives import loss_and_metrics
from jrnn.training.optimizing import clipped_optimizer, update_weights
from jrnn.training.training_step import StepKeys, TrainingStep
from jrnn.training.unroll_options import options_of
from jrnn.types import Array, Params, ravel_state
from jrnn.unrolling import unroll, value_and_grads

MEASURED = 8
"""Held-out sequences along which it is measured what arrives at the lag."""


@dataclass(frozen=True)
class Plan:
    """All that a compiled program of the race depends on beside the cell. Hashable."""

    objective: Any
    optimizer: Callable[[Any], optax.GradientTransformation]
    """Of the learning rate, which is traced: arms that differ in it share one program."""
    max_norm: float | None
    cures: tuple[Cure, ...] = ()
    """Those that act on the training."""
    unroll_options: tuple[tuple[str, Any], ...] = ()
    each: bool = False
    """Whether targets have a time axis."""
    as_given: bool = False
    """Whether batches are what the loss takes: of a function of the step, or for a loss of the user's own. If not they
    are arrays of cases, to be turned."""
    build: Callable[..., Any] | None = None
    """A user's own problem: build(cell, key) -> (params, loss(params, batch, key))."""

    def chain(self, rate: Any) -> tuple[optax.GradientTransformation, tuple[Any, ...]]:
        """(skip, clip, optimizer) as `fit` chains them, and the penalties."""
        training = apply_to_training(self.cures, Training(self.optimizer(rate), max_norm=self.max_norm))
        return skip_nonfinite(clipped_optimizer(training.optimizer, training.max_norm)), training.penalties


@lru_cache(maxsize=64)
def own_loss(build: Callable[..., Any], cell: Any) -> Callable[..., Array]:
    """The loss of a user's own problem: one function for all seeds, so that they share one program."""
    return build(cell, jax.random.key(0))[1]


def update(cell: Any, plan: Plan, carry: Any, rate: Any, batch: Any, keys: StepKeys) -> tuple[Any, Array]:
    """(carry, training loss) after one update of every seed: carry and keys have seeds in front, and the batch too.

    The same numbers as `fit` with each seed alone: batches, noise and penalties are drawn from its streams.
    """
    run = updated if plan.build is None else partial(jitted_own, own_loss(plan.build, cell))
    return run(cell, plan, carry, rate, batch, keys)


@partial(jit_by_cell, static_argnums=(0, 1), donate_argnums=2)
def updated(cell: Any, plan: Plan, carry: Any, rate: Any, batch: Any, keys: StepKeys) -> tuple[Any, Array]:
    """`update` of a cell with its objective."""
    optimizer, penalties = plan.chain(rate)
    step = TrainingStep(cell, plan.objective, optimizer, dict(plan.unroll_options), penalties)

    def one(carry: Any, batch: Any, keys: StepKeys) -> tuple[Any, Array]:
        batch = batch if plan.as_given else time_major(batch, plan.each)
        done = step(carry[0], carry[1], batch, keys)
        return (done.weights, done.opt_state), done.metrics["loss"]

    return jax.vmap(one)(carry, batch, keys)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def jitted_own(
    loss: Callable[..., Array], cell: Any, plan: Plan, carry: Any, rate: Any, batch: Any, keys: StepKeys
) -> tuple[Any, Array]:
    """`update` of a user's own problem."""
    optimizer, _ = plan.chain(rate)

    def one(carry: Any, batch: Any, keys: StepKeys) -> tuple[Any, Array]:
        weights, state = carry
        value, grads = jax.value_and_grad(loss)(weights, batch, keys.noise)
        return update_weights(optimizer, grads, state, weights, value), value

    return jax.vmap(one)(carry, batch, keys)


def held_out_loss(cell: Any, plan: Plan, weights: Any, batches: Any) -> Array:
    """[seeds]: the mean loss over held-out batches (their axis comes first), without noise."""
    if plan.build is not None:
        return own_held_out(own_loss(plan.build, cell), weights, batches)
    return objective_held_out(cell, plan, weights, batches)


@partial(jit_by_cell, static_argnums=(0, 1))
def objective_held_out(cell: Any, plan: Plan, weights: Any, batches: Any) -> Array:
    """`held_out_loss` of a cell with its objective."""

    def one(weights: Any, batch: Any) -> Array:
        unrolled = unroll(cell, weights["cell"], batch["x"], **options_of(batch, dict(plan.unroll_options), None))
        return loss_and_metrics(plan.objective, weights["loss"], unrolled, batch)[0]

    return mean_over(batches, lambda batch: jax.vmap(one, in_axes=(0, None))(weights, batch))


@partial(jax.jit, static_argnums=0)
def own_held_out(loss: Callable[..., Array], weights: Any, batches: Any) -> Array:
    """`held_out_loss` of a user's own problem; its key is None, so that it draws nothing."""
    return mean_over(batches, lambda batch: jax.vmap(lambda params: loss(params, batch, None))(weights))


def mean_over(batches: Any, losses_of: Callable[[Any], Array]) -> Array:
    """The mean of `losses_of` each batch."""
    if len(jax.tree.leaves(batches)[0]) == 1:
        return losses_of(jax.tree.map(lambda a: a[0], batches))
    return jnp.mean(jax.lax.map(losses_of, batches), axis=0)


def shares(cell: Any, plan: Plan, weights: Any, batch: Any, lag: int) -> Array:
    """[seeds]: what arrives `lag` steps back of a random pull on the last output; NaN where that is not known.

    ||dh_t/dh_{t-lag}^T g|| / ||g||, g = (dy_t/dh_t)^T v, v normal, at the last valid step t: the median over the
    sequences that are long enough. The readout is left out, so that it tells of the network alone.
    """
    seeds = len(jax.tree.leaves(weights)[0])
    if plan.build is not None or not is_causal(cell) or dict(plan.unroll_options).get("reverse"):
        return jnp.full(seeds, jnp.nan)
    batch = {name: batch[name] for name in ("x", "lengths", "resets", "mask") if name in batch}
    return pulled_back(cell, weights["cell"], longest_of(batch), lag)


def longest_of(batch: Any) -> Any:
    """The few longest sequences of a time-major batch, in their order."""
    cases = np.shape(batch["x"])[1]
    rows = np.arange(cases)
    if "lengths" in batch:
        rows = np.argsort(-np.asarray(batch["lengths"]), kind="stable")
    rows = np.sort(rows[:MEASURED])
    return {name: array[rows] if name == "lengths" else array[:, rows] for name, array in batch.items()}


@partial(jit_by_cell, static_argnums=0)
def pulled_back(cell: Any, params: Params, batch: Any, lag: Any) -> Array:
    """`shares` of a causal cell."""
    xs = batch["x"]
    steps, cases = xs.shape[:2]
    lengths = batch.get("lengths", jnp.full(cases, steps))
    options = {name: batch[name] for name in ("lengths", "resets", "mask") if name in batch}

    def pull(unrolled: Any) -> Array:
        y = unrolled.last
        return jnp.sum(jax.random.normal(jax.random.key(0), y.shape, y.dtype) * y)

    def one(params: Params) -> Array:
        deltas = value_and_grads(cell, params, xs, pull, **options)[1].states
        sizes = norm(ravel_state(deltas, 2))
        at = jnp.arange(cases)
        last, before = sizes[lengths, at], sizes[jnp.maximum(lengths - 1, 0), at]
        sent = jnp.where(last > 0, last, before)  # an output that reads the state before pulls there
        arrived = sizes[jnp.maximum(lengths - lag, 0), at]
        known = (lengths > lag) & (sent > 0)
        return jnp.nanmedian(jnp.where(known, arrived / jnp.where(known, sent, 1), jnp.nan))

    return jax.vmap(one)(params)


def needs_noise(cell: Any, plan: Plan) -> bool:
    """Whether an update draws random numbers beside its batch."""
    return plan.build is not None or draws_noise(cell)
