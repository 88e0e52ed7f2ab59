"""A training step done again on its batch, with all that it computed."""

from functools import partial
from typing import Any, NamedTuple

import jax

from jrnn.cells import is_causal
from jrnn.training.objectives import loss_and_metrics
from jrnn.training.penalties import name_of
from jrnn.training.training_step import StepKeys, TrainingStep
from jrnn.training.unroll_options import options_of
from jrnn.training.weights import Weights
from jrnn.types import Array, Params, State
from jrnn.unrolling import Unrolled, unroll, value_and_grads


class StepValues(NamedTuple):
    """All numbers of a step before its update."""

    unrolled: Unrolled
    loss: Array
    penalties: dict[str, Array]
    state_gradients: State | None
    """dL/dh_t; None for what is not causal."""
    loss_gradients: Weights
    minimised: Array
    """The loss and the penalties."""
    gradients: Weights
    """Those of `minimised`."""


def values_of_step(training_step: TrainingStep, weights: Weights, batch: dict[str, Any], keys: StepKeys) -> StepValues:
    """The step done again, with all its numbers."""
    cell, objective = training_step.cell, training_step.objective
    xs, options = batch.get("x"), options_of(batch, training_step.unroll_options, keys.noise)
    unrolled = unroll(cell, weights["cell"], xs, **{**options, "return_states": True})

    def loss(loss_params: Params, unrolled: Any) -> Array:
        return loss_and_metrics(objective, loss_params, unrolled, batch)[0]

    value, head, of_state = loss(weights["loss"], unrolled), weights["loss"], None
    if is_causal(cell):
        of_loss = partial(loss, None) if head is None else loss
        value, grads = value_and_grads(cell, weights["cell"], xs, of_loss, loss_params=head, **options)
        of_loss, of_state = {"cell": grads.params, "loss": grads.loss_params}, grads.states
    else:
        of_loss = jax.grad(lambda w: loss(w["loss"], unroll(cell, w["cell"], xs, **options)))(weights)
    if not training_step.penalties:
        return StepValues(unrolled, value, {}, of_state, of_loss, value, of_loss)
    both = training_step.gradients(weights, batch, options, keys)
    penalties = {name: both.metrics[name] for name in map(name_of, training_step.penalties)}
    return StepValues(unrolled, value, penalties, of_state, of_loss, both.value, both.weights)
