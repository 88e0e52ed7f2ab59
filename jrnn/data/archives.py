"""A user's own sequences from a .npz file; the task follows from the type and shape of `y`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jrnn.data.checks import describe, real_array, to_array, valid_lengths
from jrnn.data.dataset import Dataset, Task
from jrnn.data.labels import MOST_CLASSES, as_classes, one_hot
from jrnn.data.lags import information_lag, one_hot_symbols, period_lag, whole_sequence_lag
from jrnn.data.splits import random_split
from jrnn.data.zipped import arrays_of
from jrnn.types import InputError

FORMS = (
    "integers or texts [cases] or [cases, 1] (a class each), those [cases, time] (a class at each step), 0 and 1 "
    "[cases, K] or [cases, time, K] (K labels that are there or not; one-hot is none), floats [cases] or [cases, K] "
    "(numbers each), or floats [cases, time] or [cases, time, K] (numbers at each step)"
)


class Targets(NamedTuple):
    """What y was taken for."""

    task: Task
    y: np.ndarray
    outputs: int
    said: str = ""
    missing: bool = False
    classes: tuple[str, ...] = ()


def read_archive(
    path: Path, seed: int, tokens: int | None = None, missing: bool = False, classes: Sequence[str] | None = None
) -> Dataset:
    """A .npz file with x [cases, time, features] or [cases, time], y, and optionally lengths [cases].

    The task: y integers or texts [cases] or [cases, 1] -> classify; those [cases, T] -> classify_each; 0 and 1
    [cases, K] or [cases, T, K] -> label, label_each; floats [cases] or [cases, K] -> regress; floats [cases, T, K] ->
    regress_each. Where a second axis of T steps could be either, it is time. `source` says what was inferred.
    The split is random, by class for classify: cases cut from one series belong in a .csv file, where it is by time.

    Args:
      tokens: whether x are symbols: 0 for as many as there are, else how many; None for numbers.
      missing: whether NaN, and -100 among classes, is a target that is not known.
      classes: the names of a saved model's classes, by which labels are numbered.
    Raises:
      InputError: an unreadable file, arrays that are missing (with those found) or do not fit.
    """
    arrays = arrays_of(path, ("x", "y", "lengths"))
    lacking = [name for name in ("x", "y") if name not in arrays]
    if lacking:
        given_names = f"{path.name} with {', '.join(sorted(arrays)) or 'no arrays'}"
        raise InputError("--data", given_names, f"the array {' and '.join(lacking)} too (x and y, lengths if you like)")
    given, x, lengths = _inputs(arrays, tokens)
    cases, size, _ = x.shape
    found = _task_of(to_array("y", arrays["y"]), cases, size, lengths, missing, classes)
    parts = random_split(cases, seed, found.y if found.task == "classify" else None)
    # Checked before the lag is measured, which takes finite numbers for granted.
    draft = Dataset(
        path.name, x, found.y, lengths, found.task, found.outputs, *parts, min(1, size - 1), "not measured", "",
        missing=found.missing, classes=found.classes,
    )  # fmt: skip
    lag, reason = _lag_of(draft)
    source = f"The arrays of {path.name}: {_inferred(draft, given, found.said, tokens is not None)}."
    return replace(draft, lag=lag, lag_reason=reason, source=source)


def inputs_of(path: Path, tokens: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """x [cases, time, features] and lengths [cases] or None of a .npz file, for a network that is there already."""
    arrays = arrays_of(path, ("x", "lengths"))
    if "x" not in arrays:
        raise InputError("--data", f"{path.name} with {', '.join(sorted(arrays)) or 'no arrays'}", "the array x")
    return _inputs(arrays, tokens)[1:]


def _inputs(arrays: dict[str, np.ndarray], tokens: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(x as given, x [cases, time, features], lengths or None)."""
    given = to_array("x", arrays["x"])
    x = real_array("x", given[:, :, None] if given.ndim == 2 else given, ("cases", "time", "features"))
    lengths = valid_lengths(arrays["lengths"], *x.shape[:2]) if "lengths" in arrays else None
    return given, x if tokens is None else one_hot(given, tokens or None, lengths), lengths


def _task_of(
    y: np.ndarray,
    cases: int,
    steps: int,
    lengths: np.ndarray | None,
    missing: bool,
    classes: Sequence[str] | None = None,
) -> Targets:
    wrong = InputError("y", describe(y), f"for {cases} cases of {steps} steps: {FORMS}")
    if 0 in y.shape or y.shape[:1] != (cases,):
        raise wrong
    valid = np.arange(steps) < (np.full(cases, steps) if lengths is None else lengths)[:, None]
    if y.dtype.kind in "iubSU":
        if y.shape in ((cases,), (cases, 1)) and y.shape != (cases, steps):
            found = as_classes(y.reshape(cases), np.ones(cases, bool), missing, classes)
            return Targets("classify", found.y, len(found.names), found.said, found.missing, found.names)
        if y.shape == (cases, steps):
            found = as_classes(y, valid, missing, classes)
            return Targets("classify_each", found.y, len(found.names), found.said, found.missing, found.names)
        each = y.ndim == 3 and y.shape[1] == steps
        seen = y[valid] if each else y
        flags = y.dtype.kind in "iub" and (y.ndim == 2 or each) and bool(((seen == 0) | (seen == 1)).all())
        if not flags or (seen.sum(axis=-1) == 1).all():
            raise wrong
        return Targets("label_each" if each else "label", y.astype(np.float32), y.shape[-1])
    if y.dtype.kind != "f" or y.ndim > 3 or (y.ndim == 3 and y.shape[1] != steps):
        raise wrong
    gaps = missing and bool(np.isnan(y[valid] if y.shape[:2] == (cases, steps) else y).any())
    said = "missing targets are not scored" if gaps else ""
    if y.ndim == 3:
        return Targets("regress_each", y, y.shape[2], said, gaps)
    if y.ndim == 2 and y.shape[1] == steps:
        return Targets("regress_each", y[:, :, None], 1, said, gaps)
    y = y.reshape(cases, -1)
    return Targets("regress", y, y.shape[1], said, gaps)


def _inferred(data: Dataset, x: np.ndarray, numbered: str, tokens: bool) -> str:
    """What x and y were taken for, with the way out where they may mean something else."""
    whole = x.dtype.kind in "iu" and (x.ndim == 2 or x.shape[2] == 1) and (x >= 0).all()
    inputs = "; x as one number a step (--tokens reads it as symbols)" if whole else ""
    inputs = f"; x as symbols 0 to {data.x.shape[2] - 1}" if tokens else inputs
    anew = f" ({numbered})" if numbered else ""
    each = " of each step" if data.task.endswith("_each") else ""
    if data.task.startswith("classify"):
        return f"classification{each} into {data.outputs} classes{anew}{inputs}"
    if data.task.startswith("label"):
        return f"{data.outputs} labels{each}, each of them there or not{inputs}"
    numbers = f"{data.outputs} number{'s' if data.outputs > 1 else ''}"
    text = f"regression of {numbers} {'at each step' if data.task == 'regress_each' else 'per sequence'}{anew}"
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
    if data.task != "classify_each":
        return period_lag(x, steps, lengths)
    symbols = one_hot_symbols(x, lengths)
    if symbols is None:
        return max(0, steps - 1), "the inputs are not one-hot symbols, so the whole sequence: T - 1"
    # A missing label is a symbol of its own here.
    return information_lag(symbols, np.where(seen["y"] < 0, data.outputs, seen["y"]), lengths)
