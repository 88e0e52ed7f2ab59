"""What a call of `unroll` is checked for, before anything is computed."""

from __future__ import annotations

import math
from functools import partial
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import check_key, draws_noise, program_of
from jrnn.types import Array, Cell, InputError, Inputs, Params, Shape, State


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


def check_noise(cell: Any, key: Any) -> None:
    """InputError unless it is None, or one PRNG key for a cell that draws noise."""
    if key is None:
        return
    check_key(key)
    if not draws_noise(cell):
        given = f"a key for {type(cell).__name__}, which draws no noise"
        raise InputError("key", given, "None; jrnn.dropout(cell, ...) at a rate above 0 makes a cell that draws")


def steps_of(xs: Inputs, length: int | None) -> int:
    """T, the same for every leaf of xs [T, *B, F], or `length` where there are no inputs."""
    leaves = jax.tree.leaves(xs)
    if not leaves:
        return check_count("length", length, 0, "the number of steps T >= 0, since xs is None")
    if length is not None:
        length = check_count("length", length, 0, "the length of xs, or none")
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
            raise InputError("xs" if time_axes else "x", f"shapes {shapes}", need)
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
    if not all(map(fits, jax.tree.leaves(given), jax.tree.leaves(expected))):
        raise InputError(name, describe(given), describe(expected))
    return jax.tree.map(lambda a, e: a.astype(e.dtype), given, expected)


def fits(given: Any, expected: Any) -> bool:
    """Whether one array can become another by a cast that keeps its kind: bool, integer, floating, complex."""
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    one, other = ([jnp.issubdtype(a.dtype, kind) for kind in kinds] for a in (given, expected))
    if not (any(one) and any(other)):  # keys, say
        return given.dtype == expected.dtype and given.shape == expected.shape
    return given.shape == expected.shape and one.index(True) <= other.index(True)


def check_step(cell: Cell, params: Params, state: State, xs: Inputs) -> None:
    """InputError if a step does not give back a state of the kind it was given."""
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    before = jax.eval_shape(lambda s: s, state)
    after = stepped.eval_shape(program_of(cell), params, before, x)
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
    if remat is True or isinstance(remat, str) and remat == "step":
        return 1
    if isinstance(remat, str) and remat == "sqrt":
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


def move_axis(tree: Any, source: int, to: int) -> Any:
    """`jnp.moveaxis` on every leaf; one of the two axes is 0, the other `time_axis`. None stays None."""
    if source == to:
        return tree
    for leaf in jax.tree.leaves(tree):
        if jnp.ndim(leaf) <= max(source, to):
            raise InputError("time_axis", f"{source + to} for an array of shape {jnp.shape(leaf)}", "an axis it has")
    return jax.tree.map(lambda a: jnp.moveaxis(jnp.asarray(a), source, to), tree)
