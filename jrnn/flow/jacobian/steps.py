"""Explicit Jacobians J_t = dh_t/dh_{t-1} along a run."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells import draw_noise, jit_by_cell
from jrnn.cells._advance import flat_state, state_shapes
from jrnn.types import Array, InputError, Inputs, Params, State, ravel_state, unravel_state
from jrnn.unrolling import Options, Unrolled, read, run
from jrnn.unrolling.checks import check_causal
from jrnn.unrolling.schedule import Schedule, schedule_of, zero_unless
from jrnn.unrolling.states import start_and_reset
from jrnn.unrolling.step_rule import enter, hold


def jacobians(
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
    key: Array | None = None,
    method: str = "auto",
) -> Float[Array, "T *B N N"]:
    """J[i] = dh_{i+1}/dh_i for i = 0..T-1, by `jax.jacfwd` of the cell's step, `vmap`ped over time, or in closed form.

    Only `step` is differentiated, over the whole flattened state (N = 2H for an LSTM: h, then c). J = I where the step
    did not happen (padding, mask), J = 0 where a reset cuts the past off. With reverse J[i] is
    d states[i]/d states[i+1].

    Args:
      cell, params, xs, ...: as for `jrnn.unroll`, time-major; the cell must be causal.
      method: "jacfwd", the definition, O(N) forward passes a step; "closed_form", the cell's own `jacobian` (all
        of jrnn's cells and their stacks), O(N^2) work a step; "auto", the closed form where there is one.
    Returns:
      [T, *B, N, N], row = component of h_{i+1}, column = component of h_i.
    Raises:
      InputError: a method there is not, `Bidirectional` (analyse each direction by itself), or as `unroll`.
    """
    check_causal(cell)
    if method not in ("auto", "jacfwd", "closed_form"):
        raise InputError("method", repr(method), "'auto', 'jacfwd' or 'closed_form'")
    closed = method != "jacfwd" and has_closed_form(cell)
    if method == "closed_form" and not closed:
        raise InputError("method", "'closed_form'", f"'jacfwd': {type(cell).__name__} has no closed form")
    xs, options = read(
        cell, params, xs, initial_state=initial_state, reset_state=reset_state, length=length, lengths=lengths,
        resets=resets, mask=mask, reverse=reverse, key=key, return_states=True,
    )  # fmt: skip
    return step_jacobians(cell, params, xs, previous_states(run(cell, params, xs, options), options), options, closed)


def has_closed_form(cell: Any) -> bool:
    """Whether the cell has a `jacobian` of its own."""
    return getattr(cell, "jacobian", None) is not None


def previous_states(unrolled: Unrolled, options: Options) -> State:
    """h_{t-1} of each step [T, *B, ...], before a reset."""
    return jax.tree.map(lambda h: h[1:] if options.reverse else h[:-1], unrolled.states)


@partial(jit_by_cell, static_argnums=(0, 5))
def step_jacobians(cell: Any, params: Params, xs: Inputs, entering: State, options: Options, closed: bool) -> Array:
    """The Jacobian of every step at the states entering it; jitted: eager calls compile once."""
    steps, batch_shape, schedule = options.steps, options.batch_shape, schedule_of(options)
    alone = state_shapes(cell, params)
    like = flat_state(cell, params)
    if steps == 0:
        return jnp.zeros((0, *batch_shape, like.size, like.size), like.dtype)
    reset_state = start_and_reset(cell, params, options)[1]

    def at(t: Array, state: State, x: Any, now: Schedule) -> Array:
        noise = draw_noise(cell, params, options.key, t, batch_shape)

        def after(state: State) -> State:
            return enter(cell, params, state, x, now, reset_state, noise).after()

        def displaced(shift: Array) -> Array:
            # one shift shared by the batch: each sequence depends on its own state only, so this is its own Jacobian
            shift = jax.tree.map(lambda s, h: jnp.broadcast_to(s, h.shape), unravel_state(shift, alone), state)
            return ravel_state(after(jax.tree.map(jnp.add, state, shift)), len(batch_shape))

        return jax.jacfwd(displaced)(jnp.zeros(like.shape, like.dtype))

    def in_closed_form(state: State, x: Any, now: Schedule) -> Array:
        entered = enter(cell, params, state, x, now, reset_state)
        J = cell.jacobian(params, entered.state, entered.x)[0].astype(like.dtype)
        J = hold(now.valid, J, jnp.broadcast_to(jnp.eye(like.size, dtype=like.dtype), J.shape))
        return J if now.resets is None else zero_unless(~now.resets, J)

    if closed:
        return jax.vmap(in_closed_form)(entering, xs, schedule)
    return jax.vmap(at)(jnp.arange(steps), entering, xs, schedule)


def has_forward_mode(cell: Any, params: Params, x: Any, state: State) -> bool:
    """Whether `step` can be differentiated forwards; not where it holds a `jax.custom_vjp`. Nothing is computed.

    The step is known to run by itself, so that a TypeError can only be JAX refusing to push a tangent through it.
    """
    try:  # lowered, for tracing alone does not refuse
        jax.jit(lambda h: jax.jvp(lambda h: cell.step(params, h, x), (h,), (h,))).lower(state)
    except TypeError:
        return False
    return True
