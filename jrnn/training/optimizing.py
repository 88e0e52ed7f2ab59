"""The optimizer's side of a step: what is checked, and how weights are updated."""

from __future__ import annotations

import math
from typing import Any

import jax
import optax

from jrnn.cures import clip_by_global_norm
from jrnn.types import Array, InputError, number_of

LEARNING_RATE = 1e-3


def check_optimizer(optimizer: Any) -> None:
    """InputError unless it is an Optax transformation."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise InputError("optimizer", f"{optimizer!r:.60}", "an Optax transformation (with `init` and `update`)")


def check_rate(rate: Any, optimizer: Any) -> None:
    """InputError unless it is a schedule or a finite number above 0, and the default beside an optimizer."""
    if not callable(rate) and not 0 < number_of(rate) < math.inf:
        raise InputError("learning_rate", f"{rate!r:.80}", "a finite number above 0, or an Optax schedule")
    if optimizer is not None and (callable(rate) or rate != LEARNING_RATE):
        raise InputError("learning_rate", repr(rate), "none beside an `optimizer`, which has its own")


def chosen_optimizer(
    optimizer: optax.GradientTransformation | None, learning_rate: Any
) -> optax.GradientTransformation:
    """The optimizer that was given, or Adam with the learning rate; InputError where they do not fit."""
    if optimizer is not None:
        check_optimizer(optimizer)
    check_rate(learning_rate, optimizer)
    return optax.adam(learning_rate) if optimizer is None else optimizer


def clipped_optimizer(optimizer: optax.GradientTransformation, max_norm: float | None) -> optax.GradientTransformation:
    """The optimizer behind a clip of the global norm, unless max_norm is None."""
    return optimizer if max_norm is None else optax.chain(clip_by_global_norm(max_norm), optimizer)


def update_weights(
    optimizer: optax.GradientTransformation, grads: Any, opt_state: Any, weights: Any, value: Array
) -> tuple[Any, Any]:
    """(new weights, new state). Optax mixes dtypes and ranks, which JAX's strict modes refuse: it gets the standard
    ones."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        optimizer = optax.with_extra_args_support(optimizer)
        updates, opt_state = optimizer.update(grads, opt_state, weights, value=value)
        return optax.apply_updates(weights, updates), opt_state
