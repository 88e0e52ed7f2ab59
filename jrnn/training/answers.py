"""What a network answers to all cases of a data set, before anything is scaled."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from jrnn.cells import check_cell, jit_by_cell
from jrnn.training.batches import time_major
from jrnn.types import Array, Params
from jrnn.unrolling import unroll


def answers(
    cell: Any, params: Params, objective: Any, loss_params: Params, arrays: Mapping[str, Any], batch_size: int = 256
) -> np.ndarray:
    """z of all cases, [cases, K], or [cases, T, K] for a task at each step, without noise."""
    check_cell(cell)
    found = []
    for start in range(0, len(arrays["x"]), batch_size):
        batch = {n: jnp.asarray(a[start : start + batch_size]) for n, a in arrays.items() if n in ("x", "lengths")}
        found.append(np.asarray(answers_of_batch(cell, objective, params, loss_params, batch)))
    return np.concatenate(found)


@partial(jit_by_cell, static_argnums=(0, 1))
def answers_of_batch(cell: Any, objective: Any, params: Params, loss_params: Params, arrays: dict[str, Array]) -> Array:
    """`answers` of some cases; one trace per shape."""
    batch = time_major(arrays, objective.each)
    unrolled = unroll(cell, params, batch["x"], lengths=batch.get("lengths"))
    z = objective.predict(loss_params, unrolled)
    return jnp.swapaxes(z, 0, 1) if objective.each else z
