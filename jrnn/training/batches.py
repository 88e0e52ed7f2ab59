"""Minibatches: each one a pure function of (seed, step), so that any step can be repeated."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.training.arguments import check_batch, numbers
from jrnn.training.random_streams import RandomStream, stream_key
from jrnn.types import UNKNOWN, Array, InputError

OVER_TIME = ("x", "resets", "mask")  # [cases, T, ...] in the data, [T, B, ...] in a batch


class Cases:
    """Arrays of cases in memory. Each epoch is a new permutation; no case is drawn twice in one, none is left out.

    Draw number d (step * B + position in the batch) is case perm[d // cases][d % cases]: a batch may span two epochs.
    """

    def __init__(self, data: Mapping[str, Any], objective: Any, batch_size: int, seed: int):
        self.host = check_cases(data, objective)
        self.each = bool(getattr(objective, "each", False))
        self.cases = len(self.host["x"])
        self.batch_size = min(batch_size, self.cases)
        self.key = stream_key(seed, RandomStream.BATCHES)
        self.device = jax.device_put(self.host, may_alias=False)
        self.drawn: tuple[int, Array] | None = None

    def for_seed(self, seed: int) -> Cases:
        """The same cases in the orders of another seed."""
        other = copy.copy(self)
        other.key, other.drawn = stream_key(seed, RandomStream.BATCHES), None
        return other

    def arguments(self, step: int) -> tuple[Any, Array, Any]:
        """What `batch` needs for this step, on the device."""
        epoch, offset = divmod(step * self.batch_size, self.cases)
        if self.drawn is None or self.drawn[0] != epoch:
            self.drawn = epoch, two_epochs(self.key, epoch, self.cases)
        return self.device, self.drawn[1], np.int32(offset)

    def batch(self, arguments: tuple[Any, Array, Any]) -> dict[str, Array]:
        """The batch, time-major; traceable."""
        arrays, order, offset = arguments
        rows = jax.lax.dynamic_slice_in_dim(order, offset, self.batch_size)
        return time_major({name: jnp.take(array, rows, axis=0) for name, array in arrays.items()}, self.each)

    def describe(self) -> dict[str, Any]:
        return {"cases": self.cases, "shape": list(self.host["x"].shape), "digest": digest(self.host)}


class Generated:
    """Batches from a function: data(step) -> {"x": [T, B, F], "y": ..., ...}, a pure function of the step."""

    batch_size = None

    def __init__(self, data: Callable[..., Any]):
        self.data = data

    def for_seed(self, seed: int) -> Generated:
        """The same: a function of the step alone."""
        return self

    def arguments(self, step: int) -> dict[str, Any]:
        return check_batch("data", self.data(step), "[T, B, F]", f" from data({step})")

    def batch(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return arguments

    def describe(self) -> dict[str, Any]:
        name = (
            f"{getattr(self.data, '__module__', '')}.{getattr(self.data, '__qualname__', type(self.data).__qualname__)}"
        )
        return {"function": name, "digest": digest(self.arguments(0))}


@partial(jax.jit, static_argnums=2)
def two_epochs(key: Array, epoch: int, cases: int) -> Array:
    """[2 * cases]: the permutation of this epoch, then that of the next."""
    keys = [jax.random.fold_in(key, epoch + i) for i in (0, 1)]
    return jnp.concatenate([jax.random.permutation(k, cases) for k in keys])


def source_of(data: Any, objective: Any, batch_size: int, seed: int) -> Cases | Generated:
    """Where `fit` draws its batches from."""
    if isinstance(data, Mapping):
        return Cases(data, objective, batch_size, seed)
    if callable(data):
        return Generated(data)
    raise InputError(
        "data",
        f"a {type(data).__name__}",
        'a mapping {"x": [cases, T, F], "y": ...}, or a function data(step) -> batch',
    )


def time_major(arrays: Mapping[str, Any], each: bool) -> dict[str, Any]:
    """Arrays of cases [B, ...] as a batch: what runs over time becomes [T, B, ...]."""
    names = (*OVER_TIME, "y") if each else OVER_TIME
    return {name: array.swapaxes(0, 1) if name in names else array for name, array in arrays.items()}


def check_cases(data: Mapping[str, Any], objective: Any) -> dict[str, np.ndarray]:
    """The arrays of `data`, or InputError that names the array and says what is wrong, and where."""
    unknown = set(data) - {"x", "y", "lengths", "resets", "mask"}
    if unknown or data.get("x") is None:
        given = f"the keys {sorted(map(str, data))}" if unknown or "x" not in data else "None as x"
        raise InputError("data", given, "x, and where they exist y, lengths, resets, mask")
    arrays = {name: numbers(f"data['{name}']", value) for name, value in data.items() if value is not None}
    x, y, lengths = arrays["x"], arrays.get("y"), arrays.get("lengths")
    if x.ndim < 2 or len(x) == 0:
        raise InputError("data['x']", f"{x.dtype}{list(x.shape)}", "numbers [cases, T, F], at least one case")
    for name, array in arrays.items():
        if array.ndim < 1 or len(array) != len(x):
            raise InputError(f"data['{name}']", f"shape {list(array.shape)}", f"{len(x)} cases first, as x has")
    steps = x.shape[1]
    for name in ("resets", "mask"):
        if name in arrays and arrays[name].shape != x.shape[:2]:
            raise InputError(f"data['{name}']", f"shape {list(arrays[name].shape)}", f"{list(x.shape[:2])}, as x has")
    if lengths is not None:
        if lengths.ndim != 1 or not np.issubdtype(lengths.dtype, np.integer):
            raise InputError("data['lengths']", f"{lengths.dtype}{list(lengths.shape)}", "one integer a case")
        bad = (lengths < 0) | (lengths > steps)
        if bad.any():
            case = int(bad.argmax())
            raise InputError("data['lengths']", f"{lengths[case]} for case {case}", f"lengths from 0 to T = {steps}")
    valid: np.ndarray = np.ones(x.shape[:2], bool)
    if lengths is not None:
        valid = np.asarray(np.arange(steps)[None] < lengths[:, None])
    check_finite("data['x']", x, valid)
    if hasattr(objective, "check_targets"):
        if y is None:
            raise InputError("data['y']", "none", f"targets, for {objective.task}")
        lead = valid.shape if objective.each else valid.shape[:1]
        objective.check_targets(y, lead)
        counted: np.ndarray = valid if objective.each else np.asarray(valid.any(axis=1))
        if getattr(objective, "missing", False):
            check_finite("data['y']", np.nan_to_num(y, nan=0.0, posinf=np.inf, neginf=-np.inf), counted)
            counted = counted & (y != UNKNOWN) if objective.classifies else counted
        else:
            check_finite("data['y']", y, counted)
        if objective.labels and not np.isin(np.nan_to_num(y[counted]), (0, 1)).all():
            raise InputError("data['y']", "numbers beside 0 and 1", f"0 or 1 for each label, for {objective.task}")
        if (
            objective.classifies
            and y[counted].size
            and not (y[counted].min() >= 0 and y[counted].max() < objective.outputs)
        ):
            case = np.argwhere(counted & ((y < 0) | (y >= objective.outputs)))[0]
            given = f"the class {y[tuple(case)]} for case {case[0]}" + (f", step {case[1]}" if objective.each else "")
            raise InputError("data['y']", given, f"classes from 0 to {objective.outputs - 1}")
    return arrays


def check_finite(name: str, array: np.ndarray, counted: np.ndarray) -> None:
    """InputError with the place of the first NaN or Inf among what counts."""
    if np.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        return
    wide = counted.reshape(counted.shape + (1,) * (array.ndim - counted.ndim))
    bad = ~np.isfinite(array) & wide
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(name, f"{array[place]} at {list(place)} ({int(bad.sum())} such numbers)", "finite numbers")


def digest(tree: Any) -> str:
    """A short hash of every array: names, shapes, dtypes and bytes."""
    total = hashlib.blake2b(digest_size=8)
    for path, leaf in jax.tree_util.tree_flatten_with_path(dict(tree))[0]:
        array = np.ascontiguousarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)}{array.dtype}{np.shape(leaf)}".encode())
        total.update(array.tobytes())
    return total.hexdigest()
