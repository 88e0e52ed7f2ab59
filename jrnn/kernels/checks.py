"""What the array functions are given, checked before compiled code reads it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jrnn.kernels.problem import GATES, Events, Weights
from jrnn.types import Array, InputError, Shape


def check_weights(weights: Weights) -> None:
    """InputError unless the kind is known and its arrays are there, fit each other and have one dtype."""
    if not isinstance(weights, Weights):
        raise InputError(
            "weights", f"a {type(weights).__name__}", "jrnn.kernels.Weights, as `cell.kernel(params)` makes"
        )
    if not isinstance(weights.kind, str) or weights.kind not in GATES:
        raise InputError("weights.kind", repr(weights.kind), f"one of {tuple(GATES)}")
    for name in ("w_in", "w_rec", "bias"):
        check_real(f"weights.{name}", getattr(weights, name))
    if weights.bias_rec is not None:
        check_real("weights.bias_rec", weights.bias_rec)
    inside = weights.kind == "gru"
    if inside != (weights.bias_rec is not None):
        need = "[H], as the reset comes after the product" if inside else f"None, as a {weights.kind} has no such bias"
        raise InputError("weights.bias_rec", "None" if weights.bias_rec is None else "an array", need)
    units, features = weights.w_rec.shape[:1], weights.w_in.shape[:1]
    if not (units and features):
        raise InputError("weights", "a number for a matrix", "w_in [F, G H], w_rec [H, G H], bias [G H]")
    wide = (GATES[weights.kind] * units[0],)
    shapes = {
        "w_rec": units if weights.kind == "linear" else units + wide,
        "w_in": features + wide,
        "bias": wide,
        "bias_rec": units,
    }
    for name, shape in shapes.items():
        array = getattr(weights, name)
        if array is not None and (array.shape, array.dtype) != (shape, weights.w_rec.dtype):
            need = f"{weights.w_rec.dtype}{list(shape)}, to go with w_rec {list(weights.w_rec.shape)}"
            raise InputError(f"weights.{name}", f"{array.dtype}{list(array.shape)}", need)


def check_states(kind: str, name: str, arrays: tuple[Array, ...] | None, shape: Shape) -> None:
    """InputError unless they are h, or the LSTM's (h, c), of this shape; None will do."""
    if arrays is None:
        return
    needed = ("h", "c") if kind == "lstm" else ("h",)
    if not isinstance(arrays, tuple | list):
        raise InputError(name, f"a {type(arrays).__name__}", f"a tuple of {len(needed)}: {', '.join(needed)}")
    if len(arrays) != len(needed):
        raise InputError(name, f"{len(arrays)} arrays", f"{len(needed)}: {', '.join(needed)}")
    for array in arrays:
        check_shape(name, array, shape)


def check_shape(name: str, array: Array, shape: Shape) -> None:
    """InputError unless the array is of real numbers and has this shape."""
    check_real(name, array)
    if array.shape != shape:
        raise InputError(name, f"shape {array.shape}", f"{shape}, to go with the weights and the batch")


def check_real(name: str, array: Any) -> None:
    """InputError unless it is an array of real numbers."""
    dtype = getattr(array, "dtype", None)
    if dtype is None or not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer)):
        given = f"a {type(array).__name__}" if dtype is None else f"dtype {dtype}"
        raise InputError(name, given, "an array of real numbers")


def check_sizes(steps: Any, batch_shape: Any) -> None:
    """InputError unless they are T > 0 and a tuple of sizes; in an exported program they may be symbols."""
    if steps is None or isinstance(steps, bool | str | float) or steps < 1:
        raise InputError("steps", repr(steps), "1 or more; without steps the last state is the first")
    if not isinstance(batch_shape, tuple) or any(isinstance(n, str | float | bool) for n in batch_shape):
        raise InputError("batch_shape", repr(batch_shape), "a tuple of sizes, () for one sequence")


def check_events(events: Events, shape: Shape) -> None:
    """InputError unless they are of bool, [T, *B] or [T]."""
    if not isinstance(events, Events):
        raise InputError("events", f"a {type(events).__name__}", "jrnn.kernels.Events")
    for name, flags in events._asdict().items():
        if flags is not None and not hasattr(flags, "dtype"):
            raise InputError(f"events.{name}", f"a {type(flags).__name__}", "an array of bool")
        if flags is not None and (str(flags.dtype) != "bool" or flags.shape not in (shape, shape[:1])):
            raise InputError(f"events.{name}", f"{flags.dtype}{list(flags.shape)}", f"bool{list(shape)} or [T]")
