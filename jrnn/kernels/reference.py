"""The spec: the plain scan of a recurrence's step over time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.problem import Events, Operands, Outcome, Scan
from jrnn.kernels.recurrences import Recurrence
from jrnn.types import Array


def run(scan: Scan, operands: Operands, events: Events) -> Outcome:
    """The whole recurrence, all states: group after group, `lax.scan` over time."""
    return map_groups(partial(run_group, scan.recurrence), scan, (operands, events))


def map_groups(body: Callable, scan: Scan, args: tuple) -> Any:
    """`body(reverse, *args)` for every group, results stacked; arrays with a leading axis of 1 are shared.

    All groups of one direction are one program, however many there are.
    """
    groups = len(scan.reverse)
    if len(set(scan.reverse)) == 1:
        return map_one_way(body, scan.reverse[0], groups, args)
    order = [[g for g, way in enumerate(scan.reverse) if way == each] for each in (False, True)]
    if scan.reverse == (False, True) * (groups // 2):  # by reshaping: XLA splits that over devices, but no gather

        def own(a: Array, way: int) -> Array:
            return a.reshape(groups // 2, 2, *a.shape[1:])[:, way]

        def joined(*leaves: Array) -> Array:
            return jnp.stack(leaves, axis=1).reshape(groups, *leaves[0].shape[1:])
    else:

        def own(a: Array, way: int) -> Array:
            return a[np.array(order[way])]

        def joined(*leaves: Array) -> Array:
            return jnp.concatenate(leaves)[np.argsort(order[0] + order[1])]

    def of(way: int) -> Any:
        mine = jax.tree.map(lambda a: a if a.shape[0] == 1 else own(a, way), args)
        return map_one_way(body, bool(way), len(order[way]), mine)

    return jax.tree.map(joined, of(0), of(1))


def map_one_way(body: Callable, reverse: bool, groups: int, args: tuple) -> Any:
    """Groups of one direction."""
    if groups == 1:
        return jax.tree.map(lambda a: a[None], body(reverse, *jax.tree.map(lambda a: a[0], args)))
    mapped = jax.tree.map(lambda a: 0 if a.shape[0] > 1 else None, args)
    own = jax.tree.map(lambda a: a if a.shape[0] > 1 else a[0], args)
    return jax.vmap(partial(body, reverse), in_axes=mapped, axis_size=groups)(*own)


def run_group(recurrence: Recurrence, reverse: bool, one: Operands, events: Events) -> Outcome:
    """One group: arrays without the leading axis."""

    def body(state: tuple[Array, ...], inputs: tuple) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        x, now, pull = inputs
        if now.cuts is not None:
            state = select(now.cuts, jax.lax.stop_gradient(state), state)
        if now.resets is not None:
            state = select(now.resets, one.restart, state)
        if now.valid is not None:
            x = select(now.valid, x, jnp.zeros_like(x))
        after = recurrence.step(one.weights, state, x)
        if now.valid is not None:
            after = select(now.valid, after, state)
        if pull is not None:
            if now.inside is not None:
                pull = select(now.inside, pull, jax.tree.map(jnp.zeros_like, pull))
            after = jax.tree.map(jnp.add, after, pull)
        return after, after

    last, states = jax.lax.scan(body, one.start, (one.xs, events, one.tap), reverse=reverse)
    return Outcome(states, last)


def select(condition: Array, on_true: Any, on_false: Any) -> Any:
    """Leaf by leaf, [B] against [B, n]."""
    return jax.tree.map(lambda a, b: jnp.where(jnp.broadcast_to(condition[:, None], a.shape), a, b), on_true, on_false)
