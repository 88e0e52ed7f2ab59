"""The recurrence itself: the scan of a cell's step over time, or one call of a kernel, in segments if need be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import draw_noise, jit_by_cell, prepared
from jrnn.kernels.sharding import aligned, placed_like
from jrnn.numerics import select
from jrnn.types import Inputs, Params, State, widened
from jrnn.unrolling.choice import CELL_SCAN
from jrnn.unrolling.kernel_calls import kernel_steps, segment_for
from jrnn.unrolling.records import Options, Unrolled
from jrnn.unrolling.schedule import schedule_of, zero_unless
from jrnn.unrolling.states import check_step, start_and_reset
from jrnn.unrolling.step_rule import enter
from jrnn.unrolling.taps import add_zero_tap, assemble, split_tap


@partial(jit_by_cell, static_argnums=(0, 4))
def scan(cell: Any, params: Params, xs: Inputs, options: Options, implementation: str) -> Unrolled:
    """A run of one cell, or of a stack as one; jitted, so that an eager call compiles once per shape."""
    start, reset_state = start_and_reset(cell, params, options)
    params = prepared(cell, params)
    check_step(cell, params, start, xs)
    schedule, batch_axes = schedule_of(options), len(options.batch_shape)
    placed = partial(placed_like, next(iter(jax.tree.leaves(xs)), jnp.zeros(())), times=0, batch=batch_axes)
    start, *_ = aligned((jax.tree.map(placed, start), params, xs, reset_state, schedule, options.state_tap))
    start, inputs = split_tap(start, xs, schedule, options)
    # float32 outside the loop: its backward pass adds up T gradients in their dtype, and 16 bits would stop growing
    step = partial(one_step, cell, params, jax.tree.map(widened, params), reset_state, options)
    slices = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), inputs)
    silence = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(step, start, slices)[1])
    silence, _ = aligned((jax.tree.map(placed, silence), start))

    def body(carry: tuple[State, Any], inputs: tuple) -> tuple[tuple[State, Any], tuple[Any, State | None]]:
        state, last = carry
        after, y = step(state, inputs)
        valid = inputs[2].valid
        last = y if valid is None else select(valid, y, last)
        return (after, last), (y, after if options.return_states else None)

    if implementation == CELL_SCAN:
        body = jax.checkpoint(body, prevent_cse=False) if options.segment == 1 else body
        steps = partial(jax.lax.scan, body, reverse=options.reverse, unroll=options.unroll)
    else:
        steps = partial(kernel_steps, cell, params, reset_state, options, implementation)
    segment = segment_for(cell, options, implementation, start)
    if segment in (None, 1) or options.steps == 0:
        return assemble(start, schedule, options, *steps((start, silence), inputs))
    return assemble(start, schedule, options, *scan_segments(steps, (start, silence), inputs, segment, options))


def one_step(
    cell: Any, params: Params, wide: Params, reset_state: State, options: Options, state: State, inputs: tuple
) -> tuple[State, Any]:
    """(h_t with the tap, y_t) from h_{t-1}; `wide` are the parameters that the loop closes over."""
    t, x, now, tap = inputs
    own = jax.tree.map(lambda w, p: w if w.dtype == p.dtype else w.astype(p.dtype), wide, params)
    noise = draw_noise(cell, own, options.key, t, options.batch_shape)
    entered = enter(cell, own, state, x, now, reset_state, noise)
    after = tapped = entered.after()
    if tap is not None:
        tap = tap if now.inside is None else zero_unless(now.inside, tap)
        tapped = jax.tree.map(add_zero_tap if options.tap_is_zero else jnp.add, after, tap)
    return tapped, entered.output(after if options.inside_stack else tapped)


def scan_segments(run_steps: Callable, carry: Any, inputs: Any, segment: int, options: Options) -> tuple[Any, Any]:
    """`run_steps(carry, inputs)` in segments, each recomputed in the backward pass."""

    def recomputed(length: int) -> Callable:
        def steps_from(carry: Any, start: Any, inputs: Any) -> tuple[Any, Any]:
            return run_steps(carry, jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, length), inputs))

        remembered = jax.checkpoint(steps_from, prevent_cse=False)
        # each segment cuts its own inputs: [count, size, ...] would be a copy of all of xs where size does not divide T
        return lambda carry, start: remembered(carry, start, inputs)

    size = min(segment, options.steps)
    count, rest = divmod(options.steps, size)
    whole = count * size
    parts = []
    if options.reverse and rest:
        carry, ys = recomputed(rest)(carry, whole)
        parts.append(ys)
    carry, ys = jax.lax.scan(recomputed(size), carry, size * jnp.arange(count), reverse=options.reverse)
    parts.insert(0, jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), ys))
    if not options.reverse and rest:
        carry, ys = recomputed(rest)(carry, whole)
        parts.append(ys)
    return carry, parts[0] if len(parts) == 1 else jax.tree.map(lambda *a: jnp.concatenate(a), *parts)
