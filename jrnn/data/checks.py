"""Checks of arrays given by a user: each returns the array in its final type or raises an `InputError`."""

from __future__ import annotations

import numpy as np

from jrnn.types import UNKNOWN, InputError


def describe(array: np.ndarray) -> str:
    """For example `an int64 array of shape [3, 4]`."""
    kinds = {"O": "Python object", "S": "text", "U": "text", "V": "structured" if array.dtype.names else "raw-bytes"}
    name = kinds.get(array.dtype.kind, array.dtype.name)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} array of shape {list(array.shape)}"


def error_text(error: Exception) -> str:
    """What an error says, in one line of at most 160 characters; its type where it says nothing."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def to_array(argument: str, value: object) -> np.ndarray:
    """`value` as an array in this machine's byte order, small floats (bfloat16, float8) as float32.

    Raises:
      InputError: NumPy cannot make one (ragged lists, a tensor that needs a gradient), or its type was lost in a file.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind == "V" and array.dtype.type is not np.void:  # the types that JAX adds to NumPy's
            array = array.astype(np.float32)
        elif not array.dtype.isnative and array.dtype.names is None:
            array = array.astype(array.dtype.newbyteorder("="))
    except Exception as error:  # __array__ is foreign code
        raise InputError(argument, f"{type(value).__name__} ({error_text(error)})", "an array of numbers") from error
    if array.dtype.kind == "V" and array.dtype.names is None:
        given = f"{describe(array)}, {array.dtype.itemsize} bytes each (bfloat16 is saved so)"
        raise InputError(argument, given, "float32: .astype(np.float32) before it is saved")
    return array


def real_array(argument: str, value: object, axes: tuple[str, ...]) -> np.ndarray:
    """`value` as an array of integers or floats with one axis, of at least one element, for each name in `axes`."""
    array = to_array(argument, value)
    if array.dtype.kind not in "iuf":
        raise InputError(argument, describe(array), "real numbers (float32; integers are converted)")
    if array.ndim != len(axes):
        raise InputError(argument, describe(array), f"the axes [{', '.join(axes)}]")
    if 0 in array.shape:
        raise InputError(argument, describe(array), f"at least one of each of {', '.join(axes)}")
    return array


def whole_array(argument: str, value: object, shape: tuple[int, ...], meaning: str) -> np.ndarray:
    """`value` as an array of integers (or bool) of exactly this shape."""
    array = to_array(argument, value)
    if array.dtype.kind not in "iub" or array.shape != shape:
        raise InputError(argument, describe(array), f"integers of shape {list(shape)} ({meaning})")
    return array


def finite_float32(
    argument: str, array: np.ndarray, places: tuple[str, ...], valid: np.ndarray | None, missing: bool = False
) -> np.ndarray:
    """A float32 copy of `array`, 0 where a step is not valid.

    Args:
      array: [cases, ...] real numbers; the name of each axis, for the message, is in `places`.
      valid: bool [cases, T], or None where all counts.
      missing: whether NaN stands for a missing number.
    Raises:
      InputError: a valid value that float32 cannot hold (NaN, infinite, too large), with its place.
    """
    with np.errstate(over="ignore"):
        result = array.astype(np.float32)
    if valid is not None:
        result[~valid] = 0
    bad = np.argwhere(np.isinf(result) if missing else ~np.isfinite(result))
    if len(bad):
        where = ", ".join(f"{place} {i}" for place, i in zip(places, bad[0], strict=True))
        given = f"{array[tuple(bad[0])]} at {where} ({len(bad)} such in all)"
        raise InputError(argument, given, "finite float32 numbers in every valid step")
    return result


def valid_lengths(value: object, cases: int, steps: int) -> np.ndarray:
    """`lengths` as int32 [cases], each within 0..steps, not all 0; InputError names the first case that is not."""
    array = whole_array("lengths", value, (cases,), "the valid steps of each case")
    bad = np.flatnonzero((array < 0) | (array > steps))
    if len(bad):
        raise InputError("lengths", f"{array[bad[0]]} at case {bad[0]}", f"0 to {steps}, the steps of x")
    if not array.any():
        raise InputError("lengths", "0 for every case", "at least one case with a step")
    return array.astype(np.int32)


def valid_labels(
    value: object, shape: tuple[int, ...], outputs: int, valid: np.ndarray | None, missing: bool = False
) -> np.ndarray:
    """`y` as int32 of this shape, each within 0..outputs-1 (or -100 where some are missing), 0 at steps that are not
    valid."""
    array = whole_array("y", value, shape, "one label a case" if len(shape) == 1 else "one label a step")
    if valid is not None and len(shape) == 2:
        array = np.where(valid, array, 0)
    bad = np.argwhere(((array < 0) | (array >= outputs)) & ~(missing & (array == UNKNOWN)))
    if len(bad):
        where = ", ".join(f"{place} {i}" for place, i in zip(("case", "time"), bad[0], strict=False))
        raise InputError("y", f"label {array[tuple(bad[0])]} at {where}", f"labels 0 to {outputs - 1}")
    return array.astype(np.int32)


def valid_indices(argument: str, value: object, cases: int) -> np.ndarray:
    """Indices into the cases as int64 [n], each within 0..cases-1."""
    array = to_array(argument, value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(argument, describe(array), "a list of case numbers")
    bad = np.flatnonzero((array < 0) | (array >= cases)) if array.size else []
    if len(bad):
        raise InputError(argument, f"{array[bad[0]]} at position {bad[0]}", f"case numbers 0 to {cases - 1}")
    return array.astype(np.int64)
