"""Explicit Jacobians J_t = dh_t/dh_{t-1} along a run, and their products."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells import check_cell, draw_noise, is_causal, jit_by_cell
from jrnn.types import Array, InputError, Inputs, Params, State, ravel_state, unravel_state, widened
from jrnn.unrolling import Options, Unrolled, read, run
from jrnn.unrolling.checks import as_array, is_count
from jrnn.unrolling.schedule import Schedule, schedule_of, zero_unless
from jrnn.unrolling.states import start_and_reset, state_shapes
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
      method: "jacfwd", the definition, O(N) forward passes a step; "closed_form", the cell's own `jacobian` (Elman,
        LSTM, GRU, linear and their stacks), O(N^2) work a step; "auto", the closed form where there is one.
    Returns:
      [T, *B, N, N], row = component of h_{i+1}, column = component of h_i.
    Raises:
      InputError: a method there is not, `Bidirectional` (analyse each direction by itself), or as `unroll`.
    """
    check_causal(cell)
    if method not in ("auto", "jacfwd", "closed_form"):
        raise InputError("method", repr(method), "'auto', 'jacfwd' or 'closed_form'")
    closed = method != "jacfwd" and getattr(cell, "jacobian", None) is not None
    if method == "closed_form" and not closed:
        raise InputError("method", "'closed_form'", f"'jacfwd': {type(cell).__name__} has no closed form")
    xs, options = read(
        cell, params, xs, initial_state=initial_state, reset_state=reset_state, length=length, lengths=lengths,
        resets=resets, mask=mask, reverse=reverse, key=key, return_states=True,
    )  # fmt: skip
    return step_jacobians(cell, params, xs, entering_states(run(cell, params, xs, options), options), options, closed)


def entering_states(unrolled: Unrolled, options: Options) -> State:
    """The state entering each step [T, *B, ...], before a reset."""
    return jax.tree.map(lambda h: h[1:] if options.reverse else h[:-1], unrolled.states)


@partial(jit_by_cell, static_argnums=(0, 5))
def step_jacobians(cell: Any, params: Params, xs: Inputs, entering: State, options: Options, closed: bool) -> Array:
    """The Jacobian of every step at the states entering it; jitted: eager calls compile once."""
    steps, batch_shape, schedule = options.steps, options.batch_shape, schedule_of(options)
    alone = state_shapes(cell, params, ())
    like = jax.eval_shape(lambda s: ravel_state(s, 0), alone)
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


class ScaledProduct(NamedTuple):
    """A product of Jacobians, exp(log_scale) * matrix, that neither overflows nor underflows."""

    matrix: Float[Array, "*B N N"]
    """[*B, N, N], its largest entry in magnitude about 1 (or all zero)."""
    log_scale: Float[Array, "*B"]
    """[*B], natural logarithm of the factor taken out."""

    def log_singular_values(self) -> Array:
        """ln sigma_i of the whole product [*B, N], descending; -inf where it is singular.

        Those further than about ln(1/eps) below the first (16 nats in float32, 36 in float64) are rounding.
        """
        sigma = jnp.linalg.svd(self.matrix, compute_uv=False)
        return jnp.log(sigma) + jnp.broadcast_to(self.log_scale[..., None], sigma.shape)


def jacobian_product(J: Float[Array, "T *B N N"], k: int, t: int) -> Float[Array, "*B N N"]:
    """dh_t/dh_k = J_t J_{t-1} ... J_{k+1}: [T, *B, N, N] -> [*B, N, N]; the identity for t = k.

    k and t choose how many factors there are, so under `jax.jit` they are static. It overflows where the gradient
    does; `scaled_jacobian_product` does not.

    Raises:
      InputError: not 0 <= k <= t <= T, or J is not [T, *B, N, N].
    """
    factors = window(J, k, t)
    return fold(widened(factors), rescale=False).matrix.astype(factors.dtype)


def scaled_jacobian_product(J: Float[Array, "T *B N N"], k: int, t: int) -> ScaledProduct:
    """`jacobian_product` carried rescaled in log space: finite in float32 for T = 100,000 whatever the growth.

    Factors are multiplied pairwise in about log2(t - k) batched products; after each, the largest entry is taken out.
    16-bit Jacobians give a float32 product.
    """
    return fold(widened(window(J, k, t)), rescale=True)


def window(J: Array, k: int, t: int) -> Array:
    """The factors of dh_t/dh_k, checked."""
    J = as_array("J", J)
    if J.ndim < 3 or J.shape[-1] != J.shape[-2] or not J.shape[-1]:
        raise InputError("J", f"shape {J.shape}", "[T, *B, N, N] with N >= 1, as from jrnn.jacobians")
    if not jnp.issubdtype(J.dtype, jnp.floating):
        raise InputError("J", f"dtype {J.dtype}", "real floating-point numbers")
    if not (is_count(k) and is_count(t) and k <= t <= J.shape[0]):
        raise InputError("k, t", f"k = {k!r}, t = {t!r}", f"integers 0 <= k <= t <= T = {J.shape[0]}, static under jit")
    return J[k:t]


@partial(jax.jit, static_argnames="rescale")
def fold(factors: Array, rescale: bool) -> ScaledProduct:
    """The product of factors[i], later ones to the left, by halving; jitted: compiled once per window length."""
    logs = jnp.zeros(factors.shape[:-2], factors.dtype)
    if not len(factors):
        eye = jnp.broadcast_to(jnp.eye(factors.shape[-1], dtype=factors.dtype), factors.shape[1:])
        return ScaledProduct(eye, jnp.zeros(factors.shape[1:-2], factors.dtype))
    if rescale:
        factors, logs = take_out(factors, logs)
    while len(factors) > 1:
        even = len(factors) // 2 * 2
        tail, tail_logs = factors[even:], logs[even:]
        factors = jnp.matmul(factors[1:even:2], factors[0:even:2], precision="highest")
        logs = logs[1:even:2] + logs[0:even:2]
        if rescale:
            factors, logs = take_out(factors, logs)
        factors, logs = jnp.concatenate([factors, tail]), jnp.concatenate([logs, tail_logs])
    return ScaledProduct(factors[0], logs[0])


def take_out(factors: Array, logs: Array) -> tuple[Array, Array]:
    """Moves each matrix's largest magnitude into its logarithm; zero and non-finite matrices are left as they are."""
    size = jnp.max(jnp.abs(factors), axis=(-2, -1))
    size = jnp.where((size > 0) & jnp.isfinite(size), size, jnp.ones_like(size))
    return factors / jnp.broadcast_to(size[..., None, None], factors.shape), logs + jnp.log(size)


def has_forward_mode(cell: Any, params: Params, x: Any, state: State) -> bool:
    """Whether `step` can be differentiated forwards; not where it holds a `jax.custom_vjp`. Nothing is computed.

    The step is known to run by itself, so that a TypeError can only be JAX refusing to push a tangent through it.
    """
    try:  # lowered, for tracing alone does not refuse
        jax.jit(lambda h: jax.jvp(lambda h: cell.step(params, h, x), (h,), (h,))).lower(state)
    except TypeError:
        return False
    return True


def check_causal(cell: Any) -> None:
    """Instruments read one step of a cell; a cell that reads the future has none."""
    check_cell(cell)
    if not is_causal(cell):
        raise InputError(
            "cell", type(cell).__name__, "a causal cell: analyse each direction, the backward one with reverse=True"
        )
