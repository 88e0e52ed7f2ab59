"""Loss and gradients of one batch, by backpropagation through time, with dL/dh_t if asked for."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.training.penalties import wide_sum
from jrnn.training.weights import Weights
from jrnn.types import Array, InputError, Params, State
from jrnn.unrolling import Unrolled

Term = tuple[Array, dict[str, Array]]  # (value, metrics)


class StepGradients(NamedTuple):
    """What the backward passes of one step give."""

    value: Array
    """What is minimised: the objective's loss and the penalties."""
    metrics: dict[str, Array]
    """What the objective and the penalties say of the batch."""
    weights: Weights
    """The gradient of `value` with respect to the weights."""
    final_state: State
    """The state after the last step [*B, ...]."""
    mask: Array
    """The steps that happened [T, *B]."""
    deltas: State | None
    """dL/dh_t [T+1, *B, ...], L the objective's loss alone; None if not asked for. Time is where `time_axis` says,
    here and in the mask."""


def step_gradients(
    unrolled_of: Callable[[Weights, State | None], Unrolled],
    objective_of: Callable[[Params, Unrolled], Term],
    penalty_of: Callable[[Params, Unrolled, State | None], Term] | None,
    weights: Weights,
    tap: State | None,
    penalties_read_deltas: bool = False,
) -> StepGradients:
    """One backward pass of objective and penalties together; with both penalties and a tap a second one.

    Args:
      unrolled_of: the run over the batch, of (weights, tap).
      objective_of: the loss, of (loss_params, unrolled).
      penalty_of: the sum of the penalties, of (params, unrolled, deltas); None without penalties.
      weights: to differentiate with respect to.
      tap: zeros like h_0..h_T, for dL/dh_t; None without.
      penalties_read_deltas: then the objective's backward pass comes first.
    """
    if penalty_of is not None and tap is not None and penalties_read_deltas:
        return separate_gradients(unrolled_of, objective_of, penalty_of, weights, tap)

    def terms_of(weights: Weights, unrolled: Unrolled) -> Term:
        term = objective_of(weights["loss"], unrolled)
        return term if penalty_of is None else added(term, penalty_of(weights["cell"], unrolled, None))

    if penalty_of is not None and tap is not None:
        return gradients_with_deltas(unrolled_of, objective_of, terms_of, weights, tap)

    def minimised(weights: Weights, tap: State | None) -> tuple[Array, Any]:
        unrolled = unrolled_of(weights, tap)
        value, metrics = terms_of(weights, unrolled)
        return value, (metrics, unrolled.final_state, unrolled.mask)

    if tap is None:
        (value, (metrics, after, mask)), grads = jax.value_and_grad(minimised, has_aux=True)(weights, None)
        return StepGradients(value, metrics, grads, after, mask, None)
    value_and_grad = jax.value_and_grad(minimised, argnums=(0, 1), has_aux=True, allow_int=True)
    (value, (metrics, after, mask)), (grads, deltas) = value_and_grad(weights, tap)
    return StepGradients(value, metrics, grads, after, mask, filled(deltas, tap))


def gradients_with_deltas(
    unrolled_of: Callable[[Weights, State | None], Unrolled],
    objective_of: Callable[[Params, Unrolled], Term],
    terms_of: Callable[[Weights, Unrolled], Term],
    weights: Weights,
    tap: State,
) -> StepGradients:
    """The gradient as of a step that does not measure, to the bit; a pass of the objective alone gives the deltas."""
    unrolled, pull = jax.vjp(unrolled_of, weights, tap)
    of_terms = jax.value_and_grad(terms_of, argnums=(0, 1), has_aux=True, allow_int=True)
    (value, metrics), (direct, of_unrolled) = of_terms(weights, unrolled)
    grads = jax.tree.map(jnp.add, direct, pull(of_unrolled)[0])
    of_objective = jax.grad(objective_of, argnums=1, has_aux=True, allow_int=True)(weights["loss"], unrolled)[0]
    return StepGradients(value, metrics, grads, unrolled.final_state, unrolled.mask, filled(pull(of_objective)[1], tap))


def separate_gradients(
    unrolled_of: Callable[[Weights, State | None], Unrolled],
    objective_of: Callable[[Params, Unrolled], Term],
    penalty_of: Callable[[Params, Unrolled, State | None], Term],
    weights: Weights,
    tap: State,
) -> StepGradients:
    """One forward pass, then the objective's backward pass, which gives the deltas, then that of the penalties."""
    unrolled, pull = jax.vjp(unrolled_of, weights, tap)
    of_objective = jax.value_and_grad(objective_of, argnums=(0, 1), has_aux=True, allow_int=True)
    loss, (of_head, of_unrolled) = of_objective(weights["loss"], unrolled)
    grads, deltas = pull(of_unrolled)
    deltas = filled(deltas, tap)
    of_penalty = jax.value_and_grad(penalty_of, argnums=(0, 1), has_aux=True, allow_int=True)
    penalty, (of_params, of_unrolled) = of_penalty(weights["cell"], unrolled, jax.lax.stop_gradient(deltas))
    through_states = pull(of_unrolled)[0]["cell"]
    of_cell = jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), grads["cell"], through_states, of_params)
    value, metrics = added(loss, penalty)
    return StepGradients(
        value, metrics, {"cell": of_cell, "loss": of_head}, unrolled.final_state, unrolled.mask, deltas
    )


def filled(deltas: Any, tap: State) -> State:
    """The deltas with zeros for integer parts of the state, which have none."""
    return jax.tree.map(lambda d, zero: zero if d.dtype == jax.dtypes.float0 else d, deltas, tap)


def added(loss: Term, penalty: Term) -> Term:
    """The sum, in the wider dtype, and the metrics of both."""
    if clash := sorted(loss[1].keys() & penalty[1].keys()):
        raise InputError("penalties", f"the metric {clash[0]!r}, which the objective has too", "another `name`")
    return wide_sum(loss[0], penalty[0]), loss[1] | penalty[1]
