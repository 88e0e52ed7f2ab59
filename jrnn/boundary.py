"""What a call of `unroll` is checked for, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.types import Array, Cell, InputError, Inputs, Params, Shape, State


def is_count(value: object, least: int = 0) -> bool:
    """Whether `value` is an integer (Python's or NumPy's, no bool) of at least `least`."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


def check_count(name: str, value: Any, least: int, needed: str) -> int:
    """A plain int of at least `least`."""
    if not is_count(value, least):
        raise InputError(name, repr(value), needed)
    return int(value)


def check_number(name: str, value: Any, good: Callable[[float], bool], needed: str) -> float:
    """A plain float of which `good` holds (never of a NaN); no bool, no text, nothing traced, one number."""
    kind, number = getattr(getattr(value, "dtype", None), "kind", ""), math.nan
    try:
        if not isinstance(value, bool | str | bytes) and kind != "b" and not getattr(value, "ndim", 0):
            number = float(value)
    except (TypeError, ValueError, OverflowError):  # a tracer's error is a TypeError
        pass
    if not good(number):
        raise InputError(name, f"{value!r:.60}", needed)
    return number


def as_array(name: str, value: Any) -> Array:
    """`jnp.asarray`, refusing what is no array of numbers."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise InputError(name, f"{type(value).__name__} {value!r:.60}", "an array of numbers") from None


def as_arrays(name: str, tree: Any) -> Any:
    """A pytree of arrays of numbers; None stays None."""
    return jax.tree.map(lambda leaf: as_array(name, leaf), tree)


def check_key(key: Any) -> None:
    """InputError unless it is a PRNG key or None."""
    dtype = getattr(key, "dtype", None)
    if key is not None and not (
        dtype is not None and (jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32)
    ):
        raise InputError("key", repr(key), "a PRNG key, jax.random.key(seed), or None")


def steps_of(xs: Inputs, length: int | None) -> int:
    """T, the same for every leaf of xs [T, *B, F], or `length` where there are no inputs."""
    leaves = jax.tree.leaves(xs)
    if not leaves:
        return check_count("length", length, 0, "the number of steps T >= 0, since xs is None")
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if not all(shapes):
        scalars = sum(not shape for shape in shapes)
        raise InputError(
            "xs", f"{scalars} numbers without axes", "arrays (not lists) with time on the first axis, [T, *B, F]"
        )
    if len({shape[0] for shape in shapes}) > 1:
        raise InputError("xs", f"shapes {shapes}", "time on the first axis, equally long in every array: [T, *B, F]")
    if length is not None and length != shapes[0][0]:
        raise InputError("length", length, f"the length of xs, {shapes[0][0]}, or none")
    return shapes[0][0]


def batch_of(cell: Cell, params: Params, xs: Inputs, state: State | None, lengths: Any, time_axes: int) -> Shape:
    """*B: what lies between the time axis and the features of xs; else from the state; else from the lengths."""
    features = getattr(cell, "input_ndim", 1)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(xs)]
    if shapes:
        batches = {shape[time_axes : len(shape) - features] for shape in shapes}
        if min(map(len, shapes)) < time_axes + features or len(batches) > 1:
            need = f"[{'T, ' * time_axes}*B, {features} feature axes] with equal *B"
            raise InputError("xs", f"shapes {shapes}", need)
        return batches.pop()
    if state is not None:
        alone = jax.tree.leaves(jax.eval_shape(lambda p: cell.initial_state(p, ()), params))
        leaves = jax.tree.leaves(state)
        if leaves and alone:
            return jnp.shape(leaves[0])[: max(jnp.ndim(leaves[0]) - len(alone[0].shape), 0)]
    return () if lengths is None else jnp.shape(lengths)


def check_state(name: str, state: State | None, cell: Cell, params: Params, lead: Shape) -> State:
    """A state of the cell's own type with leading axes `lead`, cast to the cell's dtype; the cell's own if None."""
    if state is None:
        own = cell.initial_state(params, lead)
        if any(jnp.shape(leaf)[: len(lead)] != lead for leaf in jax.tree.leaves(own)):
            raise InputError(
                "cell", f"an initial state {describe(own)}", f"leaves that start with the batch shape {lead}"
            )
        return own
    expected = jax.eval_shape(lambda p: cell.initial_state(p, lead), params)
    given = as_arrays(name, state)
    if jax.tree.structure(given) != jax.tree.structure(expected):
        raise InputError(name, describe(given), describe(expected))
    shapes = [a.shape for a in jax.tree.leaves(given)], [a.shape for a in jax.tree.leaves(expected)]
    if shapes[0] != shapes[1]:
        raise InputError(name, describe(given), describe(expected))
    return jax.tree.map(lambda a, e: a.astype(e.dtype), given, expected)


def check_step(cell: Cell, params: Params, state: State, xs: Inputs) -> None:
    """InputError if a step does not give back a state of the kind it was given."""
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    before = jax.eval_shape(lambda s: s, state)
    after = stepped.eval_shape(cell, params, before, x)
    if jax.tree.structure(before) != jax.tree.structure(after) or any(
        (a.shape, a.dtype) != (b.shape, b.dtype) for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
    ):
        raise InputError(
            "cell",
            f"a step from {describe(before)} to {describe(after)}",
            "a step that keeps the state's type, shapes and dtypes",
        )


@partial(jax.jit, static_argnums=0)
def stepped(cell: Cell, params: Params, state: State, x: Inputs) -> State:
    """One step; jitted, so that its trace is kept between calls."""
    return cell.step(params, state, x)


def segment_of(remat: bool | str | int | None, steps: int) -> int | None:
    """Steps per recomputed segment: None stores all, 1 is per step, ceil(sqrt(T)) for "sqrt"."""
    if remat is None or remat is False:
        return None
    if remat is True or remat == "step":
        return 1
    if remat == "sqrt":
        return max(math.isqrt(max(steps - 1, 0)) + 1, 1)
    if is_count(remat, 1):
        return int(remat)
    raise InputError("remat", repr(remat), "None, 'step' (or True), 'sqrt', or a number of steps per segment")


def describe(tree: Any) -> str:
    """The structure of a pytree with its shapes, in the way it is written: LSTMState(h=float32[4], c=float32[4])."""
    short = jax.tree.map(lambda a: Spelled(f"{a.dtype}{list(a.shape)}"), tree)
    return repr(short)


class Spelled(str):
    """A string whose repr has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
