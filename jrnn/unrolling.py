"""Time: a cell scanned over a sequence. Only this file and kernels/ scan over time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from jrnn.boundary import (
    as_array,
    as_arrays,
    batch_of,
    check_count,
    check_key,
    check_state,
    check_step,
    segment_of,
    steps_of,
)
from jrnn.cells import Bidirectional, BidirectionalState, Stack, advance, check_cell, draw_noise, is_causal, merge
from jrnn.masking import Schedule, schedule, select, zero_unless
from jrnn.types import Array, InputError, Inputs, Params, Shape, State


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


class Silent(NamedTuple):
    """A `state_tap` known to be zero: `unroll` takes gradients with respect to it and never reads it."""

    tap: State


def unroll(
    cell: Any,
    params: Params,
    xs: Inputs,
    *,
    initial_state: State | None = None,
    reset_state: State | None = None,
    length: int | None = None,
    lengths: Any = None,
    resets: Any = None,
    mask: Any = None,
    reverse: bool = False,
    remat: bool | str | int | None = None,
    truncate: int | None = None,
    unroll: int = 1,
    return_states: bool = False,
    state_tap: State | None = None,
    time_axis: int = 0,
    key: Array | None = None,
) -> Unrolled:
    """Runs `cell` over a sequence: h_t = step(params, h_{t-1}, x_t), y_t = output(params, h_t, x_t).

    `jax.grad` of any loss of the result is backpropagation through time.

    Args:
      cell: a cell, a stack, or `Bidirectional`.
      params: its parameters.
      xs: [T, *B, F] with any number of batch axes or none, or a pytree of such; None for an autonomous cell.
      initial_state: h_0, leaves [*B, ...] in the cell's own state type; by default `cell.initial_state`. Cast to the
        cell's dtype.
      reset_state: what a reset goes to; by default the initial state. Needed when `initial_state` was carried over
        from an earlier chunk.
      length: T, where xs is None.
      lengths: [*B] of int, 0..T: steps from there on are padding, whose values do not matter (the cell is shown zeros
        there): the state is held, the output is zero, no gradient flows.
      resets: [T, *B] of bool: True at the first step of a segment; the state entering it is the reset state. Where
        `initial_state` was carried over from an earlier chunk, give `reset_state` too.
      mask: [T, *B] of bool: where False the step did not happen: the state is held, the output is zero.
      reverse: read the valid prefix from its end; outputs stay at their original times; a reset then acts between t
        and t - 1, so that segments stay the same sets of steps.
      remat: recompute in the backward pass instead of storing: "step" (or True) keeps the states only, "sqrt" one
        state every sqrt(T) steps, an int one every so many steps.
      truncate: cut the gradient into the state every `truncate` steps, counted in reading order (truncated BPTT).
      unroll: steps per iteration of the compiled loop.
      return_states: also return h_0..h_T.
      state_tap: zeros shaped like `states`, added to them: the gradient with respect to it is dL/dh_t. Padding, held
        by definition, gets zero.
      time_axis: where time is in xs, resets, mask, state_tap and in the results.
      key: a PRNG key for cells with noise (dropout); None runs without noise.
    Returns:
      An `Unrolled`.
    Raises:
      InputError: shapes, dtypes or options that do not fit; lengths out of range where their values are known.
    """
    check_cell(cell)
    check_key(key)
    axis = check_count("time_axis", time_axis, 0, "a non-negative axis")
    front, back = (partial(move_axis, source=a, to=b) for a, b in ((axis, 0), (0, axis)))
    silent = isinstance(state_tap, Silent)
    result = run(
        cell,
        params,
        front(as_arrays("xs", xs)),
        initial_state=initial_state,
        reset_state=reset_state,
        length=length,
        lengths=lengths,
        resets=front(None if resets is None else as_array("resets", resets)),
        mask=front(None if mask is None else as_array("mask", mask)),
        reverse=reverse,
        remat=remat,
        truncate=truncate,
        unroll=unroll,
        return_states=return_states,
        state_tap=front(state_tap.tap if isinstance(state_tap, Silent) else state_tap),
        silent=silent,
        key=key,
    )
    return result._replace(outputs=back(result.outputs), states=back(result.states), mask=back(result.mask))


def step(
    cell: Any, params: Params, state: State, x: Inputs, *, key: Array | None = None, t: Any = 0
) -> tuple[State, Any]:
    """One step of streaming: (h_{t-1}, x_t) -> (h_t, y_t); step after step it equals `unroll`.

    Args:
      cell, params: as for `unroll`, causal.
      state: h_{t-1}, leaves [*B, ...]; begin with `cell.initial_state(params, batch_shape)`.
      x: [*B, F].
      key, t: the key given to `unroll` and the index of this step, for cells with noise.
    Raises:
      InputError: the cell is not causal (`Bidirectional` reads the future).
    """
    check_cell(cell)
    if not is_causal(cell):
        raise InputError("cell", type(cell).__name__, "a causal cell: it reads the future, so it cannot be streamed")
    batch_shape = batch_of(cell, params, x, state, None, time_axes=0)
    state = check_state("state", state, cell, params, batch_shape)
    check_key(key)
    return advance(cell, params, state, x, draw_noise(cell, params, key, t, batch_shape))


def run(cell: Any, params: Params, xs: Inputs, *, key: Array | None, **options: Any) -> Unrolled:
    """Time-major `unroll`: gives descriptions that are not causal their meaning, hands cells to the scan."""
    if isinstance(cell, Bidirectional):
        return run_both(cell, params, xs, key=key, **options)
    if not is_causal(cell):
        return run_layers(cell, params, xs, key=key, **options)
    return run_cell(cell, params, xs, key=key, **options)


def run_both(
    cell: Bidirectional, params: Params, xs: Inputs, *, key: Array | None, reverse: bool, **options: Any
) -> Unrolled:
    """One direction reads forwards, the other backwards; each has its part of every state."""
    per_side = {name: options.pop(name) for name in ("initial_state", "reset_state", "state_tap")}
    for name, value in per_side.items():
        if value is not None and not isinstance(value, BidirectionalState):
            raise InputError(name, type(value).__name__, "BidirectionalState(forward, backward)")
    keys = (None, None) if key is None else jax.random.split(key)
    sides = []
    for side, backwards, own_key in (("forward", reverse, keys[0]), ("backward", not reverse, keys[1])):
        own = {name: None if value is None else getattr(value, side) for name, value in per_side.items()}
        sides.append(run(getattr(cell, side), params[side], xs, key=own_key, reverse=backwards, **own, **options))
    one, other = sides
    return Unrolled(
        outputs=merge(one.outputs, other.outputs),
        final_state=BidirectionalState(one.final_state, other.final_state),
        states=None if one.states is None else BidirectionalState(one.states, other.states),
        mask=one.mask,
        last=merge(one.last, other.last),
    )


def run_layers(cell: Stack, params: Params, xs: Inputs, *, key: Array | None, **options: Any) -> Unrolled:
    """A stack with a layer that reads the future runs layer by layer."""
    per_layer = {name: options.pop(name) for name in ("initial_state", "reset_state", "state_tap")}
    for name, value in per_layer.items():
        if value is not None and not (isinstance(value, tuple) and len(value) == len(cell.cells)):
            given = f"{type(value).__name__} of {len(jax.tree.leaves(value))} arrays"
            raise InputError(name, given, f"a tuple of the {len(cell.cells)} layers' states")
    layers: list[Unrolled] = []
    for i, layer in enumerate(cell.cells):
        own = {name: None if value is None else value[i] for name, value in per_layer.items()}
        own_key = None if key is None else jax.random.fold_in(key, i)
        layers.append(run(layer, params[i], xs, key=own_key, **own, **options))
        xs = layers[-1].outputs
    return layers[-1]._replace(
        final_state=tuple(layer.final_state for layer in layers),
        states=tuple(layer.states for layer in layers) if options["return_states"] else None,
    )


def run_cell(
    cell: Any,
    params: Params,
    xs: Inputs,
    *,
    initial_state: State | None,
    reset_state: State | None,
    length: int | None,
    lengths: Any,
    resets: Any,
    mask: Any,
    reverse: bool,
    remat: bool | str | int | None,
    truncate: int | None,
    unroll: int,
    return_states: bool,
    state_tap: State | None,
    silent: bool,
    key: Array | None,
) -> Unrolled:
    """Checks what was given against the cell, then scans."""
    steps = steps_of(xs, length)
    shaped = next(
        (flags[:1].reshape(flags.shape[1:]) for flags in (mask, resets) if flags is not None and len(flags)), None
    )
    batch_shape = batch_of(cell, params, xs, initial_state, shaped if lengths is None else lengths, time_axes=1)
    unroll = check_count("unroll", unroll, 1, "a positive number of steps")
    truncate = None if truncate is None else check_count("truncate", truncate, 1, "a positive number of steps, or None")
    start = check_state("initial_state", initial_state, cell, params, batch_shape)
    restart = start if reset_state is None else check_state("reset_state", reset_state, cell, params, batch_shape)
    if state_tap is not None:
        state_tap = check_state("state_tap", state_tap, cell, params, (steps + 1, *batch_shape))
    check_step(cell, params, start, xs)
    when = schedule(steps, batch_shape, lengths, resets, mask, reverse, truncate)
    plan = Plan(steps, batch_shape, reverse, segment_of(remat, steps), unroll, return_states, silent)
    return scan(cell, params, xs, start, restart, when, state_tap, key, plan)


class Plan(NamedTuple):
    """The static part of a scan."""

    steps: int
    batch_shape: Shape
    reverse: bool
    segment: int | None  # steps recomputed together in the backward pass; None stores everything
    unroll: int
    return_states: bool
    silent: bool  # the tap is zero and is not read


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
        if pull is not None:
            pull = pull if now.inside is None else zero_unless(now.inside, pull)
            after = jax.tree.map(listen if plan.silent else jnp.add, after, pull)
        y = cell.output(params, state if getattr(cell, "reads_previous", False) else after, x, **options)
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
    (final, last), (outputs, states) = scan_segments(body, (start, silence), inputs, plan)
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


def scan_segments(body: Callable, carry: Any, inputs: Any, plan: Plan) -> tuple[Any, Any]:
    """`lax.scan`, in segments that are recomputed in the backward pass if the plan says so."""
    run_steps = partial(jax.lax.scan, reverse=plan.reverse, unroll=plan.unroll)
    if plan.segment is None or plan.steps == 0:
        return run_steps(body, carry, inputs)
    if plan.segment == 1:
        return run_steps(jax.checkpoint(body, prevent_cse=False), carry, inputs)

    def segment(length: int) -> Callable:
        def steps_from(carry: Any, start: Any, inputs: Any) -> tuple[Any, Any]:
            return run_steps(
                body, carry, jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, length), inputs)
            )

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


def move_axis(tree: Any, source: int, to: int) -> Any:
    """`jnp.moveaxis` on every leaf; one of the two axes is 0, the other `time_axis`. None stays None."""
    if source == to:
        return tree
    for leaf in jax.tree.leaves(tree):
        if jnp.ndim(leaf) <= max(source, to):
            raise InputError("time_axis", f"{source + to} for an array of shape {jnp.shape(leaf)}", "an axis it has")
    return jax.tree.map(lambda a: jnp.moveaxis(jnp.asarray(a), source, to), tree)
