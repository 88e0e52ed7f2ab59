"""Where the gradient of an update went: figures of delta_t = dL/dh_t, taken from the update's own backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import Bidirectional, is_causal
from jrnn.types import Array, InputError, State, size_of

WINDOW = 10  # the first and the last tenth of a sequence
CARRIES = 0.01


def delta_metrics(cell: Any, delta: State, mask: Array, *, reverse: bool = False) -> dict[str, Array]:
    """How the gradient with respect to the state fares on its way back from late to early steps; jit-able.

    Each sequence counts by its own valid steps, j = 1..n in the order they are read; w = ceil(n / 10) is a tenth of
    them, and ||delta_j|| the 2-norm over the whole state after step j (of an LSTM h and c, of a stack all layers).
    States are scaled by the sum of their entries' sizes, so that no square underflows or overflows.

    delta_t sums over all outputs after t: for a loss at the end of the sequence this is the true picture over the lag,
    for a loss at every step it is not (early steps collect the pull of many outputs); `jrnn.gradient_flow` separates
    them. With `truncate` or resets it is what is left beyond the cuts.

    Args:
      cell: the cell that was unrolled; for `Bidirectional`, early and late are in each direction's own reading order.
      delta: dL/dh_t [T+1, *B, ...] laid out as by `value_and_grads(...)[1].states`, time first.
      mask: [T, *B] of bool, `Unrolled.mask`: the steps that happened.
      reverse: as given to `unroll`.
    Returns:
      scalars, float32 (float64 for float64 states):
      delta_early: sqrt(mean ||delta_j||^2) over all sequences and their steps j <= w; loss per unit of state.
      delta_late: the same over j > n - w. Both are 0 if no step happened.
      delta_growth: ln(delta_early / delta_late) / mean(n - w) over the sequences with n > 0; nats per step back,
        negative if the gradient vanishes; -inf if none is left early, inf if there is none late, and 0 where there is
        none at all or no way between the two (n = 0 or 1).
      delta_reach: steps; the mean over sequences (and directions) of e - s, where e is the last step with
        ||delta_j|| >= 0.01 max_j ||delta_j||, and s <= e the earliest from which that holds without a gap up to e. 0
        where there is no gradient at all; those sequences do not count.
    Raises:
      InputError: the state is not real, or the shapes do not fit.
    """
    delta = jax.tree.map(jnp.asarray, delta)
    leaves = [leaf for leaf in jax.tree.leaves(delta) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    if not leaves or not is_real(delta):
        given = ", ".join(str(leaf.dtype) for leaf in jax.tree.leaves(delta)) or "no arrays"
        raise InputError("delta", given, "real floating-point states")
    if any(leaf.shape[: mask.ndim] != (len(mask) + 1, *mask.shape[1:]) for leaf in leaves):
        given = f"shapes {[leaf.shape for leaf in leaves]} for a mask {mask.shape}"
        raise InputError("delta", given, "[T+1, *B, ...] and a mask [T, *B]")
    wide = jnp.float64 if any(leaf.dtype == jnp.float64 for leaf in leaves) else jnp.float32
    done = jnp.cumsum(mask, axis=0, dtype=jnp.int32)
    n = mask.sum(axis=0, dtype=jnp.int32)
    window = (n + WINDOW - 1) // WINDOW
    logs, ranks = [], []
    for states, backwards in directions(cell, delta, reverse):
        after = jax.tree.map(lambda d, cut=backwards: d[:-1] if cut else d[1:], states)
        logs.append(log_norms(after, mask.ndim, wide))
        ranks.append(n[None] + 1 - done if backwards else done)
    log, rank = jnp.stack(logs), jnp.stack(ranks)  # [directions, T, *B]
    there = jnp.broadcast_to(mask[None], log.shape)
    count = jnp.maximum(window.sum(), 1).astype(wide)
    early, late = (
        0.5 * (jax.nn.logsumexp(2 * jnp.where(there & part, log, -jnp.inf)) - jnp.log(count))
        for part in (rank <= window[None, None], rank > (n - window)[None, None])
    )
    way = (n - window).sum().astype(wide) / jnp.maximum((n > 0).sum(), 1).astype(wide)
    has_growth = (way > 0) & ~(jnp.isneginf(early) & jnp.isneginf(late))
    change = jnp.where(has_growth, early, 0) - jnp.where(has_growth, late, 0)
    growth = change / jnp.where(has_growth, way, jnp.ones_like(way))
    return {
        "delta_early": jnp.exp(early),
        "delta_late": jnp.exp(late),
        "delta_growth": growth,
        "delta_reach": reach(log, rank, there),
    }


def reach(log: Array, rank: Array, there: Array) -> Array:
    """delta_reach of ln ||delta|| [D, T, *B], of which the entries `there` count, read in the order `rank`."""
    if not log.shape[1]:
        return jnp.zeros((), log.dtype)
    log = jnp.where(there, log, -jnp.inf)
    largest = log.max(axis=1, keepdims=True)
    carries = there & (log >= largest + jnp.log(jnp.asarray(CARRIES, log.dtype)))
    last = jnp.where(carries, rank, 0).max(axis=1, keepdims=True)
    gap = jnp.where(there & ~carries & (rank < last), rank, 0).max(axis=1, keepdims=True)
    alive = largest > -jnp.inf
    steps = jnp.where(alive, last - gap - 1, 0)
    return steps.sum().astype(log.dtype) / jnp.maximum(alive.sum(), 1).astype(log.dtype)


def log_norms(states: State, keep: int, wide: Any) -> Array:
    """ln of the 2-norm over all leaves and all but the first `keep` axes; -inf for zero, inf for infinite."""
    leaves = [leaf for leaf in jax.tree.leaves(states) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    flat = [jnp.abs(leaf.astype(wide)).reshape(*leaf.shape[:keep], size_of(leaf.shape[keep:])) for leaf in leaves]
    tiny = jnp.finfo(wide).tiny
    # scaled by the sum, not the maximum: XLA's maximum on a CPU takes five times as long
    size = jnp.stack([a.sum(axis=-1) for a in flat]).sum(axis=0)
    scale = 1 / jnp.clip(size, tiny, 1 / tiny)
    squares = [jnp.square(a * scale[..., None]).sum(axis=-1) for a in flat]
    return 0.5 * jnp.log(jnp.stack(squares).sum(axis=0)) - jnp.log(scale)


def directions(cell: Any, states: State, reverse: bool) -> Iterator[tuple[State, bool]]:
    """(states, whether time is read backwards) of each causal part of what was unrolled."""
    if isinstance(cell, Bidirectional):
        yield from directions(cell.forward, states.forward, reverse)
        yield from directions(cell.backward, states.backward, not reverse)
    elif not is_causal(cell):
        for layer, own in zip(cell.cells, states, strict=True):
            yield from directions(layer, own, reverse)
    else:
        yield states, reverse


def is_real(states: State) -> bool:
    """Whether there is a floating-point leaf, and no complex one."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(states)]
    real = any(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes)
    return real and not any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes)
