"""One training step as a pure function, jitted, its carry donated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jrnn.cells import draws_noise, output_size
from jrnn.cures import global_norm
from jrnn.training.arguments import check_weights
from jrnn.training.deltas import grads_and_delta
from jrnn.training.nonfinite import options_of
from jrnn.training.objectives import loss_and_metrics
from jrnn.training.probing import probe_metrics
from jrnn.training.random_streams import RandomStream, stream_key
from jrnn.types import Array, InputError, Params, number_of
from jrnn.unrolling import unroll

Carry = tuple[dict[str, Any], Any]  # ({"cell": params, "loss": loss_params}, optimizer state)


def initial_weights(
    cell: Any, objective: Any, params: Params, loss_params: Params, batch: Any, seed: int
) -> dict[str, Any]:
    """{"cell": ..., "loss": ...}: those given, or drawn from the seed for inputs like batch["x"] (shapes are
    enough)."""
    x = batch.get("x")
    size = None if not hasattr(x, "shape") or getattr(cell, "input_ndim", 1) == 0 else x.shape[-1]
    for name, tree in (("params", params), ("loss_params", loss_params)):
        check_weights(name, tree)
    if loss_params is not None and hasattr(objective, "check_head"):
        objective.check_head(loss_params)
    if params is None:
        params = cell.init(stream_key(seed, RandomStream.PARAMS), size)
    if loss_params is None and hasattr(objective, "init"):
        loss_params = objective.init(stream_key(seed, RandomStream.HEAD), output_size(cell, size, params))
    return {"cell": params, "loss": loss_params}


def check_optimizer(optimizer: Any) -> None:
    """InputError unless it is an Optax transformation."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise InputError("optimizer", f"{optimizer!r:.60}", "an Optax transformation (with `init` and `update`)")


def check_rate(rate: Any) -> None:
    """InputError unless it is a schedule or a finite number above 0."""
    if not callable(rate) and not 0 < number_of(rate) < math.inf:
        raise InputError("learning_rate", f"{rate!r:.80}", "a finite number above 0, or an Optax schedule")


def fresh(weights: dict[str, Any], optimizer: optax.GradientTransformation) -> Carry:
    """The first carry, copied: the step donates its buffers, and those of the caller (or two alike) must not be among
    them."""
    return owned((weights, optimizer.init(weights)))


def owned(tree: Any) -> Any:
    """Every leaf as a strongly typed array in a buffer of its own."""

    def copy(leaf: Any) -> Array:
        leaf = jnp.asarray(leaf)
        return jnp.array(leaf, dtype=leaf.dtype, copy=True)

    return jax.tree.map(copy, tree)


def noise_key(cell: Any, seed: int, step: Any) -> Array | None:
    """The key of this step for a cell with noise (dropout); None for others."""
    if not draws_noise(cell):
        return None
    return stream_key(seed, RandomStream.NOISE, step)


def update_weights(
    optimizer: optax.GradientTransformation, grads: Any, opt_state: Any, weights: Any, value: Array
) -> tuple[Any, Any]:
    """(new weights, new state). Optax mixes dtypes and ranks, which JAX's strict modes refuse: it gets the standard
    ones."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        optimizer = optax.with_extra_args_support(optimizer)
        updates, opt_state = optimizer.update(grads, opt_state, weights, value=value)
        return optax.apply_updates(weights, updates), opt_state


def make_step(
    cell: Any,
    objective: Any,
    source: Any,
    optimizer: optax.GradientTransformation,
    seed: int,
    max_norm: float | None,
    max_skipped: int | None,
    unroll_options: dict[str, Any] | None,
) -> Callable[[Carry, Any, Any, bool], tuple[Carry, dict[str, Array]]]:
    """step(carry, index, arguments, measured) -> (carry, metrics); if `measured`, also of where the gradient goes.
    After `max_skipped` skipped updates in a row it changes nothing."""
    tangents = stream_key(seed, RandomStream.TANGENTS)

    def step(carry: Carry, index: Array, arguments: Any, measured: bool) -> tuple[Carry, dict[str, Array]]:
        weights, before = carry
        batch = source.batch(arguments)
        options = options_of(batch, unroll_options, noise_key(cell, seed, index))

        def loss_of(weights: dict[str, Any], options: dict[str, Any]) -> tuple[Array, Any]:
            unrolled = unroll(cell, weights["cell"], batch.get("x"), **options)
            value, metrics = loss_and_metrics(objective, weights["loss"], unrolled, batch)
            return value, (metrics, unrolled.mask)

        (value, metrics), grads, flow = grads_and_delta(cell, loss_of, weights, batch.get("x"), options, measured)
        if measured:
            key = jax.random.fold_in(tangents, index)
            flow |= probe_metrics(cell, weights["cell"], batch.get("x"), options, key)
        norm = global_norm(grads)
        after = update_weights(optimizer, grads, before, weights, value)
        state = after[1]
        if max_skipped is not None:
            going = before.consecutive < max_skipped
            after = jax.tree.map(lambda new, old: jnp.where(going, new, old), after, carry)
        made = state.last_finite
        passes = jnp.ones((), bool) if max_norm is None else norm < max_norm
        factor = jnp.ones_like(norm) if max_norm is None else jnp.where(passes, jnp.ones_like(norm), max_norm / norm)
        own = {"grad_norm": norm, "clip_factor": factor, "clipped": made & ~passes, "skipped": ~made}
        flags = {name: flag.astype(jnp.int32) if flag.dtype == bool else flag for name, flag in own.items()}
        return after, {**metrics, **flags, **flow, "in_a_row": state.consecutive}

    return jax.jit(step, static_argnums=3, donate_argnums=0)
