"""One training step, that of `fit` and of `stream`: gradients, figures of them, update. Traceable, not jitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jrnn.cures import global_norm
from jrnn.training.deltas import delta_metrics, is_real
from jrnn.training.objectives import loss_and_metrics
from jrnn.training.optimizing import update_weights
from jrnn.training.probing import probe_metrics
from jrnn.training.unroll_options import options_of
from jrnn.training.weights import Weights
from jrnn.types import Array, State
from jrnn.unrolling import Silent, unroll


class StepKeys(NamedTuple):
    """The random numbers of one step."""

    noise: Array | None
    """For the cell's noise; None without."""
    tangents: Array | None
    """For the directions of `tangent_growth`; None where the step does not measure where the gradient goes."""


class StepGradients(NamedTuple):
    """What one backward pass gives."""

    value: Array
    """What is minimised."""
    metrics: dict[str, Array]
    """What the objective says of the batch."""
    weights: Weights
    """dL/dweights."""
    final_state: State
    """The state after the last step [*B, ...]."""
    mask: Array
    """The steps that happened [T, *B]."""
    deltas: State | None
    """dL/dh_t [T+1, *B, ...]; None if not asked for. Time is where `time_axis` says, here and in the mask."""


class Stepped(NamedTuple):
    """What one step leaves."""

    weights: Weights
    opt_state: Any
    final_state: State
    """The state after the last time step [*B, ...], made with the weights before the update."""
    metrics: dict[str, Array]
    """Scalars: loss, what else the objective returned, grad_norm, and where the gradient goes if it was measured."""


@dataclass(frozen=True)
class TrainingStep:
    """weights <- weights + optimizer(dL/dweights), L the objective of one batch."""

    cell: Any
    objective: Any
    optimizer: optax.GradientTransformation
    unroll_options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        weights: Weights,
        opt_state: Any,
        batch: dict[str, Any],
        keys: StepKeys,
        initial_state: Callable[[Weights], State] | None = None,
    ) -> Stepped:
        """The step on a batch; `initial_state` makes h_0 of the weights, by default as the options and the cell say."""
        options = options_of(batch, self.unroll_options, keys.noise)
        tap = None
        if keys.tangents is not None:
            zeros = self.zero_tap(weights, batch.get("x"), options)
            tap = zeros if is_real(zeros) else None
        grads = self.gradients(weights, batch, options, initial_state, tap)
        flow = {} if grads.deltas is None else self.flow_metrics(grads, options)
        if keys.tangents is not None:
            options |= {} if initial_state is None else {"initial_state": initial_state(weights)}
            flow |= probe_metrics(self.cell, weights["cell"], batch.get("x"), options, keys.tangents)
        metrics = {**grads.metrics, "grad_norm": global_norm(grads.weights), **flow}
        weights, opt_state = update_weights(self.optimizer, grads.weights, opt_state, weights, grads.value)
        return Stepped(weights, opt_state, grads.final_state, metrics)

    def gradients(
        self,
        weights: Weights,
        batch: dict[str, Any],
        options: dict[str, Any],
        initial_state: Callable[[Weights], State] | None = None,
        tap: State | None = None,
    ) -> StepGradients:
        """Loss and gradients of one backward pass; with a `zero_tap` also dL/dh_t."""
        xs = batch.get("x")

        def loss_of(weights: Weights, tap: State | None) -> tuple[Array, Any]:
            own = {} if initial_state is None else {"initial_state": initial_state(weights)}
            own |= {} if tap is None else {"state_tap": added_tap(options.get("state_tap"), tap)}
            unrolled = unroll(self.cell, weights["cell"], xs, **{**options, **own})
            value, metrics = loss_and_metrics(self.objective, weights["loss"], unrolled, batch)
            return value, (metrics, unrolled.final_state, unrolled.mask)

        if tap is None:
            (value, (metrics, after, mask)), grads = jax.value_and_grad(loss_of, has_aux=True)(weights, None)
            return StepGradients(value, metrics, grads, after, mask, None)
        value_and_grad = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True, allow_int=True)
        (value, (metrics, after, mask)), (grads, deltas) = value_and_grad(weights, tap)
        deltas = jax.tree.map(lambda d, t: t if d.dtype == jax.dtypes.float0 else d, deltas, tap)
        return StepGradients(value, metrics, grads, after, mask, deltas)

    def zero_tap(self, weights: Weights, xs: Any, options: dict[str, Any]) -> State:
        """Zeros like h_0..h_T."""

        def states(weights: Weights) -> State:
            own = {**options, "return_states": True, "state_tap": None}
            return unroll(self.cell, weights["cell"], xs, **own).states

        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(states, weights))

    def flow_metrics(self, grads: StepGradients, options: dict[str, Any]) -> dict[str, Array]:
        """The figures of dL/dh_t."""
        axis = options.get("time_axis", 0)
        # computed once: XLA would otherwise put it together anew for every use
        deltas = jax.lax.optimization_barrier(grads.deltas)
        deltas, mask = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), (deltas, grads.mask))
        return delta_metrics(self.cell, deltas, mask, reverse=bool(options.get("reverse", False)))


def added_tap(own: State | None, tap: State) -> Any:
    """The zero tap, or the sum with one of the user's own."""
    return Silent(tap) if own is None else jax.tree.map(jnp.add, own, tap)
