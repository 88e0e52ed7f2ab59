"""What a saved network answers: in the user's unit, with intervals from held-out residuals."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import check_cell, jit_by_cell
from jrnn.training.arguments import numbers
from jrnn.training.batches import check_finite, time_major
from jrnn.training.objectives import Objective
from jrnn.types import Array, InputError, Params
from jrnn.unrolling import step, unroll
from jrnn.wording import brief, percentage

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Shares of the held-out residuals for which intervals are kept."""


class Forecast(NamedTuple):
    """What a network answers; `*lead` is [cases], or nothing for one sequence, then T for a task at each step."""

    values: np.ndarray
    """[*lead, K]; of a series [*lead, T, H, K]: K targets at h = 1..H after each step, in the user's unit. For classes
    and labels the probability of each."""
    low: np.ndarray | None
    """The lower end of the interval, of the shape of values; None for classes, or where no residuals were kept."""
    high: np.ndarray | None
    """The upper end."""
    level: float
    """The share of held-out residuals that the interval holds, in each output and horizon by itself."""

    def __repr__(self) -> str:
        between = f"{percentage(self.level)} intervals" if self.low is not None else "no intervals"
        return brief(self, f"{self.values.dtype}{list(self.values.shape)}", between)


def predict(saved: Any, x: Any, lengths: Any = None, level: float = 0.9, scaled: bool = False) -> Forecast:
    """`Saved.predict`."""
    objective = saved.objective
    if not isinstance(objective, Objective):
        raise InputError("objective", f"a {type(objective).__name__}", "a model that was saved with an `Objective`")
    if level not in LEVELS:
        raise InputError("level", repr(level), f"one of {', '.join(map(str, LEVELS))}")
    maps, series = saved.metadata.get("scaling"), saved.metadata.get("series")
    given = numbers("x", x)
    alone = given.ndim == 2
    given = given[None] if alone else given
    if given.ndim != 3 or 0 in given.shape:
        raise InputError("x", f"{given.dtype}{list(np.shape(x))}", "numbers [cases, T, F], or [T, F] for one sequence")
    features = len(maps["input_mean"]) if maps else given.shape[2]
    if given.shape[2] != features:
        raise InputError("x", f"{given.shape[2]} features", f"the {features} that the network was trained on")
    check_finite("x", given, np.ones(given.shape[:2], bool))
    start: Any = 0.0
    if maps and not scaled:
        columns = maps.get("change", [])
        if columns:
            last = given[..., columns]
            start, given = np.tile(last, series["horizon"]), given.astype(np.float64)
            given[..., columns] = np.diff(last, axis=1, prepend=last[:, :1])
        given = (given - np.array(maps["input_mean"])) / np.array(maps["input_spread"])
    dtype = jnp.result_type(*jax.tree.leaves(saved.params))
    arrays = {"x": given.astype(dtype)}
    if lengths is not None:
        arrays["lengths"] = np.atleast_1d(numbers("lengths", lengths))
    z = answers(saved.cell, saved.params, objective, saved.loss_params, arrays)
    if objective.classifies or objective.labels:
        return Forecast(
            np.asarray(objective.probabilities(jnp.asarray(z)))[0 if alone else slice(None)], None, None, level
        )
    values = z.astype(np.float64)
    if maps:
        values = values * np.array(maps["output_spread"]) + np.array(maps["output_mean"]) + start
    kept = saved.metadata.get("intervals")
    ends = [values + np.array(kept[end][str(level)]) if kept else None for end in ("low", "high")]
    horizon = series["horizon"] if series else None

    def shaped(array: np.ndarray | None) -> np.ndarray | None:
        if array is None:
            return None
        array = array if horizon is None else array.reshape(*array.shape[:-1], horizon, -1)
        return array[0] if alone else array

    return Forecast(*(shaped(array) for array in (values, *ends)), level)  # type: ignore[arg-type]


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


