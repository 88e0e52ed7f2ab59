"""The recurrence itself: the scan of a cell's step over time, or one call of a kernel, in segments if need be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import draw_noise, jit_by_cell, program_of
from jrnn.kernel_calls import alike, kernel_steps, scan_together
from jrnn.kernels.sharding import aligned, placed_like
from jrnn.masking import Schedule, select, zero_unless
from jrnn.plans import Plan, Run, Unrolled, begun, ended
from jrnn.types import Array, Inputs, Params, State, widened


@partial(jit_by_cell, static_argnums=(0, 8))
def scan(
    cell: Any,
    params: Params,
    xs: Inputs,
    start: State,
    restart: State,
    when: Schedule,
    tap: State | None,
    key: Array | None,
    plan: Plan,
) -> Unrolled:
    """The recurrence itself; jitted, so that an eager call compiles once per shape."""

    # float32 outside the loop: its backward pass adds up T gradients in their dtype, and 16 bits would stop growing
    wide = jax.tree.map(widened, params)

    def one(state: State, inputs: tuple) -> tuple[State, Any]:
        t, x, now, pull = inputs
        own = jax.tree.map(lambda w, p: w if w.dtype == p.dtype else w.astype(p.dtype), wide, params)
        if now.cuts is not None:
            state = select(now.cuts, jax.lax.stop_gradient(state), state)
        if now.resets is not None:
            state = select(now.resets, restart, state)
        if now.valid is not None:
            # padding may hold NaN, and 0 * NaN would reach the gradient through the step that is thrown away
            x = zero_unless(now.valid, x)
        noise = draw_noise(cell, own, key, t, plan.batch_shape)
        options = {} if noise is None else {"noise": noise}
        after = cell.step(own, state, x, **options)
        if now.valid is not None:
            after = select(now.valid, after, state)
        reads = after
        if pull is not None:
            pull = pull if now.inside is None else zero_unless(now.inside, pull)
            after = jax.tree.map(listen if plan.silent else jnp.add, after, pull)
        reads = state if getattr(cell, "reads_previous", False) else reads if plan.beneath else after
        y = cell.output(own, reads, x, **options)
        return after, y if now.valid is None else zero_unless(now.valid, y)

    def body(carry: tuple[State, Any], inputs: tuple) -> tuple[tuple[State, Any], tuple[Any, State | None]]:
        state, last = carry
        after, y = one(state, inputs)
        valid = inputs[2].valid
        last = y if valid is None else select(valid, y, last)
        return (after, last), (y, after if plan.return_states else None)

    placed = partial(placed_like, next(iter(jax.tree.leaves(xs)), jnp.zeros(())), times=0, batch=len(plan.batch_shape))
    start = jax.tree.map(placed, start)
    start, *_ = aligned((start, params, xs, restart, when, tap))
    start, inputs = begun(xs, start, when, tap, plan)
    slices = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), inputs)
    silence = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(one, start, slices)[1])
    silence, _ = aligned((jax.tree.map(placed, silence), start))
    if plan.implementation == "reference":
        steps = partial(jax.lax.scan, body, reverse=plan.reverse, unroll=plan.unroll)
        if plan.segment == 1:
            steps = partial(
                jax.lax.scan, jax.checkpoint(body, prevent_cse=False), reverse=plan.reverse, unroll=plan.unroll
            )
    else:
        steps = partial(kernel_steps, cell, params, restart, plan)
    return ended(start, when, plan, *scan_segments(steps, (start, silence), inputs, plan))


def scan_both(one: Run, other: Run) -> tuple[Unrolled, Unrolled]:
    """`scan` of each; two runs of one shape over the same inputs are one call of their kernel."""
    if not alike(one, other):
        return scan(*one), scan(*other)
    statics = tuple((program_of(run.cell), run.plan) for run in (one, other))
    return scan_together(
        statics, one.xs, *((run.params, run.start, run.restart, run.when, run.tap) for run in (one, other))
    )


@jax.custom_jvp
def listen(h: Array, pull: Array) -> Array:
    """h + pull for a pull of zeros: the same derivatives, without reading and adding T states of zeros."""
    return h


@listen.defjvp
def listen_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """dh + dpull, which is linear, so that both modes work; integers have no tangent."""
    moves = jnp.issubdtype(primals[0].dtype, jnp.inexact)
    return primals[0], tangents[0] + tangents[1] if moves else tangents[0]


def scan_segments(run_steps: Callable, carry: Any, inputs: Any, plan: Plan) -> tuple[Any, Any]:
    """`run_steps(carry, inputs)`, in segments that are recomputed in the backward pass if the plan says so."""
    if plan.segment in (None, 1) or plan.steps == 0:
        return run_steps(carry, inputs)

    def segment(length: int) -> Callable:
        def steps_from(carry: Any, start: Any, inputs: Any) -> tuple[Any, Any]:
            return run_steps(carry, jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, length), inputs))

        remembered = jax.checkpoint(steps_from, prevent_cse=False)
        # each segment cuts its own inputs: [count, size, ...] would be a copy of all of xs where size does not divide T
        return lambda carry, start: remembered(carry, start, inputs)

    size = min(plan.segment, plan.steps)
    count, rest = divmod(plan.steps, size)
    whole = count * size
    parts = []
    if plan.reverse and rest:
        carry, ys = segment(rest)(carry, whole)
        parts.append(ys)
    carry, ys = jax.lax.scan(segment(size), carry, size * jnp.arange(count), reverse=plan.reverse)
    parts.insert(0, jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), ys))
    if not plan.reverse and rest:
        carry, ys = segment(rest)(carry, whole)
        parts.append(ys)
    return carry, parts[0] if len(parts) == 1 else jax.tree.map(lambda *a: jnp.concatenate(a), *parts)
