"""The Lyapunov spectrum along a run: how fast the directions of the state space grow or shrink, in nats per step."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import check_key, jit_by_cell
from jrnn.cells._advance import flat_state
from jrnn.flow.lyapunov.result import LyapunovSpectrum
from jrnn.flow.lyapunov.tangents import Orthonormal, Tangents, blocks_of, first_flaw
from jrnn.types import Array, InputError, Inputs, Params, State, ravel_state, wide_dtype
from jrnn.unrolling import Options, read, unroll
from jrnn.unrolling.checks import check_causal, check_count
from jrnn.unrolling.schedule import schedule_of
from jrnn.unrolling.states import check_real, start_and_reset


def lyapunov_spectrum(
    cell: Any,
    params: Params,
    xs: Inputs = None,
    *,
    length: int | None = None,
    k: int | None = None,
    warmup: int = 0,
    every: int = 1,
    initial_state: State | None = None,
    lengths: Any = None,
    mask: Any = None,
    key: Array | None = None,
) -> LyapunovSpectrum:
    """The k largest Lyapunov exponents along a run, driven by xs or autonomous, by QR of propagated tangents.

    k tangents a sequence are pushed through the step by forward mode (J is never formed) and orthonormalised every
    `every` steps; cost T (k steps' forward mode + N k^2), memory N k. Where a state is NaN or infinite, only what came
    before counts and the result names the first time and unit.

    Args:
      cell, params, xs, initial_state, lengths, mask: as for `jrnn.unroll`, time-major; the cell must be causal.
      length: T, where xs is None.
      k: how many exponents; all N by default.
      warmup: steps at the start that align the directions and settle the state, and do not count.
      every: steps between orthonormalisations; only at 1 is a direction that dies told from one that shrinks below
        rounding.
      key: draws the first directions (a fixed draw by default); after the warm-up the result does not depend on it.
    Returns:
      A `LyapunovSpectrum`. Where no step of a sequence counts (it ends in the warm-up) it has no exponent: 0 stands
      there, with a standard error of infinity and nothing in `counted`, and `warnings()` says so.
    Raises:
      InputError: T = 0, k > N, a warm-up of T steps or more, or as `unroll`.
    """
    check_causal(cell)
    xs, options = read(cell, params, xs, initial_state=initial_state, length=length, lengths=lengths, mask=mask)
    steps = options.steps
    if steps == 0:
        raise InputError("length" if xs is None else "xs", "no steps, T = 0", "at least one: growth is per step")
    every = check_count("every", every, 1, "a positive number of steps")
    key = jax.random.key(0) if key is None else key
    check_key(key)
    start = start_and_reset(cell, params, options)[0]
    check_real(start)
    size = flat_state(cell, params).size
    k = size if k is None else check_count("k", k, 1, f"from 1 to N = {size}")
    if k > size:
        raise InputError("k", k, f"from 1 to N = {size}, the size of the state")
    if not 0 <= check_count("warmup", warmup, 0, "a number of steps") < steps:
        raise InputError("warmup", warmup, f"fewer steps than the run has, T = {steps}")
    fields = measured(cell, (k, every), params, xs, start, options, warmup, key)
    return LyapunovSpectrum(*fields, size=size)


@partial(jit_by_cell, static_argnums=(0, 1))
def measured(
    cell: Any, plan: tuple, params: Params, xs: Inputs, start: State, options: Options, warmup: Any, key: Any
) -> tuple:
    """The array fields; jitted as one, so that an eager call compiles once per shape."""
    (k, every), steps, batch_shape = plan, options.steps, options.batch_shape
    flat = ravel_state(start, len(batch_shape))
    dtype = wide_dtype(flat.dtype)
    q = jnp.linalg.qr(jax.random.normal(key, (flat.shape[-1], k), dtype))[0].T
    valid = schedule_of(options).valid
    every_step = jnp.ones((steps, *batch_shape), bool)
    if valid is None and steps % every:
        valid = every_step  # the last block is filled up with steps that do not happen
    blocks = blocks_of(xs, valid, every, len(batch_shape), getattr(cell, "input_ndim", 1))
    zeros = jnp.zeros((*batch_shape, k), dtype), jnp.zeros((*batch_shape, every), jnp.int32)
    tangents = Tangents(start, jnp.broadcast_to(q, (*batch_shape, *q.shape)), *zeros)
    count = -(-steps // every)  # renewals
    run = unroll(Orthonormal(cell, k, every), params, blocks, length=count, initial_state=tangents)
    log_r, flaws = run.outputs
    happened = (every_step if valid is None else valid).astype(jnp.int32)
    happened = jnp.concatenate([happened, jnp.zeros((-steps % every, *batch_shape), jnp.int32)])
    taken = jnp.sum(happened.reshape(count, every, *batch_shape), axis=1, dtype=jnp.int32)

    flaws = jnp.moveaxis(flaws, -1, 1).reshape(count * every, *batch_shape)
    flaws = jnp.concatenate([first_flaw(start, len(batch_shape))[None], flaws])
    broken = jnp.any(flaws > 0, axis=0)
    at = jnp.argmax(flaws > 0, axis=0).astype(jnp.int32)
    unit = jnp.where(broken, jnp.take_along_axis(flaws, at[None], axis=0)[0] - 1, -1)
    at = jnp.where(broken, at, -1)

    times = jax.lax.broadcasted_iota(jnp.int32, taken.shape, 0)
    whole = ~broken[None] | ((times + 1) * every < jnp.broadcast_to(at[None], times.shape))
    sane = jnp.all(jnp.isfinite(log_r) | jnp.isneginf(log_r), axis=-1) & whole
    finite = jnp.cumprod(sane.astype(jnp.int32), axis=0).astype(bool)
    log_r = jnp.where(finite[..., None], log_r, 0)
    before = jnp.cumsum(taken, axis=0, dtype=jnp.int32) - taken
    counted = (taken > 0) & (before >= warmup) & finite
    exponents, errors = mean_and_error(log_r, taken, counted)
    dead = jnp.isneginf(log_r)
    span = jnp.where(dead, 0, log_r[..., :1] - jnp.where(dead, 0, log_r))
    limit = jnp.log(0.01 / jnp.finfo(flat.dtype).eps).astype(dtype)
    resolved = jnp.all((span < limit) | ~counted[..., None], axis=0)
    return exponents, errors, log_r, taken, counted, resolved, finite, at, unit


def mean_and_error(log_r: Array, taken: Array, counted: Array) -> tuple[Array, Array]:
    """Mean per step over the counted renewals and its standard error from consecutive blocks, both [*B, k]."""
    weight = jnp.where(counted, taken, 0).astype(log_r.dtype)
    gain = jnp.where(counted[..., None], log_r, 0)
    total = jnp.maximum(jnp.sum(weight, axis=0), 1)
    mean = jnp.sum(gain, axis=0) / total[..., None]
    length = max(math.isqrt(len(log_r)), 1)
    many = len(log_r) // length
    late = len(log_r) - many * length
    finite = jnp.where(jnp.isfinite(gain), gain, 0)
    sums = finite[late:].reshape(many, length, *gain.shape[1:]).sum(1)
    times = weight[late:].reshape(many, length, *weight.shape[1:]).sum(1)
    excess = jnp.where(times[..., None] > 0, sums - jnp.where(jnp.isfinite(mean), mean, 0)[None] * times[..., None], 0)
    blocks = jnp.sum(times > 0, axis=0).astype(log_r.dtype)[..., None]
    error = jnp.sqrt(jnp.sum(excess**2, axis=0) * blocks / jnp.maximum(blocks - 1, 1)) / total[..., None]
    return mean, jnp.where(jnp.isfinite(mean), jnp.where(blocks > 1, error, jnp.inf), 0)
