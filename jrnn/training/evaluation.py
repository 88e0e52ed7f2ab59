"""Metrics over all cases of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import check_cell, jit_by_cell
from jrnn.training.arguments import check_arrays, check_objective
from jrnn.training.batches import check_cases, time_major
from jrnn.training.objectives import loss_and_metrics
from jrnn.training.unroll_options import check_options, options_of
from jrnn.types import Array, InputError, Params
from jrnn.unrolling import unroll
from jrnn.unrolling.checks import check_count


def evaluate(
    cell: Any,
    params: Params,
    objective: Any,
    loss_params: Params,
    data: Mapping[str, Any],
    *,
    batch_size: int = 256,
    unroll_options: dict[str, Any] | None = None,
) -> dict[str, float]:
    """The objective's metrics over all cases, without noise (no dropout): sum_b n_b m_b / sum_b n_b over batches b.

    n_b is what a batch's mean runs over: for an `Objective` its valid cases, or its valid steps with `_each`, so that
    the result is that of one big batch; for a function its cases. The last batch is smaller, not padded.

    Args:
      cell, params, objective, loss_params: as `fit` returns them.
      data: {"x": [cases, T, F], "y": ..., "lengths": [cases]}, as for `fit`.
      batch_size: how many cases at a time.
      unroll_options: as for `fit`.
    Returns:
      the mean of each metric, "loss" among them.
    Raises:
      InputError: the data does not fit, or is a function (which has no end).
    """
    check_cell(cell)
    check_objective(objective)
    check_arrays("params", params)
    check_arrays("loss_params", loss_params)
    if not isinstance(data, Mapping):
        raise InputError(
            "data", f"a {type(data).__name__}", 'a mapping {"x": [cases, T, F], "y": ...}: all of it is evaluated'
        )
    batch_size = check_count("batch_size", batch_size, 1, "a positive integer")
    check_options(unroll_options)
    arrays = check_cases(data, objective)
    fixed, passed = split_options(unroll_options or {})
    totals: dict[str, float] = {}
    weights = 0.0
    for start in range(0, len(arrays["x"]), batch_size):
        batch = {name: array[start : start + batch_size] for name, array in arrays.items()}
        metrics, weight = jax.device_get(one_batch(cell, objective, fixed, params, loss_params, batch, passed))
        if weight:
            weights += float(weight)
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + float(weight) * float(value)
        else:
            totals = {**dict.fromkeys(metrics, 0.0), **totals}
    return {name: total / max(weights, 1.0) for name, total in totals.items()}


@partial(jit_by_cell, static_argnums=(0, 1, 2))
def one_batch(
    cell: Any,
    objective: Any,
    fixed: tuple[tuple[str, Any], ...],
    params: Params,
    loss_params: Params,
    arrays: dict[str, Array],
    passed: dict[str, Any],
) -> tuple[dict[str, Array], Array]:
    """(metrics, weight) of some cases; one trace per shape."""
    batch = time_major(arrays, bool(getattr(objective, "each", False)))
    options = options_of(batch, {**dict(fixed), **passed}, None)
    unrolled = unroll(cell, params, batch["x"], **options)
    _, metrics = loss_and_metrics(objective, loss_params, unrolled, batch)
    if hasattr(objective, "weight"):
        weight = objective.weight(unrolled, *[batch["y"]] * getattr(objective, "missing", False))
    else:
        weight = jnp.asarray(arrays["x"].shape[0])
    return {name: value for name, value in metrics.items() if jnp.ndim(value) == 0}, weight


def split_options(options: dict[str, Any]) -> tuple[tuple[tuple[str, Any], ...], dict[str, Any]]:
    """(the options that are static under `jit`, those that hold arrays)."""
    arrays = {
        name
        for name, value in options.items()
        if any(isinstance(a, jax.Array | np.ndarray) for a in jax.tree.leaves(value))
    }
    hashable = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    fixed = tuple(sorted((name, value) for name, value in hashable.items() if name not in arrays))
    return fixed, {name: options[name] for name in arrays}
