"""`jax.vmap` of a recurrence: the new axis becomes more sequences or more groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.problem import Events, Operands, Outcome, Scan
from jrnn.types import Array

ROWS = Operands(xs=2, weights=None, start=1, restart=1, tap=2)  # pyright: ignore
"""The axis of the sequences B in each operand; None in the weights, which have none."""
ALONG = {Operands: ROWS, Events: Events(2, 2, 2, 2), Outcome: Outcome(2, 1, 2)}  # pyright: ignore[reportArgumentType]


def rows_axes(args: Sequence[Operands | Events | Outcome]) -> list[int | None]:
    """The axis of the sequences in every array of these, in order; None in the weights."""
    fields = [pair for each in args for pair in zip(each, ALONG[type(each)], strict=True)]
    return [axis for arrays, axis in fields for _ in jax.tree.leaves(arrays)]


def into_groups(
    call: Callable, scan: Scan, size: int, args: Sequence[Array], dims: Sequence[int | None]
) -> tuple[list[Array], list[int]]:
    """(results, their new axes) of `call(scan, *args)`, mapped over axis `dims` of the arrays: it joins the groups."""
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
    """`into_groups`, but the axis joins the sequences, whose axes `takes` and `gives` say: new, old."""

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
