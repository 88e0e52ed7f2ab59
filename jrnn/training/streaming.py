"""Training on a stream that has no end: the state is carried from chunk to chunk, the gradient is cut between them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn.cells import check_cell, check_key, is_causal
from jrnn.training.arguments import check_arrays, check_batch, check_objective, check_weights
from jrnn.training.objectives import Objective
from jrnn.training.optimizing import check_optimizer
from jrnn.training.penalties import Penalty, check_penalties
from jrnn.training.random_streams import chunk_penalty_key
from jrnn.training.sensitivities import Sensitive, Sensitivities, check_rtrl, depending, entering_sensitivities
from jrnn.training.telemetry.tangent_probe import EVERY
from jrnn.training.training_step import StepKeys, Stepped, TrainingStep
from jrnn.training.unroll_options import check_options, options_of
from jrnn.training.weights import Weights, owned
from jrnn.types import Array, InputError, Params, State
from jrnn.unrolling import unroll
from jrnn.unrolling.checks import check_count
from jrnn.unrolling.states import batch_of, check_state
from jrnn.wording import arrays, brief


class Streamed(NamedTuple):
    """What `stream` yields after each chunk."""

    params: Params
    """The cell's parameters after this chunk's update."""
    loss_params: Params
    """The loss's parameters after this chunk's update."""
    opt_state: Any
    """The optimizer's state."""
    state: State
    """h after the chunk's last step [*B, ...], from which the next chunk goes on; made with the parameters before the
    update."""
    metrics: dict[str, Array]
    """Scalars on the device: loss, grad_norm (before the optimizer), what else the loss returned, and the penalties by
    name. In chunks that measured it also those of `delta_metrics`, within the chunk, and tangent_growth."""
    sensitivities: Any = None
    """With `rtrl`: dh/dtheta of `state`, for each leaf of the parameters [*B, its shape]; else None."""

    def __repr__(self) -> str:
        return brief(self, f"params {arrays(self.params)}", f"state {arrays(self.state)}", ", ".join(self.metrics))


def stream(
    cell: Any,
    loss: Callable[..., Any],
    chunks: Iterable[Mapping[str, Any]],
    *,
    params: Params,
    loss_params: Params = None,
    optimizer: optax.GradientTransformation,
    initial_state: State | None = None,
    opt_state: Any = None,
    key: Array | None = None,
    flow_every: int | None = EVERY,
    unroll_options: dict[str, Any] | None = None,
    penalties: Sequence[Penalty] = (),
    rtrl: Any = False,
) -> Iterator[Streamed]:
    """Trains on one chunk after another; truncated backpropagation through time (Williams, Peng 1990) with a cut at
    each border.

    theta <- theta + optimizer(dL_i/dtheta), L_i the loss of chunk i with the state carried in held fixed. A step
    marked in "resets" starts a new segment, from the cell's own initial state (with the parameters of the moment; its
    gradient counts), as does the very first step. Chunks of equal shape share one trace, those that measure where the
    gradient goes another; nothing waits for the device.

    Args:
      cell: a causal cell.
      loss: an `Objective`, or any `loss(loss_params, unrolled, batch) -> scalar | (scalar, metrics)`; batch is the
        chunk.
      chunks: {"x": [k, *B, F], "y": ..., "resets": [k, *B] or none}, as many as there are; the same *B in all.
      params, loss_params: to start from; left as they are. An `Objective` needs both.
      optimizer: an Optax transformation, such as
        `skip_nonfinite(optax.chain(clip_by_global_norm(1.0), optax.adam(1e-3)))`.
      initial_state: the state to go on from [*B, ...]; by default the cell's own.
      opt_state: the optimizer's state to go on from; by default a new one.
      key: a PRNG key for cells with noise; chunk i uses fold_in(key, i).
      flow_every: as for `fit`, counted in chunks from this call's first; None leaves these metrics out.
      unroll_options: more options of `unroll`: truncate, remat, ...
      penalties: terms to be added to the loss, each a `Penalty`; within a chunk. Their keys come from `key`; without
        one they are those of a `fit` with seed 0, counted in chunks.
      rtrl: True does not cut the gradient between chunks: dh/dtheta is carried forwards, e_t = J_t e_{t-1} +
        dh_t/dtheta (real-time recurrent learning; Williams, Zipser 1989; for diagonal layers Zucchet et al. 2023), and
        chunk i adds dL_i/dh e for the state carried in. That is backpropagation to the start of the stream, exactly
        where the parameters are held, in memory that does not grow with it: B times that of the parameters. For one
        diagonal layer, such as jrnn.linear; of a stack it would be no more than an estimate. `sensitivities` of a
        `Streamed` in its place, beside its state as `initial_state`, go on from there; a state alone owes the
        parameters nothing.
    Returns:
      a generator of `Streamed`.
    Raises:
      InputError: the cell is not causal, the loss is no function, an option or a chunk does not fit, or `rtrl` beside
        what it cannot do.
    """
    check_cell(cell)
    if not is_causal(cell):
        raise InputError("cell", type(cell).__name__, "a causal cell: it reads the future, so it cannot be streamed")
    check_objective(loss, "loss")
    if not isinstance(chunks, Iterable) or isinstance(chunks, Mapping | str):
        raise InputError("chunks", f"a {type(chunks).__name__}", "an iterable of chunks")
    if loss_params is None and isinstance(loss, Objective):
        raise InputError("loss_params", "None", "the head's parameters, as from objective.init(key, input_size)")
    check_weights("params", params)
    check_weights("loss_params", loss_params)
    check_arrays("opt_state", opt_state)
    if key is not None:
        check_key(key)
    check_optimizer(optimizer)
    check_options(unroll_options)
    if flow_every is not None:
        flow_every = check_count("flow_every", flow_every, 1, "an integer of at least 1, or None")
    weights = jax.tree.map(jnp.asarray, {"cell": params, "loss": loss_params})
    if rtrl is not False:
        check_rtrl(rtrl, cell, weights["cell"], initial_state, unroll_options, key)
    opt_state = owned(optimizer.init(weights) if opt_state is None else opt_state)
    training_step = TrainingStep(cell, loss, optimizer, dict(unroll_options or {}), check_penalties(penalties))
    step = chunk_step(training_step, rtrl is not False)
    return follow(cell, step, chunks, weights, opt_state, initial_state, rtrl, key, flow_every)


