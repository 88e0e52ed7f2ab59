"""The recurrence itself: the scan of a cell's step over time, or one call of a kernel, in segments if need be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from jrnn import kernels
from jrnn.cells import Wrapper, draw_noise
from jrnn.masking import Schedule, select, zero_unless
from jrnn.types import Array, Inputs, Params, Shape, State


class Unrolled(NamedTuple):
    """What `unroll` returns. Time is axis 0 (or `time_axis`) in outputs, states and mask."""

    outputs: Any
    """y_t [T, *B, K]; zero where the step did not happen."""
    final_state: State
    """The state after the last step that happened [*B, ...]; the initial state at length 0."""
    states: State | None
    """With return_states: h_0..h_T [T+1, *B, ...], states[0] the initial state; padding holds the last valid one.
    With reverse they stay at their times: states[t] is the state after step t was read, states[T] the initial one."""
    mask: Bool[Array, "T *B"]
    """[T, *B] of bool: the steps that happened (lengths and mask together)."""
    last: Any
    """[*B, K]: the output of the step read last (with reverse: the earliest valid one); zero if none happened."""


class Plan(NamedTuple):
    """The static part of a scan."""

    steps: int
    batch_shape: Shape
    reverse: bool
    segment: int | None  # steps recomputed together in the backward pass; None stores everything
    unroll: int
    return_states: bool
    silent: bool  # the tap is zero and is not read
    implementation: str  # "reference" is the scan of the cell's own step
    beneath: bool  # a layer of a causal stack: what it hands on is part of the stack's step, so without the tap


@partial(jax.jit, static_argnums=(0, 8))
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

    def one(state: State, inputs: tuple) -> tuple[State, Any]:
        t, x, now, pull = inputs
        if now.cuts is not None:
            state = select(now.cuts, jax.lax.stop_gradient(state), state)
        if now.resets is not None:
            state = select(now.resets, restart, state)
        if now.valid is not None:
            # padding may hold NaN, and 0 * NaN would reach the gradient through the step that is thrown away
            x = zero_unless(now.valid, x)
        noise = draw_noise(cell, params, key, t, plan.batch_shape)
        options = {} if noise is None else {"noise": noise}
        after = cell.step(params, state, x, **options)
        if now.valid is not None:
            after = select(now.valid, after, state)
        reads = after
        if pull is not None:
            pull = pull if now.inside is None else zero_unless(now.inside, pull)
            after = jax.tree.map(listen if plan.silent else jnp.add, after, pull)
        reads = state if getattr(cell, "reads_previous", False) else reads if plan.beneath else after
        y = cell.output(params, reads, x, **options)
        return after, y if now.valid is None else zero_unless(now.valid, y)

    def body(carry: tuple[State, Any], inputs: tuple) -> tuple[tuple[State, Any], tuple[Any, State | None]]:
        state, last = carry
        after, y = one(state, inputs)
        valid = inputs[2].valid
        last = y if valid is None else select(valid, y, last)
        return (after, last), (y, after if plan.return_states else None)

    if tap is not None:
        first = plan.steps if plan.reverse else 0
        start = jax.tree.map(lambda h, pull: h + pull[first], start, tap)
        tap = jax.tree.map(lambda pull: pull[:-1] if plan.reverse else pull[1:], tap)
    inputs = (jnp.arange(plan.steps), xs, when, tap)
    slices = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), inputs)
    silence = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(one, start, slices)[1])
    if plan.implementation == "reference":
        steps = partial(jax.lax.scan, body, reverse=plan.reverse, unroll=plan.unroll)
        if plan.segment == 1:
            steps = partial(
                jax.lax.scan, jax.checkpoint(body, prevent_cse=False), reverse=plan.reverse, unroll=plan.unroll
            )
    else:
        steps = partial(kernel_steps, cell, params, restart, plan)
    (final, last), (outputs, states) = scan_segments(steps, (start, silence), inputs, plan)
    if plan.return_states:
        order = (lambda h, hs: (hs, h[None])) if plan.reverse else (lambda h, hs: (h[None], hs))
        states = jax.tree.map(lambda h, hs: jnp.concatenate(order(h, hs)), start, states)
    happened = jnp.ones((plan.steps, *plan.batch_shape), bool) if when.valid is None else when.valid
    return Unrolled(outputs, final, states, happened, last)


@jax.custom_jvp
def listen(h: Array, pull: Array) -> Array:
    """h + pull for a pull of zeros: the same derivatives, without reading and adding T states of zeros."""
    return h


@listen.defjvp
def listen_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """dh + dpull, which is linear, so that both modes work; integers have no tangent."""
    moves = jnp.issubdtype(primals[0].dtype, jnp.inexact)
    return primals[0], tangents[0] + tangents[1] if moves else tangents[0]


def kernel_steps(cell: Any, params: Params, restart: State, plan: Plan, carry: Any, inputs: Any) -> tuple[Any, Any]:
    """What `lax.scan` of the steps returns, by a kernel for all of them at once."""
    (state, last), (times, xs, when, tap) = carry, inputs
    tree = jax.tree.structure(state)
    everything = plan.return_states or isinstance(cell, Wrapper)
    states, final = kernels.recur(
        cell.kernel(params),  # pyright: ignore[reportArgumentType]
        xs,
        tuple(jax.tree.leaves(state)),
        len(times),
        plan.batch_shape,
        restart=tuple(jax.tree.leaves(restart)),
        events=kernels.Events(*when),
        tap=None if tap is None else tuple(jax.tree.leaves(tap)),
        silent=plan.silent,
        reverse=plan.reverse,
        implementation=plan.implementation,
        all_states=everything,
        keep=plan.segment != 1,
    )
    final = jax.tree.unflatten(tree, final)
    after = jax.tree.unflatten(tree, states) if everything else None
    if tap is not None and plan.beneath:
        taken = tap if when.inside is None else zero_unless(when.inside, tap)
        states = tuple(map(unhear if plan.silent else jnp.subtract, states, jax.tree.leaves(taken)))
    outputs = states[0]
    if isinstance(cell, Wrapper):
        reads = jax.tree.unflatten(tree, states)
        outputs = cell.output(params, reads, xs if when.valid is None else zero_unless(when.valid, xs))
    if when.valid is None:
        last = jax.tree.map(lambda y: y[0 if plan.reverse else -1], outputs)
    else:
        outputs = zero_unless(when.valid, outputs)
        read = when.valid[::-1] if not plan.reverse else when.valid
        at = jnp.argmax(read, axis=0)
        at = at if plan.reverse else len(times) - 1 - at
        newest = jax.tree.map(lambda y: jnp.take_along_axis(y, at[None, ..., None], axis=0)[0], outputs)
        last = select(when.valid.any(axis=0), newest, last)
    return (final, last), (outputs, after if plan.return_states else None)


@jax.custom_jvp
def unhear(h: Array, pull: Array) -> Array:
    """h - pull for a pull of zeros: what `listen` added is taken away."""
    return h


@unhear.defjvp
def unhear_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[0], tangents[0] - tangents[1]


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
