"""`jax.vmap` of a recurrence: the new axis becomes more sequences or more groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray

from jrnn.kernels.calls import Call, pull_p, push_p, shapes
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.types import Array

ROW_AXES: dict[type, Any] = {
    Operands: Operands(xs=2, weights=None, start=1, restart=1, tap=2),  # pyright: ignore[reportArgumentType]
    Events: Events(2, 2, 2, 2),  # pyright: ignore[reportArgumentType]
    RecurrenceResult: RecurrenceResult(2, 1, 2),  # pyright: ignore[reportArgumentType]
}
"""The axis of the sequences B in each field's arrays; None in the weights, which have none."""


def batch(primitive: Any, args: Sequence[Array], dims: Sequence[Any], *, call: Call) -> tuple[list, list]:
    """The batching rule: the new axis joins the sequences where it can, else the groups.

    It can where the weights do not have it and nothing is summed over sequences. Several cotangents at one point join
    the groups all the same: the operands need no copies then.
    """

    def bind_with(scan: Scan, *args: Array) -> list[Array]:
        return primitive.bind(*args, call=replace(call, scan=scan))

    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    alone = [a.shape if d is None else (*a.shape[:d], *a.shape[d + 1 :]) for a, d in zip(args, dims, strict=True)]
    avals = tuple(ShapedArray(shape, a.dtype) for shape, a in zip(alone, args, strict=True))
    if not size:
        results = shapes(primitive, call, avals)[0]
        return [jnp.zeros((0, *aval.shape), aval.dtype) for aval in results], [0] * len(results)
    if primitive is not push_p:
        takes, gives = sequence_axes(primitive, call, avals)
        same_weights = all(d is None for d, axis in zip(dims, takes, strict=True) if axis is None)
        one_point = primitive is pull_p and jax.tree.unflatten(call.tree, dims)[0].xs is None
        if same_weights and None not in gives and not one_point:
            return into_rows(bind_with, call.scan, size, args, dims, takes, gives)
    return into_groups(bind_with, call.scan, size, args, dims)


def sequence_axes(primitive: Any, call: Call, avals: Sequence[Any]) -> tuple[list[int | None], list[int | None]]:
    """The axis of the sequences in every argument and result of `recur_p` or `pull_p`; None where there is none."""
    args = jax.tree.unflatten(call.tree, avals)
    if primitive is pull_p:
        gives = [axis for axis, needed in zip(row_axes(args[:1]), call.needs_gradient, strict=True) if needed]
    else:
        leaves, tree = shapes(primitive, call, tuple(avals))
        gives = row_axes((jax.tree.unflatten(tree, leaves),))
    return row_axes(args), gives


def row_axes(args: Sequence[Operands | Events | RecurrenceResult]) -> list[int | None]:
    """The axis of the sequences in every array of these, in order; None in the weights."""
    fields = [pair for each in args for pair in zip(each, ROW_AXES[type(each)], strict=True)]
    return [axis for arrays, axis in fields for _ in jax.tree.leaves(arrays)]


def into_groups(
    call: Callable, scan: Scan, size: int, args: Sequence[Array], dims: Sequence[int | None]
) -> tuple[list[Array], list[int]]:
    """(results, their new axes) of `call(scan, *args)` over axis `dims` of the arrays, which joins the groups."""
    groups = len(scan.reverse)

    def join(array: Array, dim: int | None) -> Array:
        if dim is None and array.shape[0] == 1:
            return array  # shared by the old groups and by the new ones
        array = array[None] if dim is None else jnp.moveaxis(array, dim, 0)
        old = groups if groups > 1 and array.shape[1] == 1 else array.shape[1]
        array = jnp.broadcast_to(array, (size, old, *array.shape[2:]))
        return array.reshape(size * old, *array.shape[2:])

    results = call(scan.repeated(size), *map(join, args, dims))
    return [a.reshape(size, groups, *a.shape[1:]) for a in results], [0] * len(results)


def into_rows(
    call: Callable,
    scan: Scan,
    size: int,
    args: Sequence[Array],
    dims: Sequence[int | None],
    takes: Sequence[int | None],
    gives: Sequence[int | None],
) -> tuple[list[Array], list[int | None]]:
    """`into_groups`, but the new axis joins the sequences, in front of them; `takes` and `gives` say their axes."""

    def join(array: Array, dim: int | None, rows: int | None) -> Array:
        if rows is None:
            return array  # the weights, of which `dim` is None
        new = jnp.broadcast_to(array[None], (size, *array.shape)) if dim is None else jnp.moveaxis(array, dim, 0)
        new = jnp.moveaxis(new, 0, rows)
        return new.reshape(*new.shape[:rows], size * new.shape[rows + 1], *new.shape[rows + 2 :])

    def part(array: Array, rows: Any) -> Array:
        return array.reshape(*array.shape[:rows], size, array.shape[rows] // size, *array.shape[rows + 1 :])

    results = call(scan, *map(join, args, dims, takes))
    return [part(a, rows) for a, rows in zip(results, gives, strict=True)], list(gives)