def follow(
    cell: Any,
    step: Callable,
    chunks: Iterable[Mapping[str, Any]],
    weights: Any,
    opt_state: Any,
    state: State | None,
    rtrl: Any,
    key: Array | None,
    flow_every: int | None,
) -> Iterator[Streamed]:
    """The loop of `stream`."""
    first = state is None
    batch_shape = sensitivities = None
    for i, chunk in enumerate(chunks):
        chunk = jax.tree.map(jnp.asarray, check_batch("chunks", chunk, "[k, *B, F]", f" as chunk {i}"))
        shape = batch_of(cell, weights["cell"], chunk["x"], None, None, time_axes=1)
        if batch_shape not in (None, shape):
            raise InputError("chunks", f"batch shape {shape} in chunk {i}", f"{batch_shape}, as in the chunks before")
        batch_shape = shape
        state = check_state("initial_state", state, cell, weights["cell"], shape)
        if i == 0 and rtrl is not False:
            sensitivities = entering_sensitivities(rtrl, weights["cell"], shape)
        noise = None if key is None else jax.random.fold_in(key, i)
        start = jnp.asarray(first and i == 0)
        measured = flow_every is not None and i % flow_every == 0
        carried = state, sensitivities
        done, sensitivities = step(weights, opt_state, *carried, start, chunk, np.int32(i), noise, measured=measured)
        weights, opt_state, state, metrics = done
        yield Streamed(weights["cell"], weights["loss"], opt_state, state, metrics, sensitivities)


def chunk_step(training_step: TrainingStep, rtrl: bool = False) -> Callable[..., tuple[Stepped, Any]]:
    """The jitted step on a chunk: (weights, opt_state, state, sensitivities, first, chunk, index, noise, measured) ->
    (`Stepped`, sensitivities). The state carried in is the cell's own where `first`, else held fixed; with `rtrl` it
    depends on the weights by its sensitivities."""

    def step(
        weights: Weights,
        opt_state: Any,
        state: State,
        sensitivities: Any,
        first: Array,
        chunk: dict[str, Any],
        index: Array,
        noise: Array | None,
        *,
        measured: bool,
    ) -> tuple[Stepped, Any]:
        cell = training_step.cell
        batch_shape = batch_of(cell, weights["cell"], chunk["x"], None, None, time_axes=1)

        def entering(weights: Weights) -> State:
            own = cell.initial_state(weights["cell"], batch_shape)
            carried = jax.lax.stop_gradient(state)
            if rtrl:
                carried = depending(Sensitive(state, sensitivities), weights["cell"])
            return jax.tree.map(lambda new, old: jnp.where(first, new, old), own, carried)

        tangents = jax.random.fold_in(jax.random.key(0), index) if measured else None
        keys = StepKeys(noise, tangents, chunk_penalty_key(noise, index) if training_step.penalties else None)
        after = None
        if rtrl:
            forwards = Sensitivities(cell)
            fresh = forwards.initial_state(weights["cell"], batch_shape)
            carried = Sensitive(state, sensitivities)
            start = jax.tree.map(lambda new, old: jnp.where(first, new, old), fresh, carried)
            options = options_of(chunk, training_step.unroll_options, None) | {"initial_state": start}
            options.pop("implementation", None)  # that of the cell: this one runs by the scan
            after = unroll(forwards, weights["cell"], chunk["x"], **options).final_state.e
        return training_step(weights, opt_state, chunk, keys, entering), after

    return jax.jit(step, static_argnames="measured")
