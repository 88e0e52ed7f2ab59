"""Which output's gradient reaches which state: dL/dh_k split by output."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jrnn.boundary import as_array, as_arrays
from jrnn.flow.jacobian import check_causal
from jrnn.gradients import loss_value
from jrnn.masking import concrete, schedule, zero_unless
from jrnn.types import Array, InputError, Inputs, Params, ravel_state
from jrnn.unrolling import Unrolled, unroll

CHUNK_ELEMENTS = 2**25  # of one block of parts held at a time


class GradientFlow(NamedTuple):
    """dL/dh_k and its split by output, part(t, k) = (dy_t/dh_k)^T g_t with g_t = dL/dy_t taken once."""

    state_gradients: Float[Array, "T+1 *B N"]
    """delta_k = dL/dh_k = sum_t part(t, k), [T+1, *B, N], unit of L over unit of h."""
    credit: Float[Array, "R T+1 *B"]
    """||part(t, k)||_2, [R, T+1, *B]: row i is output t = output_times[i], column k; zero for k > t. With reverse the
    columns are laid out like `Unrolled.states`: output t reads column t - 1, and the part is zero for k < t - 1."""
    output_times: Int[Array, " R"]
    """[R] of int, 1..T: the outputs that were followed; all of them by default, so row i is output t = i + 1."""


def output_pull(
    cell: Any, params: Params, xs: Inputs, loss: Callable, loss_params: Params = None, **options: Any
) -> tuple:
    """(run, g_outputs [T, *B, K], g_final, final_row [T, *B]): dL/dy_t for every output, and dL/d final_state.

    `last` counts at the step it came from, `final_state` at the last step inside the lengths (row 0 if there is none).
    """
    run = unroll(cell, params, xs, **options)

    def of(outputs: Any, final_state: Any, last: Any) -> Array:
        return loss_value(loss, loss_params, run._replace(outputs=outputs, final_state=final_state, last=last))

    pull, g_final, g_last = jax.grad(of, argnums=(0, 1, 2))(run.outputs, run.final_state, run.last)
    steps, batch_shape = run.mask.shape[0], run.mask.shape[1:]
    reverse = options.get("reverse", False)
    inside = schedule(steps, batch_shape, options.get("lengths"), None, None, reverse, None).inside
    last_row = end_of(run.mask, reverse)
    pull = jax.tree.map(lambda g, one: g + zero_unless(last_row, jnp.broadcast_to(one[None], g.shape)), pull, g_last)
    final_row = end_of(jnp.ones_like(run.mask) if inside is None else inside, reverse)
    if steps:
        final_row = final_row.at[0].set(final_row[0] | ~jnp.any(final_row, axis=0))
    return run, pull, g_final, final_row


def end_of(happened: Array, reverse: bool) -> Array:
    """[T, *B] of bool: True at the one step read last."""
    after = jnp.cumsum(happened.astype(jnp.int32), axis=0, dtype=jnp.int32)
    return happened & ((after == 1) if reverse else (after == after[-1:]))


def gradient_flow(
    cell: Any,
    params: Params,
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    loss_params: Params = None,
    output_times: Any = None,
    **options: Any,
) -> GradientFlow:
    """Splits dL/dh_k by output: which outputs' gradient reaches h_k, and how much of it.

    One vector-Jacobian product of the whole run per output, several at a time. Because g_t = dL/dy_t is taken once, the
    parts sum exactly to dL/dh_k for any differentiable loss.

    Args:
      cell, params, xs: as for `jrnn.unroll`, time-major; the cell must be causal.
      loss: `loss(unrolled) -> scalar` of outputs, last, final_state and mask, or `loss(loss_params, unrolled)`.
      loss_params: as for `jrnn.value_and_grads`.
      output_times: which outputs t to follow, ints in 1..T (output t is `outputs[t - 1]`); all by default.
      options: any other option of `unroll` but time_axis, return_states and state_tap; with `truncate` the parts are
        those that truncated backpropagation leaves.
    Returns:
      A `GradientFlow`.
    Raises:
      InputError: the cell is not causal, an output time is out of range, the loss is not a real scalar, or as `unroll`.
    """
    check_causal(cell)
    for name in ("time_axis", "return_states", "state_tap"):
        if name in options:
            raise InputError(name, f"{options[name]!r:.60}", f"no {name}: xs is time-major, the states are tapped here")
    xs = as_arrays("xs", xs)
    run, g_outputs, g_final, final_row = output_pull(cell, params, xs, loss, loss_params, **options)
    steps = run.mask.shape[0]
    times = jnp.arange(1, steps + 1, dtype=jnp.int32)
    times = times if output_times is None else check_output_times(output_times, steps)
    delta, credit = follow(cell, params, xs, g_outputs, g_final, final_row, times - 1, **options)
    return GradientFlow(delta, credit, times)


@partial(jax.jit, static_argnums=0, static_argnames=("length", "reverse", "remat", "truncate", "unroll"))
def follow(
    cell: Any, params: Params, xs: Inputs, g_outputs: Any, g_final: Any, final_row: Array, rows: Array, **options: Any
) -> tuple[Array, Array]:
    """(delta [T+1, *B, N], ||part|| [R, T+1, *B]) from the pulls of `output_pull`; rows are indices into time."""
    steps, batch_ndim = final_row.shape[0], final_row.ndim - 1
    shape = jax.eval_shape(lambda: unroll(cell, params, xs, return_states=True, **options)).states
    tap = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)

    def tapped(tap: Any) -> tuple[Any, Any]:
        out: Unrolled = unroll(cell, params, xs, state_tap=tap, **options)
        return out.outputs, out.final_state

    _, pullback = jax.vjp(tapped, tap)

    def part(row: Array) -> Array:
        one = jnp.arange(steps, dtype=jnp.int32) == row
        g = jax.tree.map(lambda g: jnp.where(one.reshape(-1, *(1,) * (g.ndim - 1)), g, jnp.zeros_like(g)), g_outputs)
        return ravel_state(pullback((g, zero_unless(final_row[row], g_final)))[0], batch_ndim + 1)

    total = ravel_state(pullback((g_outputs, g_final))[0], batch_ndim + 1)
    if not len(rows) or not total.size:
        return total, jnp.zeros((len(rows), *total.shape[:-1]), total.dtype)
    chunk = max(1, min(len(rows), CHUNK_ELEMENTS // total.size))
    return total, jax.lax.map(lambda row: norm(part(row)), rows, batch_size=chunk)


def norm(vectors: Array) -> Array:
    """||v||_2 over the last axis, without under- or overflow in the squares: a part of 1e-30 in float32 is not zero."""
    size = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    size = jnp.where((size > 0) & jnp.isfinite(size), size, jnp.ones_like(size))
    return size[..., 0] * jnp.linalg.norm(vectors / jnp.broadcast_to(size, vectors.shape), axis=-1)


def check_output_times(times: Any, steps: int) -> Array:
    """Output times as int32 [R]; InputError unless all are ints in 1..T (where their values can be seen)."""
    known = concrete(times)
    array = as_array("output_times", times)
    if array.size and not jnp.issubdtype(array.dtype, jnp.integer) or array.ndim != 1:
        raise InputError("output_times", f"{array.dtype}{list(array.shape)}", "a list of integers")
    bad = [] if known is None else [int(t) for t in known if not 1 <= t <= steps]
    if bad:
        raise InputError("output_times", bad[0], f"output times from 1 to T = {steps}")
    return array.astype(jnp.int32)
