"""What users hand to this room, checked before anything is traced: arrays, weights, objectives, batches."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jrnn.types import InputError


def holds_numbers(dtype: Any) -> bool:
    """Whether JAX can have arrays of this dtype (no keys): bool, integers, and floats of up to 64 bits a part."""
    widest = 16 if jnp.issubdtype(dtype, jnp.complexfloating) else 8
    is_number = jnp.issubdtype(dtype, jnp.number) and np.dtype(dtype).itemsize <= widest
    return is_number or jnp.issubdtype(dtype, jnp.bool_)


def numbers(name: str, value: Any) -> np.ndarray:
    """The value as a NumPy array of numbers, or InputError."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # nested lists of unequal lengths, PRNG keys
        raise InputError(name, f"{type(value).__name__} {value!r:.60}", "an array of numbers") from None
    if not holds_numbers(array.dtype):
        raise InputError(name, f"{array.dtype}{list(array.shape)}", "an array of numbers")
    return array


def leaves_of(name: str, tree: Any) -> list[tuple[str, Any]]:
    """(path, leaf) of a pytree, or InputError where dict keys have no order."""
    try:
        return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]
    except (TypeError, ValueError) as error:
        raise InputError(name, f"a tree that JAX cannot sort ({error})", "dicts whose keys are all text") from None


def check_arrays(name: str, tree: Any, place: str = "") -> None:
    """InputError unless every leaf is a number, an array of numbers, or PRNG keys."""
    for path, leaf in leaves_of(name, tree):
        plain = isinstance(leaf, bool | float | complex) or (isinstance(leaf, int) and abs(leaf) < 2**63)
        is_array = isinstance(leaf, jax.Array | np.ndarray | np.generic)
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            continue
        if not plain and not (is_array and holds_numbers(leaf.dtype)):
            given = f"{leaf.dtype}{list(leaf.shape)}" if is_array else f"a {type(leaf).__name__}"
            raise InputError(name, f"{given} at {path or 'the top'}{place}", "arrays of numbers only")


def check_known(name: str, tree: Any) -> None:
    """`check_arrays`, and no traced ones."""
    for path, leaf in leaves_of(name, tree):
        if isinstance(leaf, Tracer):
            raise InputError(name, f"a traced value at {path or 'the top'}", "known values, outside `jit` and the like")
    check_arrays(name, tree)


def check_weights(name: str, tree: Any) -> None:
    """InputError unless every leaf is a floating-point array, since all are trained."""
    check_arrays(name, tree)
    for path, leaf in leaves_of(name, tree):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            given = f"{jnp.result_type(leaf)} at {path or 'the top'}"
            raise InputError(name, given, "floating-point arrays, since all are trained")


def check_objective(objective: Any, name: str = "objective") -> None:
    """InputError unless it can be called as loss(loss_params, unrolled, batch)."""
    check_function(name, objective, 3, "an `Objective`, or a function loss(loss_params, unrolled, batch)")


def check_function(name: str, function: Any, arguments: int, needed: str) -> None:
    """InputError unless it can be called with this number of positional arguments."""
    if isinstance(function, type) or not callable(function):
        given = f"the class {function.__name__}" if isinstance(function, type) else f"a {type(function).__name__}"
        raise InputError(name, given, needed)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-in functions may not tell
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        raise InputError(name, f"a function of {signature}", needed) from None


def check_batch(name: str, batch: Any, shapes: str, place: str = "") -> dict[str, Any]:
    """The arrays of a batch that are there, or InputError; `place` says which batch: " as chunk 3"."""
    if not isinstance(batch, Mapping) or "x" not in batch or not all(isinstance(key, str) for key in batch):
        given = f"the keys {[*batch]}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
        raise InputError(name, given + place, f'a mapping {{"x": {shapes}, "y": ...}}')
    there = {key: value for key, value in batch.items() if value is not None}
    check_arrays(name, there, place)
    return there
