"""A network at one moment: its scores, where its gradient goes, and what clipping would do to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import data
from jrnn.commands.output import say
from jrnn.cures import clipping_proof, global_norm
from jrnn.flow import FlowSummary, summarise
from jrnn.report import ClippingProof, Stage
from jrnn.report.diagnosis import shown_proof
from jrnn.training import Objective, evaluate
from jrnn.training.batches import time_major
from jrnn.types import Params
from jrnn.unrolling import Unrolled, value_and_grads

PROOF_SEQUENCES, PROOF_ELEMENTS = 8, 2**25  # on which the split by lag is clipped, and what it may hold
MEASURED = 32  # held-out sequences whose gradient is followed


def measure(
    name: str,
    step: int,
    cell: Any,
    params: Params,
    objective: Any,
    loss_params: Params,
    dataset: data.Dataset,
    lag: int,
) -> Stage:
    """Scores on the held-out data, and the gradient's way in float64, where long products do not underflow early."""
    say(f"Measuring {name} ...")
    held_out = dataset.subset(dataset.test)
    scores = {} if isinstance(objective, Probe) else evaluate(cell, params, objective, loss_params, held_out)
    given = time_major(dataset.subset(held_out_sample(dataset)), objective.each)
    with jax.enable_x64(widens(cell, params, given["x"])):
        batch = jax.tree.map(wide, given)
        flow: FlowSummary = summarise(
            cell,
            jax.tree.map(wide, params),
            batch["x"],
            OnBatch(objective),
            loss_params=(jax.tree.map(wide, loss_params), batch),
            lengths=batch.get("lengths"),
            lag=lag,
        )
    return Stage(name, step, scores, flow)


def measure_inside(name: str, model: Any, inside: Any, objective: Objective, dataset: data.Dataset, lag: int) -> Stage:
    """The scores of a whole model, and the gradient's way in the RNN inside it, in the model's own precision."""
    say(f"Measuring {name} ...")
    scores = model.scores(objective, dataset.subset(dataset.test))
    flow = summarise(inside.cell, inside.params, inside.xs, inside.loss, lag=lag, **inside.options)
    return Stage(name, 0, scores, flow)


def widens(cell: Any, params: Params, xs: Any) -> bool:
    """Whether the cell runs in float64 where its parameters are; those of other libraries may keep to float32."""
    with jax.enable_x64(True):
        p, x = jax.tree.map(wide, (params, np.asarray(xs)[0]))
        before = jax.eval_shape(lambda p: cell.initial_state(p, x.shape[:1]), p)
        return jax.tree.map(lambda h: h.dtype, before) == jax.tree.map(
            lambda h: h.dtype, jax.eval_shape(cell.step, p, before, x)
        )


def held_out_sample(dataset: data.Dataset) -> np.ndarray:
    """At most MEASURED of the held-out cases, evenly spread."""
    spread = np.linspace(0, len(dataset.test) - 1, min(MEASURED, len(dataset.test)))
    return dataset.test[spread.round().astype(int)]


@dataclass(frozen=True)
class Probe:
    """The loss of a network without a readout: L = sum_t <v_t, y_t>, v_t standard normal, drawn once (seed 0).

    The sum is over every output (`each`), or there is the last valid one alone, as the task would ask. What arrives of
    dL/dy_t then tells of the network and its inputs, and of no particular answer: E ||J^T v||^2 is the mean over all
    directions v.
    """

    each: bool

    def __call__(self, loss_params: Params, unrolled: Unrolled, batch: Any) -> tuple[jax.Array, dict]:
        y = unrolled.outputs if self.each else unrolled.last
        return jnp.sum(jax.random.normal(jax.random.key(0), y.shape, y.dtype) * y), {}

    @property
    def sentence(self) -> str:
        """For the reader of a report."""
        asked = "at every step" if self.each else "at the last step of each sequence"
        return (
            f"no readout is known, so the output {asked}, where the task asks, is pulled in a random direction (normal "
            "numbers, drawn once): what arrives is what the network lets through of any such gradient"
        )


@dataclass(frozen=True)
class OnBatch:
    """The objective's loss as a function of (head, batch), so that both measurements share one compiled program."""

    objective: Any

    def __call__(self, given: tuple[Params, Any], unrolled: Unrolled) -> jax.Array:
        head, batch = given
        return self.objective(head, unrolled, batch)[0]


def prove_clipping(
    cell: Any, params: Params, objective: Objective, loss_params: Params, dataset: data.Dataset, max_norm: float
) -> ClippingProof | None:
    """What clipping does to each lag's share, on a few held-out sequences; None where all G_tau would not fit.

    The global clip is to `max_norm`, or to half the gradient's norm where that is smaller, so that it clips.
    """
    elements = (dataset.x.shape[1] + 1) * sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    if elements > PROOF_ELEMENTS:
        return None
    say("Measuring what clipping does ...")
    with jax.enable_x64(True):
        batch = jax.tree.map(wide, time_major(dataset.subset(dataset.test[:PROOF_SEQUENCES]), objective.each))
        weights = jax.tree.map(wide, (params, loss_params))

        def arguments(weights: Any, batch: Any) -> tuple[tuple, dict[str, Any]]:
            loss = lambda head, unrolled: objective(head, unrolled, batch)[0]  # noqa: E731
            return (cell, weights[0], batch["x"], loss), {"loss_params": weights[1], "lengths": batch.get("lengths")}

        @jax.jit
        def measured(weights: Any, batch: Any) -> tuple[jax.Array, Any]:
            given, options = arguments(weights, batch)
            gradients = value_and_grads(*given, **options)[1]
            half = 0.5 * global_norm((gradients.params, gradients.loss_params))
            known = (half > 0) & jnp.isfinite(half)
            limit: Any = jnp.where(known, jnp.minimum(max_norm, half), jnp.ones_like(half))
            return known, clipping_proof(*given, max_norm=limit, **options)

        known, proof = measured(weights, batch)
        return shown_proof(proof) if known else None


def wide(a: Any) -> jax.Array:
    """Floats as float64, where JAX has it; other arrays as they are."""
    a = np.asarray(a)
    return jax.device_put(a.astype(jnp.result_type(float)) if jnp.issubdtype(a.dtype, jnp.floating) else a)
