"""Answers to measure the data's lag profile on: some cases and times of the user's data."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jrnn.prescribing.splitting import Parts
from jrnn.types import UNKNOWN

ANSWERS, FEWEST_CASES, VALUES = 2048, 64, 2**24
"""Answers at most; cases at least, if there are; values of x at most beyond those."""
BATCHES = 32
"""Of a function of the step, that are looked at."""


class Samples(NamedTuple):
    """Answers, with the sequences that they are about."""

    x: np.ndarray
    """[cases, T, F]."""
    cases: np.ndarray
    """[n]: whose answer, in ascending order."""
    times: np.ndarray
    """[n]: the step at which it is asked for."""
    y: np.ndarray
    """[n, K]: numbers, or classes as one-hot vectors."""


def samples_of_parts(parts: Parts, objective: Any, lag: int) -> tuple[Samples, Samples] | None:
    """(answers trained on, answers to choose by); None where it is not known what is asked: a loss of the user's own,
    inputs that are no numbers [T, B, F], resets or masks."""
    if not hasattr(objective, "scored"):
        return None
    if callable(parts.train):
        data: Callable[[int], Any] = parts.train
        first = data(0)
        if not plain(first, ("x", "y", "lengths")):
            return None
        wanted = min(BATCHES, -(-ANSWERS // max(np.shape(first["x"])[1], 1)))
        batches = [first, *map(data, range(1, wanted))]
        train = joined([cases_first(batch, objective) for batch in batches])
    else:
        train = parts.train
    if not plain(train, ("x", "y", "lengths")) or not plain(parts.choice, ("x", "y", "lengths"), 4):
        return None
    count = len(parts.choice["x"])
    batches = [{name: array[i] for name, array in parts.choice.items()} for i in range(count)]
    choice = joined([cases_first(batch, objective) for batch in batches])
    return samples_of(train, objective, lag), samples_of(choice, objective, lag, once=parts.by_time)


def plain(arrays: Any, known: tuple[str, ...], axes: int = 3) -> bool:
    """Whether these are inputs [cases, T, F] (with so many axes) and targets, and nothing else."""
    if not isinstance(arrays, Mapping) or "y" not in arrays:
        return False
    given = {name for name, array in arrays.items() if array is not None}
    x: Any = arrays.get("x")
    return given <= set(known) and getattr(x, "ndim", 0) == axes and x.dtype != object


def cases_first(batch: Mapping[str, Any], objective: Any) -> dict[str, np.ndarray]:
    """A time-major batch with the cases first."""
    turned = {"x": True, "y": objective.each, "lengths": False}
    arrays = {name: np.asarray(array) for name, array in batch.items() if array is not None}
    return {name: np.swapaxes(array, 0, 1) if turned[name] else array for name, array in arrays.items()}


def joined(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Batches as one."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def samples_of(arrays: Mapping[str, Any], objective: Any, lag: int, once: bool = False) -> Samples:
    """Some answers with at least `lag` steps before them, evenly spread over cases and times.

    Args:
      once: one answer a case: of windows of one series, others repeat those of their neighbours.
    """
    x, y = np.asarray(arrays["x"]), np.asarray(arrays["y"])
    cases, steps, features = x.shape
    most = max(FEWEST_CASES, VALUES // max(steps * features, 1))
    kept = np.unique(np.linspace(0, cases - 1, min(cases, most, ANSWERS)).round().astype(int))
    lengths = np.asarray(arrays["lengths"])[kept] if "lengths" in arrays else np.full(len(kept), steps)
    x, y = x[kept].astype(np.float32), y[kept]
    if "lengths" in arrays:  # padding may hold anything
        there = (np.arange(steps) < lengths[:, None])[..., None]
        x = np.where(there, x, x.mean(axis=(0, 1), where=there) if there.any() else 0)
    earliest = max(lag, objective.warmup)
    rows, times = [], []
    rng, each = np.random.default_rng(0), 1 if once else max(1, ANSWERS // max(len(kept), 1))
    for row, length in enumerate(lengths):
        asked = np.arange(earliest if objective.each else max(earliest, length - 1), length)
        asked = asked if len(asked) <= each else np.sort(rng.choice(asked, each, replace=False))
        rows.append(np.full(len(asked), row))
        times.append(asked)
    of_case, at = np.concatenate(rows), np.concatenate(times)
    target = y[of_case, at] if objective.each else y[of_case]
    if getattr(objective, "missing", False):
        known = target != UNKNOWN if objective.classifies else ~np.isnan(target).reshape(len(target), -1).any(axis=1)
        of_case, at, target = of_case[known], at[known], target[known]
    if objective.classifies:
        target = np.eye(objective.outputs)[target.astype(int)]
    return Samples(x, of_case, at, target.reshape(len(of_case), -1).astype(np.float64))
