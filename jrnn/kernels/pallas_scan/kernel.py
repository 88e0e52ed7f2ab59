"""The kernel: a grid over tiles of sequences, and in each over blocks of time steps, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jrnn.kernels.pallas_scan.plan import Plan, Target
from jrnn.types import Array

ORDER = ("parallel", "arbitrary")
"""Cores may share the tiles of sequences, but not the blocks of time."""
FIRST = np.int32(0)  # where JAX has 64 bits Python's 0 has them, too, and Mosaic has not
LIMIT = 0.9
"""The part of VMEM that the compiler may use in all."""


def run_kernel(
    step: Callable,
    whole: list[Array],
    still: list[Array],
    streams: list[Array],
    start: list[Array],
    results: list[Any],
    plan: Plan,
    reverse: bool,
    target: Target,
    name: str,
) -> list[Array]:
    """[*ys, *the last state], all arrays filled up to whole tiles.

    Args:
      step: (whole, still, streams at one step, state) -> (state, ys), lists of arrays.
      whole, still, streams, start: the weights; [B, n]; [T, B, n]; the state [B, n].
      results: the types of what is returned.
    """
    steps = streams[0].shape[0]
    blocks = -(-steps // plan.block)

    def of_time(array: Any) -> Any:
        shape = (plan.block, plan.tile, array.shape[-1])
        return pl.BlockSpec(shape, lambda rows, i: (blocks - 1 - i if reverse else i, rows, FIRST))

    def of_rows(array: Any) -> Any:
        return pl.BlockSpec((plan.tile, array.shape[-1]), lambda rows, i: (rows, FIRST))

    def at_once(array: Any) -> Any:
        return pl.BlockSpec(array.shape, lambda *_: (FIRST,) * array.ndim, pipeline_mode=pl.Buffered(1))

    count = len(results) - len(start)
    counts = [len(each) for each in (whole, still, streams, start, results[:count], start, start)]
    numbers = sum(a.size for a in whole)
    return pl.pallas_call(
        partial(kernel, step, counts, steps, plan.block, blocks, reverse),
        grid=(plan.rows // plan.tile, blocks),
        in_specs=[*map(at_once, whole), *map(of_rows, still), *map(of_time, streams), *map(of_rows, start)],
        out_specs=[*map(of_time, results[:count]), *map(of_rows, start)],
        out_shape=results,
        scratch_shapes=[pltpu.VMEM((plan.tile, h.shape[-1]), h.dtype) for h in start],
        compiler_params=pltpu.CompilerParams(dimension_semantics=ORDER, vmem_limit_bytes=int(LIMIT * target.vmem)),
        cost_estimate=pl.CostEstimate(
            flops=2 * steps * plan.rows * numbers,
            transcendentals=steps * sum(h.size for h in start),
            bytes_accessed=sum(a.size * a.dtype.itemsize for a in (*whole, *still, *streams, *start, *results)),
        ),
        interpret=target.interpret,
        name=name,
    )(*whole, *still, *streams, *start)


def kernel(step: Callable, counts: list[int], steps: int, block: int, blocks: int, reverse: bool, *refs: Any) -> None:
    """One block of time steps of one tile of sequences."""
    remaining = iter(refs)
    whole, still, streams, start, ys, last, kept = (list(islice(remaining, count)) for count in counts)
    i = pl.program_id(1)

    @pl.when(i == 0)
    def _begin() -> None:
        copy(kept, [h[...] for h in start])

    here = jnp.int32(block)
    if steps % block:  # the last block of the array has fewer steps
        where = jnp.int32(blocks - 1) - i if reverse else i
        here = jnp.minimum(here, jnp.int32(steps) - where * jnp.int32(block))

    def one(k: Array, state: list[Array]) -> list[Array]:
        t = here - jnp.int32(1) - k if reverse else k
        # read within the loop: weights outside of it would have to stay in registers
        state, values = step([w[...] for w in whole], [r[...] for r in still], [x[t] for x in streams], state)
        for ref, value in zip(ys, values, strict=True):
            ref[t] = value
        return state

    state = jax.lax.fori_loop(jnp.int32(0), here, one, [h[...] for h in kept])
    copy(kept, state)

    @pl.when(i == blocks - 1)
    def _end() -> None:
        copy(last, state)


def copy(refs: list[Any], values: list[Array]) -> None:
    for ref, value in zip(refs, values, strict=True):
        ref[...] = value
