"""What the array functions are given, checked before compiled code reads it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jrnn.kernels.operands import Events
from jrnn.kernels.recurrences import RECURRENCES, Recurrence
from jrnn.types import Array, InputError, Shape


def own_weights(weights: Any) -> tuple[Recurrence, Any]:
    """(the recurrence that a cell's kernel names, its arrays); raises InputError unless it is known and they fit."""
    kind = getattr(weights, "kind", None)
    if not isinstance(weights, tuple) or kind is None:
        need = "jrnn.kernels.Weights, as `cell.kernel(params)` makes"
        raise InputError("weights", f"a {type(weights).__name__}", need)
    if not isinstance(kind, str) or kind not in RECURRENCES:
        raise InputError("weights.kind", repr(kind), f"one of {tuple(RECURRENCES)}")
    recurrence = RECURRENCES[kind]
    own: Any = recurrence.weights(*weights[1:])
    for name, array in own._asdict().items():
        if array is not None or name not in own._field_defaults:
            check_real(f"weights.{name}", array)
    recurrence.check(own)
    return recurrence, own


def check_states(parts: tuple[str, ...], name: str, arrays: tuple[Array, ...] | None, shape: Shape) -> None:
    """Raises InputError unless they are the parts of a state (h, or h and c), of this shape; None passes."""
    if arrays is None:
        return
    if not isinstance(arrays, tuple | list):
        raise InputError(name, f"a {type(arrays).__name__}", f"a tuple of {len(parts)}: {', '.join(parts)}")
    if len(arrays) != len(parts):
        raise InputError(name, f"{len(arrays)} arrays", f"{len(parts)}: {', '.join(parts)}")
    for array in arrays:
        check_shape(name, array, shape)


def check_shape(name: str, array: Array, shape: Shape) -> None:
    """Raises InputError unless the array is of real numbers and has this shape."""
    check_real(name, array)
    if array.shape != shape:
        raise InputError(name, f"shape {array.shape}", f"{shape}, to go with the weights and the batch")


def check_real(name: str, array: Any) -> None:
    """Raises InputError unless it is an array of real numbers."""
    dtype = getattr(array, "dtype", None)
    if dtype is None or not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer)):
        given = f"a {type(array).__name__}" if dtype is None else f"dtype {dtype}"
        raise InputError(name, given, "an array of real numbers")


def check_sizes(steps: Any, batch_shape: Any) -> None:
    """Raises InputError unless they are T > 0 and a tuple of sizes; in an exported program they may be symbols."""
    if steps is None or isinstance(steps, bool | str | float) or steps < 1:
        raise InputError("steps", repr(steps), "1 or more; without steps the last state is the first")
    if not isinstance(batch_shape, tuple) or any(isinstance(n, str | float | bool) for n in batch_shape):
        raise InputError("batch_shape", repr(batch_shape), "a tuple of sizes, () for one sequence")


def check_events(events: Events, shape: Shape) -> None:
    """Raises InputError unless they are of bool, [T, *B] or [T]."""
    if not isinstance(events, Events):
        raise InputError("events", f"a {type(events).__name__}", "jrnn.kernels.Events")
    for name, flags in events._asdict().items():
        if flags is not None and not hasattr(flags, "dtype"):
            raise InputError(f"events.{name}", f"a {type(flags).__name__}", "an array of bool")
        if flags is not None and (str(flags.dtype) != "bool" or flags.shape not in (shape, shape[:1])):
            raise InputError(f"events.{name}", f"{flags.dtype}{list(flags.shape)}", f"bool{list(shape)} or [T]")