def residual_intervals(residuals: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """What is added to a forecast for the ends of its interval, by level and output.

    Of n residuals y - forecast of an output, sorted, those of rank floor((n + 1) a) and ceil((n + 1) (1 - a)), with
    a = (1 - level) / 2 (the first and last where there is none such): if later residuals are exchangeable with these,
    at least `level` of them lie between (split conformal prediction, Lei et al. 2018).

    Args:
      residuals: [n, K], NaN where a target is not known.
    """
    low: dict[str, list[float]] = {}
    high: dict[str, list[float]] = {}
    columns = [np.sort(column[~np.isnan(column)]) for column in residuals.T]
    for level in LEVELS:
        tail = (1 - level) / 2
        ranks = [(int(np.floor((len(c) + 1) * tail)), int(np.ceil((len(c) + 1) * (1 - tail)))) for c in columns]
        low[str(level)] = [float(c[max(rank, 1) - 1]) for c, (rank, _) in zip(columns, ranks)]
        high[str(level)] = [float(c[min(rank, len(c)) - 1]) for c, (_, rank) in zip(columns, ranks)]
    return {"low": low, "high": high}


def held_out_intervals(cell: Any, params: Params, objective: Any, loss_params: Params, data: Any) -> dict[str, Any]:
    """{"intervals": ...} of the held-out part of a data set, in the user's unit; nothing for classes.

    The residuals are those of all scored steps, so of windows of a series most targets count several times, each with
    another history.
    """
    if objective.classifies or objective.labels:
        return {}
    part = data.subset(data.test)
    off = part["y"].astype(np.float64) - answers(cell, params, objective, loss_params, part)
    if data.series is not None:
        off = off * np.array(data.series.scaling["output_spread"])
    if objective.each:
        steps = np.arange(off.shape[1])
        lengths = part.get("lengths", np.full(len(off), off.shape[1]))
        off = off[(steps >= objective.warmup) & (steps < lengths[:, None])]
    off = off[~np.isnan(off).all(axis=1)]
    if not len(off) or not np.isfinite(np.nan_to_num(off)).all() or np.isnan(off).all(axis=0).any():
        return {}
    return {"intervals": residual_intervals(off) | {"residuals": len(off)}}


def first_state(saved: Any, batch_shape: tuple[int, ...] = ()) -> Any:
    """`Saved.first_state`."""
    state = saved.cell.initial_state(saved.params, batch_shape)
    columns = (saved.metadata.get("scaling") or {}).get("change")
    return (state, jnp.full((*batch_shape, len(columns)), jnp.nan)) if columns else state


def stepper(saved: Any, scaled: bool = False) -> Callable[[Any, Any, Any], tuple[Any, Array]]:
    """`Saved.stepper`."""
    objective, maps = saved.objective, None if scaled else saved.metadata.get("scaling")
    if not isinstance(objective, Objective):
        raise InputError("objective", f"a {type(objective).__name__}", "a model that was saved with an `Objective`")
    series = saved.metadata.get("series")
    columns = (maps or {}).get("change", [])

    def one(weights: Any, state: Any, x: Any) -> tuple[Any, Array]:
        x, dtype = jnp.asarray(x), jnp.result_type(*jax.tree.leaves(weights["cell"]))
        level = before = None
        if columns:
            state, before = state
            level = x[..., jnp.array(columns)]
            moved = jnp.where(jnp.isnan(before), jnp.zeros_like(level), level - before.astype(level.dtype))
            x = x.at[..., jnp.array(columns)].set(moved)
        if maps:
            x = (x - like(maps["input_mean"], x)) / like(maps["input_spread"], x)
        state, y = step(saved.cell, weights["cell"], state, x.astype(dtype))
        z = objective.head(weights["loss"], y)
        if objective.classifies or objective.labels:
            return state, objective.probabilities(z)
        if maps:
            z = z * like(maps["output_spread"], z) + like(maps["output_mean"], z)
        z = z.reshape(*z.shape[:-1], series["horizon"], -1) if series else z
        if level is None or before is None:
            return state, z
        return (state, level.astype(before.dtype)), z + jnp.broadcast_to(level[..., None, :].astype(z.dtype), z.shape)

    def like(constants: list[float], array: Array) -> Array:
        return jnp.broadcast_to(jnp.asarray(constants, array.dtype), array.shape[:-1] + (len(constants),))

    return one
