"""The user's data in three parts: to train on, to choose by, and to compare the finalists on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jrnn.training.batches import check_cases, time_major
from jrnn.types import InputError

CHOICE, FINAL = 0.15, 0.2
"""Shares of the cases that are held out."""
MOST = 512
"""Held-out cases that are evaluated at most, evenly spread."""
FAR = 2**20
"""A function data(step) is asked for held-out batches from these steps on, FAR for the choice and 2 FAR for the final;
it is trained on far fewer."""


class Parts(NamedTuple):
    """Arrays of cases, or for `train` a user's function of the step."""

    train: Any
    choice: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    steps: int
    """T."""
    floor: float | None
    """The plateau of a task with a known answer, or the loss of the best constant answer on the final cases; None where
    the objective does not tell."""


def parts_of(data: Any, objective: Any, batch_size: int, seed: int) -> Parts:
    """The three parts. A data set (`jrnn.data`) keeps its held-out cases for the final; where it is split by time, so
    is the choice; of arrays, cases are drawn at random.

    Raises:
      InputError: the data fit no objective, or there are too few cases to hold some out.
    """
    if callable(data) and not isinstance(data, Mapping):
        return generated(data, objective, batch_size)
    if isinstance(data, Mapping):
        arrays, train, final = check_cases(data, objective), None, None
    elif all(hasattr(data, name) for name in ("subset", "train", "test", "x")):
        train, final = np.asarray(data.train), np.asarray(data.test)
        arrays = check_cases(data.subset(np.arange(len(data.x))), objective)
    else:
        needed = (
            "a data set of jrnn.data, a mapping of arrays {'x': [cases, T, F], 'y': ...}, or a function of the step"
        )
        raise InputError("data", f"a {type(data).__name__}", needed)
    cases = len(arrays["x"])
    if cases < 10:
        raise InputError("data", f"{cases} cases", "at least 10, of which some are held out")
    rng = np.random.default_rng(seed)
    if train is None or final is None:
        order = rng.permutation(cases)
        count = max(2, round(FINAL * cases))
        final, train = order[:count], order[count:]
    choice = np.asarray(getattr(data, "validation", ()), int)
    if not len(choice):
        rest = train if train.max() < final.min() else rng.permutation(train)
        count = max(1, round(CHOICE * len(rest)))
        train, choice = rest[:-count], rest[-count:]

    def take(rows: np.ndarray, most: int | None = None) -> dict[str, np.ndarray]:
        if most is not None and len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
        return {name: array[rows] for name, array in arrays.items()}

    last, floor = take(final, MOST), getattr(data, "plateau", None)
    floor = constant_loss(objective, last) if floor is None else floor
    return Parts(take(np.sort(train)), take(choice, MOST), last, arrays["x"].shape[1], floor)


def generated(data: Callable[[int], Any], objective: Any, batch_size: int) -> Parts:
    """Of a function data(step) -> batch: held-out cases are those of steps that no run trains on."""
    each = bool(getattr(objective, "each", False))

    def held_out(first: int) -> dict[str, np.ndarray]:
        drawn: list[dict[str, Any]] = []
        while sum(len(batch["x"]) for batch in drawn) < MOST // 2 and len(drawn) < MOST:
            batch = {name: array for name, array in data(first + len(drawn)).items() if array is not None}
            drawn.append(time_major(batch, each))
        return {name: np.concatenate([np.asarray(batch[name]) for batch in drawn]) for name in drawn[0]}

    final = held_out(2 * FAR)
    return Parts(data, held_out(FAR), final, final["x"].shape[1], constant_loss(objective, final))


def constant_loss(objective: Any, arrays: Mapping[str, np.ndarray]) -> float | None:
    """The loss of the best answer that is the same for every case: the entropy of the classes, or the variance.

    -sum_c p_c ln p_c with the frequencies p_c, or the mean over outputs of the mean of (y - mean y)^2, over what the
    objective counts; None for an objective that is no `Objective`.
    """
    if not hasattr(objective, "classifies") or "y" not in arrays:
        return None
    x, y = arrays["x"], np.asarray(arrays["y"])
    valid = np.ones(x.shape[:2], bool)
    if "lengths" in arrays:
        valid = np.arange(x.shape[1]) < np.asarray(arrays["lengths"])[:, None]
    if objective.each:
        valid[:, : getattr(objective, "warmup", 0)] = False
    counted = y[valid] if objective.each else y[valid.any(axis=1)]
    if objective.classifies:
        share = np.bincount(counted, minlength=objective.outputs) / max(len(counted), 1)
        return float(-np.sum(share[share > 0] * np.log(share[share > 0])))
    return float(np.mean(np.var(counted.reshape(len(counted), -1), axis=0)))
