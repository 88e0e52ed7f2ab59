"""A user's own sequences from a .npz file; the task follows from the type and shape of `y`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from jrnn.data.checks import describe, real_array, to_array, valid_lengths
from jrnn.data.dataset import Dataset, Task
from jrnn.data.labels import MOST_CLASSES, as_classes
from jrnn.data.lags import information_lag, one_hot_symbols, period_lag, whole_sequence_lag
from jrnn.data.splits import random_split
from jrnn.data.zipped import arrays_of
from jrnn.types import InputError

FORMS = (
    "integers [cases] or [cases, 1] (a class each), integers [cases, time] (a class at each step), floats [cases] or "
    "[cases, K] (numbers each), or floats [cases, time] or [cases, time, K] (numbers at each step)"
)


def read_archive(path: Path, seed: int) -> Dataset:
    """A .npz file with x [cases, time, features] or [cases, time], y, and optionally lengths [cases].

    The task: y integers [cases] or [cases, 1] -> classify; integers [cases, T] -> classify_each; floats [cases] or
    [cases, K] -> regress; floats [cases, T, K] -> regress_each. Where a second axis of T steps could be either, it is
    time. `source` says what was inferred.
    The split is random, by class for classify: cases cut from one series belong in a .csv file, where it is by time.

    Raises:
      InputError: an unreadable file, arrays that are missing (with those found) or do not fit.
    """
    arrays = arrays_of(path, ("x", "y", "lengths"))
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        given_names = f"{path.name} with {', '.join(sorted(arrays)) or 'no arrays'}"
        raise InputError("--data", given_names, f"the array {' and '.join(missing)} too (x and y, lengths if you like)")
    given = to_array("x", arrays["x"])
    x = real_array("x", given[:, :, None] if given.ndim == 2 else given, ("cases", "time", "features"))
    cases, size, _ = x.shape
    lengths = valid_lengths(arrays["lengths"], cases, size) if "lengths" in arrays else None
    task, y, outputs, numbered = _task_of(to_array("y", arrays["y"]), cases, size, lengths)
    parts = random_split(cases, seed, y if task == "classify" else None)
    # Checked before the lag is measured, which takes finite numbers for granted.
    draft = Dataset(path.name, x, y, lengths, task, outputs, *parts, min(1, size - 1), "not measured", "")
    lag, reason = _lag_of(draft)
    return replace(
        draft, lag=lag, lag_reason=reason, source=f"The arrays of {path.name}: {_inferred(draft, given, numbered)}."
    )


def inputs_of(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """x [cases, time, features] and lengths [cases] or None of a .npz file, for a network that is there already."""
    arrays = arrays_of(path, ("x", "lengths"))
    if "x" not in arrays:
        raise InputError("--data", f"{path.name} with {', '.join(sorted(arrays)) or 'no arrays'}", "the array x")
    given = to_array("x", arrays["x"])
    x = real_array("x", given[:, :, None] if given.ndim == 2 else given, ("cases", "time", "features"))
    return x, valid_lengths(arrays["lengths"], *x.shape[:2]) if "lengths" in arrays else None


def _task_of(y: np.ndarray, cases: int, steps: int, lengths: np.ndarray | None) -> tuple[Task, np.ndarray, int, str]:
    wrong = InputError("y", describe(y), f"for {cases} cases of {steps} steps: {FORMS}")
    if 0 in y.shape or y.shape[:1] != (cases,):
        raise wrong
    if y.dtype.kind in "iub":
        if y.shape not in ((cases,), (cases, 1), (cases, steps)):
            raise wrong
        if y.ndim == 1 or y.shape != (cases, steps):
            return "classify", *as_classes(y.reshape(cases), np.ones(cases, bool))
        valid = np.arange(steps) < (np.full(cases, steps) if lengths is None else lengths)[:, None]
        return "classify_each", *as_classes(y, valid)
    if y.dtype.kind != "f" or y.ndim > 3 or (y.ndim == 3 and y.shape[1] != steps):
        raise wrong
    if y.ndim == 3:
        return "regress_each", y, y.shape[2], ""
    if y.ndim == 2 and y.shape[1] == steps:
        return "regress_each", y[:, :, None], 1, ""
    y = y.reshape(cases, -1)
    return "regress", y, y.shape[1], ""


def _inferred(data: Dataset, x: np.ndarray, numbered: str) -> str:
    """What x and y were taken for, with the way out where they may mean something else."""
    tokens = x.dtype.kind in "iu" and data.x.shape[2] == 1 and (x >= 0).all()
    inputs = "; x as one number a step (tokens are stored one-hot: np.eye(kinds)[x])" if tokens else ""
    if data.task.startswith("classify"):
        each = " of each step" if data.task == "classify_each" else ""
        anew = f" ({numbered})" if numbered else ""
        return f"classification{each} into {data.outputs} classes{anew}{inputs}"
    numbers = f"{data.outputs} number{'s' if data.outputs > 1 else ''}"
    text = f"regression of {numbers} {'at each step' if data.task == 'regress_each' else 'per sequence'}"
    like_labels = data.outputs == 1 and ((data.y == np.floor(data.y)) & (data.y >= 0) & (data.y < MOST_CLASSES)).all()
    return text + ("; store y as integers to classify" if like_labels else "") + inputs


def _lag_of(data: Dataset) -> tuple[int, str]:
    """The lag by the task: over all cases where only inputs are looked at, else over the training cases."""
    steps = data.x.shape[1]
    chosen = data.train if data.task.endswith("_each") else np.arange(len(data.x))
    # A case without a step says nothing about lags.
    seen = data.subset(chosen if data.lengths is None else chosen[data.lengths[chosen] > 0])
    x, lengths = seen["x"], seen.get("lengths")
    if not data.task.endswith("_each"):
        return whole_sequence_lag(x, lengths)
    if data.task == "regress_each":
        return period_lag(x, steps, lengths)
    symbols = one_hot_symbols(x, lengths)
    if symbols is None:
        return max(0, steps - 1), "the inputs are not one-hot symbols, so the whole sequence: T - 1"
    return information_lag(symbols, seen["y"], lengths)
