"""Checks of single arguments, before anything is computed: counts, switches, arrays, keys, lengths and flags."""

from __future__ import annotations

from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import check_cell, check_key, draws_noise, is_causal
from jrnn.types import Array, InputError, Shape


def is_count(value: object, least: int = 0) -> bool:
    """Whether `value` is an integer (Python's or NumPy's, no bool) of at least `least`."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


def check_count(name: str, value: Any, least: int, needed: str) -> int:
    """A plain int of at least `least`."""
    if not is_count(value, least):
        raise InputError(name, repr(value), needed)
    return int(value)


def check_switch(name: str, value: Any) -> bool:
    """A plain bool; a traced one cannot choose what is compiled."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(name, f"{value!r:.60}", "True or False, static under jit")
    return bool(value)


def check_time(t: Any) -> None:
    """InputError unless it is one integer, a traced one too."""
    if not is_count(t):
        t = as_array("t", t)
        if t.ndim or not jnp.issubdtype(t.dtype, jnp.integer):
            raise InputError("t", f"{t.dtype}{list(t.shape)}", "the index of this step, one integer")


def as_array(name: str, value: Any) -> Array:
    """`jnp.asarray`, refusing what is no array of numbers."""
    try:
        if not isinstance(value, str | bytes):
            return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # a foreign array refuses in its own words
        pass
    raise InputError(name, f"{type(value).__name__} {value!r:.60}", "an array of numbers")


def as_arrays(name: str, tree: Any) -> Any:
    """A pytree of arrays of numbers; None stays None."""
    return jax.tree.map(lambda leaf: as_array(name, leaf), tree)


def concrete(array: Any) -> np.ndarray | None:
    """The values, or None under a trace, where there are none yet, and of what is no array."""
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError):
        return None


def check_leaves(name: str, tree: Any) -> None:
    """InputError unless every leaf is an array or a number."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = getattr(leaf, "dtype", None)
        known = isinstance(dtype, np.dtype)  # another library's tensors have dtypes of their own
        if isinstance(leaf, jax.Array | Number) or (known and dtype.kind not in "OSUMm"):
            continue
        given = f"an array of dtype {dtype}" if known else f"a {type(leaf).__name__}"
        need = "arrays of numbers" + (", as `cell.init` makes" if name == "params" else "")
        raise InputError(name + jax.tree_util.keystr(path), given, need)


def check_causal(cell: Any) -> None:
    """Instruments read one step of a cell; a cell that reads the future has none."""
    check_cell(cell)
    if not is_causal(cell):
        raise InputError(
            "cell", type(cell).__name__, "a causal cell: analyse each direction, the backward one with reverse=True"
        )


def check_noise(cell: Any, key: Any) -> None:
    """InputError unless it is None, or one PRNG key for a cell that draws noise."""
    if key is None:
        return
    check_key(key)
    if not draws_noise(cell):
        given = f"a key for {type(cell).__name__}, which draws no noise"
        needed = (
            "None; jrnn.dropout(cell, ...) at a rate above 0, or from_functions(noise=...), makes a cell that draws"
        )
        raise InputError("key", given, needed)


def check_lengths(lengths: Any, steps: int, batch_shape: Shape) -> Array:
    """lengths [*B] as int32, values in 0..T where they can be seen (not under a trace)."""
    known = concrete(lengths)  # before it becomes a tracer, if this runs under a trace
    array = as_array("lengths", lengths)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError("lengths", f"dtype {array.dtype}", "integers")
    if array.shape != batch_shape:
        raise InputError("lengths", f"shape {array.shape}", f"one length a sequence, shape {batch_shape}")
    if known is not None and known.size and (known.min() < 0 or known.max() > steps):
        at = tuple(int(i) for i in np.argwhere((known < 0) | (known > steps))[0])
        raise InputError("lengths", f"{known[at]} at {at or 'the one sequence'}", f"values from 0 to T = {steps}")
    return array.astype(jnp.int32)


def check_flags(name: str, flags: Any, shape: Shape) -> Array:
    """[T, *B] of bool; integers 0 and 1 will do."""
    array = as_array(name, flags)
    if array.shape != shape:
        raise InputError(name, f"shape {array.shape}", f"one flag a step and sequence, [T, *B] = {shape}")
    if not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(name, f"dtype {array.dtype}", "flags of dtype bool")
    return array.astype(bool)
