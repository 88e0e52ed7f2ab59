"""`jax.vmap` of a recurrence: the new axis becomes more sequences or more groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.problem import Events, Operands, Outcome, Recurrence
from jrnn.types import Array

ROWS = Operands(xs=2, w_in=None, w_rec=None, bias=None, bias_rec=None, start=1, restart=1, tap=2)  # pyright: ignore
"""The axis of the sequences B in each operand; None in the weights, which have none."""


def batched(
    call: Callable, what: Recurrence, size: int, args: tuple, dims: tuple, *, into_rows: bool
) -> tuple[Any, Any]:
    """(results, their new axes) of `call(what, *args)`, mapped over axis `dims` of the arrays in `args`.

    The axis joins the sequences where the weights have none and nothing is summed over sequences (`into_rows`); else
    the groups: new, old.
    """
    weights = [d for d in (dims[0].w_in, dims[0].w_rec, dims[0].bias, dims[0].bias_rec) if d is not None]
    if into_rows and not weights:
        return join_rows(call, what, size, args, dims)
    groups = len(what.reverse)

    def join(array: Array, dim: int | None) -> Array:
        if dim is None:
            if array.shape[0] == 1:
                return array  # shared by the old groups and by the new ones
            return jnp.concatenate([array] * size)
        array = jnp.moveaxis(array, dim, 0)
        old = groups if groups > 1 and array.shape[1] == 1 else array.shape[1]
        array = jnp.broadcast_to(array, (size, old, *array.shape[2:]))
        return array.reshape(size * old, *array.shape[2:])

    joined = tree_map(join, args, dims)
    results = call(what.repeated(size), *joined)
    return (
        jax.tree.map(lambda a: a.reshape(size, groups, *a.shape[1:]), results),
        jax.tree.map(lambda _: 0, results),
    )


def join_rows(call: Callable, what: Recurrence, size: int, args: tuple, dims: tuple) -> tuple[Any, Any]:
    """The new axis and the sequences as one axis of sequences: new, old."""

    def join(array: Array, dim: int | None, rows: int) -> Array:
        new = jnp.broadcast_to(array[None], (size, *array.shape)) if dim is None else jnp.moveaxis(array, dim, 0)
        new = jnp.moveaxis(new, 0, rows)
        return new.reshape(*new.shape[:rows], size * new.shape[rows + 1], *new.shape[rows + 2 :])

    operands, events = args
    joined = {}
    for field, rows in ROWS._asdict().items():
        value, dim = getattr(operands, field), getattr(dims[0], field)
        joined[field] = value if rows is None else tree_map(lambda a, d, r=rows: join(a, d, r), value, dim)
    flags = tree_map(lambda a, d: join(a, d, 2), events, dims[1])
    results: Outcome = call(what, Operands(**joined), Events(*flags))

    def part(array: Array, rows: int) -> Array:
        return array.reshape(*array.shape[:rows], size, array.shape[rows] // size, *array.shape[rows + 1 :])

    parts = Outcome(
        tuple(part(a, 2) for a in results.states),
        tuple(part(a, 1) for a in results.last),
        jax.tree.map(lambda a: part(a, 2), results.gates),
    )
    return parts, jax.tree.map(lambda _: 2, parts)._replace(last=tuple(1 for _ in parts.last))


def tree_map(function: Callable, arrays: Any, dims: Any) -> Any:
    """function(array, dim) leaf by leaf, where dim may be None."""
    leaves, tree = jax.tree.flatten(arrays)
    return jax.tree.unflatten(tree, [function(a, d) for a, d in zip(leaves, tree.flatten_up_to(dims), strict=True)])
