"""One group's function mapped over all groups of a call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.operands import Scan
from jrnn.types import Array


def map_groups(body: Callable, scan: Scan, args: tuple) -> Any:
    """`body(reverse, *args)` for every group, results stacked; arrays with a leading axis of 1 are shared.

    All groups of one direction are one program, however many there are.
    """
    groups = len(scan.reverse)
    if len(set(scan.reverse)) == 1:
        return map_one_direction(body, scan.reverse[0], groups, args)
    order = [[g for g, reverse in enumerate(scan.reverse) if reverse == each] for each in (False, True)]
    if scan.reverse == (False, True) * (groups // 2):  # by reshaping: XLA splits that over devices, but no gather

        def take(a: Array, direction: int) -> Array:
            return a.reshape(groups // 2, 2, *a.shape[1:])[:, direction]

        def join(*leaves: Array) -> Array:
            return jnp.stack(leaves, axis=1).reshape(groups, *leaves[0].shape[1:])
    else:

        def take(a: Array, direction: int) -> Array:
            return a[np.array(order[direction])]

        def join(*leaves: Array) -> Array:
            return jnp.concatenate(leaves)[np.argsort(order[0] + order[1])]

    def of_direction(direction: int) -> Any:
        own = jax.tree.map(lambda a: a if a.shape[0] == 1 else take(a, direction), args)
        return map_one_direction(body, bool(direction), len(order[direction]), own)

    return jax.tree.map(join, of_direction(0), of_direction(1))


def map_one_direction(body: Callable, reverse: bool, groups: int, args: tuple) -> Any:
    """`map_groups` of groups that all read in one direction."""
    if groups == 1:
        return jax.tree.map(lambda a: a[None], body(reverse, *jax.tree.map(lambda a: a[0], args)))
    axes = jax.tree.map(lambda a: 0 if a.shape[0] > 1 else None, args)
    own = jax.tree.map(lambda a: a if a.shape[0] > 1 else a[0], args)
    return jax.vmap(partial(body, reverse), in_axes=axes, axis_size=groups)(*own)
