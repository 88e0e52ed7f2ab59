"""One training step, that of `fit` and of `stream`: gradients, figures of them, update. Traceable, not jitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells._advance import state_shapes
from jrnn.cures import global_norm
from jrnn.training.objectives import loss_and_metrics
from jrnn.training.optimizing import update_weights
from jrnn.training.penalties import Penalty, needs_deltas, penalty_sum
from jrnn.training.step_gradients import StepGradients, Term, step_gradients
from jrnn.training.telemetry.state_gradient_metrics import delta_metrics, is_real
from jrnn.training.telemetry.tangent_probe import tangent_metrics
from jrnn.training.unroll_options import options_of, reads_backwards, time_axis_of
from jrnn.training.weights import Weights
from jrnn.types import Array, Params, State
from jrnn.unrolling import Unrolled, ZeroTap, read, unroll
from jrnn.unrolling.states import filled, move_axis


class StepKeys(NamedTuple):
    """The random numbers of one step."""

    noise: Array | None = None
    """For the cell's noise; None without."""
    tangents: Array | None = None
    """For the directions of `tangent_growth`; None where the step does not measure where the gradient goes."""
    penalties: Array | None = None
    """For the penalties; None without."""


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
    """weights <- weights + optimizer(gradient of objective and penalties on one batch)."""

    cell: Any
    objective: Any
    optimizer: Any
    """An Optax transformation; None where no update is made."""
    unroll_options: Mapping[str, Any] = field(default_factory=dict)
    penalties: tuple[Penalty, ...] = ()

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
        grads = self.gradients(weights, batch, options, keys, initial_state)
        flow = {}
        if keys.tangents is not None:
            flow = {} if grads.deltas is None or not is_real(grads.deltas) else self.flow_metrics(grads, options)
            options |= {} if initial_state is None else {"initial_state": initial_state(weights)}
            flow |= tangent_metrics(self.cell, weights["cell"], batch.get("x"), options, keys.tangents)
        metrics = {**grads.metrics, "grad_norm": global_norm(grads.weights), **flow}
        weights, opt_state = update_weights(self.optimizer, grads.weights, opt_state, weights, grads.value)
        return Stepped(weights, opt_state, grads.final_state, metrics)

    def gradients(
        self,
        weights: Weights,
        batch: dict[str, Any],
        options: dict[str, Any],
        keys: StepKeys,
        initial_state: Callable[[Weights], State] | None = None,
    ) -> StepGradients:
        """Loss and gradients on a batch; with dL/dh_t where a penalty needs it, or the step measures it."""
        xs, axis = batch.get("x"), time_axis_of(options)

        def unrolled_of(weights: Weights, tap: State | None) -> Unrolled:
            own = {} if initial_state is None else {"initial_state": initial_state(weights)}
            own |= {} if tap is None else {"state_tap": added_tap(options.get("state_tap"), tap)}
            own |= {"return_states": True} if self.penalties else {}
            return unroll(self.cell, weights["cell"], xs, **{**options, **own})

        def objective_of(loss_params: Params, unrolled: Unrolled) -> Term:
            return loss_and_metrics(self.objective, loss_params, unrolled, batch)

        def penalty_of(params: Params, unrolled: Unrolled, deltas: State | None) -> Term:
            seen = time_first((xs, unrolled.outputs, unrolled.states, unrolled.mask, deltas), axis)
            unrolled = unrolled._replace(outputs=seen[1], states=seen[2], mask=seen[3])
            return penalty_sum(self.penalties, self.cell, params, seen[0], unrolled, seen[4], keys.penalties)

        tap = None
        if keys.tangents is not None or needs_deltas(self.penalties):
            zeros = self.zero_tap(weights, xs, options)
            tap = zeros if is_real(zeros) or needs_deltas(self.penalties) else None
        penalised = penalty_of if self.penalties else None
        return step_gradients(unrolled_of, objective_of, penalised, weights, tap, needs_deltas(self.penalties))

    def zero_tap(self, weights: Weights, xs: Any, options: dict[str, Any]) -> State:
        """Zeros like h_0..h_T."""
        xs, read_once = read(self.cell, weights["cell"], xs, **options)
        lead = (read_once.steps + 1, *read_once.batch_shape)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state_shapes(self.cell, weights["cell"], lead))
        return move_axis(zeros, 0, read_once.time_axis)

    def flow_metrics(self, grads: StepGradients, options: dict[str, Any]) -> dict[str, Array]:
        """The figures of dL/dh_t."""
        axis = time_axis_of(options)
        # computed once: XLA would otherwise put it together anew for every use
        deltas = jax.lax.optimization_barrier(grads.deltas)
        deltas, mask = time_first((deltas, grads.mask), axis)
        return delta_metrics(self.cell, deltas, mask, reverse=reads_backwards(options))


def added_tap(own: State | None, tap: State) -> Any:
    """The zero tap, or the sum with one of the user's own."""
    return ZeroTap(tap) if own is None else jax.tree.map(jnp.add, filled(own, tap), tap)


def time_first(tree: Any, axis: int) -> Any:
    """Arrays with time on axis 0."""
    return jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), tree)
