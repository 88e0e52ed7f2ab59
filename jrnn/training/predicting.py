"""What a saved network answers: in the user's unit, with intervals from held-out residuals."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.training.answers import answers
from jrnn.training.arguments import numbers
from jrnn.training.batches import check_finite
from jrnn.training.intervals import LEVELS, interval_ends
from jrnn.training.objectives import Objective
from jrnn.types import Array, InputError
from jrnn.unrolling import step
from jrnn.wording import brief, percentage


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


def predict(
    saved: Any, x: Any, lengths: Any = None, level: float = 0.9, scaled: bool = False, gap: Any = 0
) -> Forecast:
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
    gaps = gaps_of(given, series, gap)
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
    horizon = series["horizon"] if series else None
    ends = [values + end for end in interval_ends(kept, level, gaps, horizon or 1)] if kept else [None, None]

    def shaped(array: np.ndarray | None) -> np.ndarray | None:
        if array is None:
            return None
        array = array if horizon is None else array.reshape(*array.shape[:-1], horizon, -1)
        return array[0] if alone else array

    return Forecast(*(shaped(array) for array in (values, *ends)), level)  # type: ignore[arg-type]


def gaps_of(x: np.ndarray, series: Any, gap: Any) -> np.ndarray:
    """int [cases, T, K]: how many of the newest values of each target are missing at each step, by the marks in x
    [cases, T, F] and by `gap`; 0 [1] for what is no series."""
    if not series:
        if np.any(gap):
            raise InputError("gap", repr(gap), "0 for a model that forecasts no series")
        return np.zeros(1, int)
    steps, names, at = x.shape[1], series["targets"], {name: i for i, name in enumerate(series["masked"])}
    late = np.asarray(gap)
    if late.dtype.kind not in "iu" or late.shape not in ((), (len(names),)) or (late < 0).any():
        raise InputError("gap", repr(gap), f"a number of steps, or one for each of {', '.join(names)}")
    missing = np.zeros((*x.shape[:2], len(names)), bool)
    for k, name in enumerate(names):
        if name in at:
            missing[..., k] = x[..., len(series["inputs"]) + at[name]] > 0.5
    time = np.arange(steps)[:, None]
    last = np.maximum.accumulate(np.where(missing, -1, time), axis=1)
    return np.maximum(time - last, late - (steps - 1 - time))


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
