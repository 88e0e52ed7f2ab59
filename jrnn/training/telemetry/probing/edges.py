"""dL/dh_t in the first and the last tenth of each sequence: the figures of `delta_metrics` at a fifth of their cost."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.training.telemetry.probing.reporting import false_of
from jrnn.training.telemetry.probing.wide_sums import log_of, sum_of, zero_sum
from jrnn.training.telemetry.state_gradient_metrics import WINDOW, directions, log_norms
from jrnn.types import Array, State


class Edges(NamedTuple):
    """Sums over sequences; those of several calls may be added."""

    early: Array
    """[ranges]: sum of ||delta_j||^2 over the first tenth of each sequence's valid steps."""
    late: Array
    """[ranges]: the same over the last tenth."""
    steps: Array
    """How many steps a tenth has, over all sequences."""
    way: Array
    """sum of n - w: from the middle of the first tenth to that of the last."""
    sequences: Array
    """Those with a valid step."""


def no_edges(dtype: Any) -> Edges:
    """The empty sums."""
    zero = jnp.zeros((), dtype)
    return Edges(zero_sum(dtype), zero_sum(dtype), zero, zero, zero)


def edges_of(
    cell: Any, delta: State, lengths: Array | None, mask: Array | None, axes: int, reverse: bool, dtype: Any
) -> Edges:
    """The sums of dL/dh after each step [T, *B, ...], of which `axes` are time and batch; the rest as for
    `delta_metrics`."""
    steps, *batch = jax.tree.leaves(delta)[0].shape[:axes]
    window = -(-steps // WINDOW)
    j = jnp.arange(window, dtype=jnp.int32).reshape(window, *(1,) * len(batch))
    n = jnp.full(batch, steps, jnp.int32)
    first = last = order = None
    if lengths is not None or mask is not None:
        inside = jnp.ones((steps, *batch), bool) if mask is None else mask
        if lengths is not None:
            times = jax.lax.broadcasted_iota(jnp.int32, inside.shape, 0)
            inside &= times < jnp.broadcast_to(lengths[None], inside.shape)
        n = inside.sum(axis=0, dtype=jnp.int32)
        first, last = jnp.broadcast_to(j, (window, *batch)), jnp.maximum(n[None] - 1 - j, 0)
        if mask is not None:
            order = jnp.argsort(~inside, axis=0, stable=True).astype(jnp.int32)
            first, last = order[:window], jnp.take_along_axis(order, last, axis=0)
    tenth = (n + WINDOW - 1) // WINDOW
    counts = jnp.broadcast_to(j, (window, *batch)) < tenth[None]

    def squares(after: State, rows: Array | None, end: slice) -> Array:
        """ln of the sum of ||delta||^2 over some rows."""

        def pick(leaf: Array) -> Array:
            if rows is None:
                return leaf[end]
            return jnp.take_along_axis(leaf, rows.reshape(rows.shape + (1,) * (leaf.ndim - rows.ndim)), axis=0)

        logs = log_norms(jax.tree.map(pick, after), axes, dtype)
        return jax.nn.logsumexp(2 * jnp.where(counts, logs, -jnp.inf)) if logs.size else jnp.asarray(-jnp.inf, dtype)

    total = no_edges(dtype)
    early, late = total.early, total.late
    for after, backwards in directions(cell, delta, reverse):
        ends = (first, slice(None, window)), (last, slice(steps - window, None))
        begin, end = reversed(ends) if backwards else ends
        early += sum_of(squares(after, *begin), dtype)
        late += sum_of(squares(after, *end), dtype)
    numbers = tenth.sum(), (n - tenth).sum(), (n > 0).sum()
    nothing = false_of(delta).astype(dtype)
    return Edges(early, late, *(number.astype(dtype) + nothing for number in numbers))


def edge_metrics(edges: Edges) -> dict[str, Array]:
    """delta_early, delta_late and delta_growth, as `delta_metrics` defines them; NaN where no step happened, or no
    gradient came by."""
    nothing = edges.steps == 0
    count, sequences = (jnp.where(nothing, jnp.nan, number) for number in (edges.steps, edges.sequences))
    early, late = (0.5 * (log_of(total) - jnp.log(count)) for total in (edges.early, edges.late))
    way = edges.way / sequences
    known = (way > 0) & ~(jnp.isneginf(early) & jnp.isneginf(late))
    change = jnp.where(known, early, 0) - jnp.where(known, late, 0)
    growth = jnp.where(nothing, jnp.nan, change / jnp.where(known, way, jnp.ones_like(way)))
    return {"delta_early": jnp.exp(early), "delta_late": jnp.exp(late), "delta_growth": growth}
