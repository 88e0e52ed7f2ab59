"""`jax.lax.scan` as one kernel: weights and state stay in VMEM, blocks of time steps stream through it.

A block of steps is read while the one before it is computed. Arrays are filled up to whole tiles and cut again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.operands import Events
from jrnn.kernels.pallas_scan.flattening import flat_step
from jrnn.kernels.pallas_scan.kernel import run_kernel
from jrnn.kernels.pallas_scan.plan import Target, Unfit, plan_for
from jrnn.kernels.pallas_scan.tiles import LANES, cut, filled, longer, of_units, rounded_up
from jrnn.kernels.sharding import aligned
from jrnn.types import Array


def streamed_scan(
    body: Callable,
    weights: Any,
    rows: Any,
    carry: Any,
    xs: Any,
    events: Events,
    *,
    reverse: bool,
    target: Target,
    name: str,
) -> tuple[Any, Any]:
    """(the last carry, ys [T, B, n H]) of `body(weights, rows, carry, x, now) -> (carry, y)` over time.

    Args:
      body: of the arrays of one step. Its B and H are those of filled tiles: it reads sizes from what it is given.
      weights: arrays whose axes are n blocks of H units each; what the body does not read may be anything.
        The body mixes units by products with them alone: beyond H they are zero, and so is what enters a step.
      rows: arrays [B, n H] that are the same at every step.
      carry: arrays [B, n H], the first of one block.
      xs: arrays [T, B, n H].
      events: flags [T, B], which the body gets as [B, H].
      reverse: from the last step to the first.
      name: of the kernel, in profiles.
    Raises:
      Unfit: an axis of a weight that is read is no multiple of H, or it does not fit into VMEM (`TooLarge`).
    """
    weights, rows, carry, xs, events = aligned((weights, rows, carry, xs, events))
    start, state_tree = jax.tree.flatten(carry)
    sequences, units = start[0].shape
    step = flat_step(body, weights, rows, carry, xs, events)
    wide = rounded_up(units, LANES)
    whole = [fill_all(a, units) for a in step.whole]
    still, start = ([filled(a, 1, units) for a in arrays] for arrays in (step.still, start))
    streams = [filled(a, 2, units) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in step.streams]
    outputs = [(a.shape[-1] // units * wide, a.dtype) for a in step.outputs]
    plan = plan_for(
        held=sum(a.size * a.dtype.itemsize for a in whole),
        of_row=sum(map(row_bytes, still)) * 2 + sum(map(row_bytes, start)) * 5,  # in and out twice, and the scratch
        of_step=sum(map(row_bytes, streams)) + sum(width * dtype.itemsize for width, dtype in outputs),
        rows=sequences,
        steps=streams[0].shape[0],
        vmem=target.vmem,
    )
    still, start = ([longer(a, 0, plan.rows) for a in arrays] for arrays in (still, start))
    streams = [longer(a, 1, plan.rows) for a in streams]
    shapes = [((streams[0].shape[0], plan.rows, width), dtype) for width, dtype in outputs]
    shapes += [(h.shape, h.dtype) for h in start]
    varies = jax.typeof(streams[0]).mat  # between which devices, inside `jax.shard_map`
    types = [jax.ShapeDtypeStruct(*each, manual_axis_type=varies) for each in shapes]
    run = step.run if wide == units else partial(padding_stays_zero, step.run, units)
    found = run_kernel(run, whole, still, streams, start, types, plan, reverse, target, name)
    found = [cut(a[..., :sequences, :], units) for a in found]
    return state_tree.unflatten(found[len(outputs) :]), step.structure.unflatten(found[: len(outputs)])


def padding_stays_zero(run: Callable, units: int, whole: list, still: list, x: list, states: list) -> tuple[list, Any]:
    """A step whose state is zero beyond H, where the product of an Inf and a weight of zero is NaN."""
    states, ys = run(whole, still, x, states)
    return [jnp.where(of_units(h.shape, units), h, jnp.zeros_like(h)) for h in states], ys


def fill_all(array: Array, units: int) -> Array:
    """`filled` along every axis; a vector as a matrix of one row, since only those lie in tiles."""
    if any(size % units for size in array.shape):
        raise Unfit(f"the step reads a weight of shape {list(array.shape)}, whose axes are no multiples of H = {units}")
    for axis in range(array.ndim):
        array = filled(array, axis, units)
    return array if array.ndim > 1 else array[None]


def row_bytes(array: Any) -> int:
    """The bytes that one sequence of [..., B, n] takes in VMEM."""
    return rounded_up(array.shape[-1], LANES) * array.dtype.itemsize
