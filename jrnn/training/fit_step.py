"""The jitted step of `fit`: its batch and random numbers are functions of the index, its carry is donated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import draws_noise
from jrnn.cures import SkipState
from jrnn.cures.clipping import clip_states
from jrnn.training.random_streams import RandomStream, stream_key
from jrnn.training.training_step import StepKeys, TrainingStep
from jrnn.training.weights import Carry
from jrnn.types import Array


def step_keys(training_step: TrainingStep, seed: int | Array, step: Any) -> StepKeys:
    """The keys of a step that does not measure where the gradient goes."""
    noise = stream_key(seed, RandomStream.NOISE, step) if draws_noise(training_step.cell) else None
    penalties = stream_key(seed, RandomStream.PENALTIES, step) if training_step.penalties else None
    return StepKeys(noise, None, penalties)


def make_step(
    training_step: TrainingStep, source: Any, seed: int, max_norm: float | None, max_skipped: int | None
) -> Callable[[Carry, Any, Any, bool], tuple[Carry, dict[str, Array]]]:
    """step(carry, index, arguments, measured) -> (carry, metrics); if `measured`, also of where the gradient goes.
    After `max_skipped` skipped updates in a row it changes nothing."""
    one = partial(one_step, training_step, source, max_norm, max_skipped)

    def step(carry: Carry, index: Array, arguments: Any, measured: bool) -> tuple[Carry, dict[str, Array]]:
        return one(seed, carry, index, arguments, measured)

    return jax.jit(step, static_argnums=3, donate_argnums=0)


def make_ensemble_step(
    training_step: TrainingStep, source: Any, seeds: Sequence[int], max_norm: float | None, max_skipped: int | None
) -> Callable[[Carry, Any, Any, bool], tuple[Carry, dict[str, Array]]]:
    """`make_step` for an ensemble: every leaf of the carry and every metric has the members first."""
    one = partial(one_step, training_step, source, max_norm, max_skipped)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])

    def step(carry: Carry, index: Array, arguments: Any, measured: bool) -> tuple[Carry, dict[str, Array]]:
        def member(key: Array, carry: Carry, arguments: Any) -> tuple[Carry, dict[str, Array]]:
            return one(key, carry, index, arguments, measured)

        return jax.vmap(member, in_axes=(0, 0, source.axes))(keys, carry, arguments)

    return jax.jit(step, static_argnums=3, donate_argnums=0)


def one_step(
    training_step: TrainingStep,
    source: Any,
    max_norm: float | None,
    max_skipped: int | None,
    seed: int | Array,
    carry: Carry,
    index: Array,
    arguments: Any,
    measured: bool,
) -> tuple[Carry, dict[str, Array]]:
    """As `make_step` says; traceable."""
    keys = step_keys(training_step, seed, index)
    if measured:
        keys = keys._replace(tangents=stream_key(seed, RandomStream.TANGENTS, index))
    done = training_step(*carry, source.batch(arguments), keys)
    after, state = (done.weights, done.opt_state), done.opt_state
    if max_skipped is not None:
        going = carry[1].consecutive < max_skipped
        after = jax.tree.map(lambda new, old: jnp.where(going, new, old), after, carry)
    metrics = done.metrics | clip_metrics(done.metrics["grad_norm"], state, max_norm)
    return after, {**metrics, "in_a_row": state.consecutive}


def clip_metrics(norm: Array, state: SkipState, max_norm: float | None) -> dict[str, Array]:
    """clip_factor, the product of all clips', and as 0 or 1 whether the update was clipped or skipped."""
    updated, own = state.last_finite, clip_states(state.inner_state)
    passes = jnp.ones((), bool) if max_norm is None else norm < max_norm
    factor = jnp.ones_like(norm) if max_norm is None else jnp.where(passes, jnp.ones_like(norm), max_norm / norm)
    for clip in own if max_norm is None else own[1:]:  # the first is that of `max_norm`; skipping leaves old states
        factor *= jnp.where(updated, clip.factor, jnp.ones_like(clip.factor)).astype(norm.dtype)
        passes &= clip.factor >= 1
    flags = {"clipped": updated & ~passes, "skipped": ~updated}
    return {"clip_factor": factor, **{name: flag.astype(jnp.int32) for name, flag in flags.items()}}
