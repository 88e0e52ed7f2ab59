"""The weights of a run before its first step: {"cell": params, "loss": loss_params}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jrnn.cells import output_size
from jrnn.cures.base import Cure, apply_to_params
from jrnn.training.arguments import check_weights
from jrnn.training.random_streams import RandomStream, stream_key
from jrnn.types import Params

Weights = dict[str, Any]
Carry = tuple[Weights, Any]  # (weights, optimizer state)


def initial_weights(cell: Any, objective: Any, params: Params, loss_params: Params, batch: Any, seed: int) -> Weights:
    """The weights that the caller gave, or those drawn from the seed for inputs like batch["x"] (shapes are enough)."""
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


def cured_weights(cures: Sequence[Cure], cell: Any, weights: Weights, batch: Any, seed: int) -> Weights:
    """The weights after the cures that measure the cell on a batch."""
    key = stream_key(seed, RandomStream.CURES)
    return weights | {"cell": apply_to_params(cures, cell, weights["cell"], batch, key)}


def first_carry(weights: Weights, optimizer: optax.GradientTransformation) -> Carry:
    """Weights and optimizer state, copied: a step donates its buffers, and those of the caller (or two alike) must not
    be among them."""
    return owned((weights, optimizer.init(weights)))


@jax.jit
def owned(tree: Any) -> Any:
    """Every leaf as a strongly typed array in a buffer of its own."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.result_type(leaf), copy=True), tree)
