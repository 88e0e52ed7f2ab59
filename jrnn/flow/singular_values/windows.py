"""Singular values of dh_t/dh_k for windows (k, t) of a run: how far it stretches and shrinks what happened at k."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jrnn.cells import jit_by_cell, prepared
from jrnn.cells._advance import flat_state
from jrnn.displays import card_by, plotted_by
from jrnn.flow.jacobian.steps import has_closed_form, previous_states, step_jacobians
from jrnn.flow.singular_values.graded import norms
from jrnn.flow.singular_values.scaled_svd import orthogonal_rows
from jrnn.flow.singular_values.tangent_transport import Plan, Points, carry, products
from jrnn.types import Array, InputError, Inputs, Params, State, size_of, wide_dtype
from jrnn.unrolling import read, run
from jrnn.unrolling.checks import check_causal, check_count, concrete, is_count
from jrnn.unrolling.schedule import schedule_of
from jrnn.wording import arrays, brief, nats

EXPLICIT_ELEMENTS = 2**25  # of J [T, *B, N, N], up to which "auto" forms it
SPARE = 8  # directions followed beyond `top`: the iteration converges by the gap behind the last of them

matmul = partial(jnp.matmul, precision="highest")


class WindowSpectrum(NamedTuple):
    """Singular values sigma_1 >= sigma_2 >= ... of dh_t/dh_k = J_t ... J_{k+1}, for W windows (k, t)."""

    log_singular_values: Float[Array, "W *B n"]
    """ln sigma_i, [W, *B, top] (all N without `top`), nats, descending; -inf where sigma_i = 0, 0 for t = k. Divided
    by t - k they are the finite-time Lyapunov exponents. NaN only where the run itself is not finite."""
    residual: Float[Array, "W *B"]
    """[W, *B], no unit: max_i ||(I - V V^T) v_i|| over the right singular vectors found, V the subspace of one more
    A^T A, A = dh_t/dh_k, so about ||A^T A v_i - sigma_i^2 v_i|| / sigma_i^2. sigma_i then lies below the true one, by
    about residual^2 / 2 of it where the spectrum has a gap. With all N directions: the largest |cosine| left between
    two of them."""
    converged: Bool[Array, "W *B"]
    """[W, *B] of bool: residual <= sqrt(eps)."""
    iterations: Int[Array, ""]
    """[] of int: products with A^T A that were taken, 0 where all N directions were carried (method "explicit")."""
    lags: Int[Array, " W"]
    """[W] of int, steps: t - k of each window."""
    size: int
    """N, the size of the whole state."""

    def __repr__(self) -> str:
        known, largest = concrete(self.log_singular_values), ""
        if known is not None and known.ndim > 1 and known.size:
            largest = f"largest {nats(known[..., 0].max())}"
        return brief(self, f"log_singular_values {arrays(self.log_singular_values)} [W, *B, n]", largest)

    plot = plotted_by("plot_window_bands")
    _repr_html_ = card_by("windows_table")

    @property
    def log_largest(self) -> Array:
        """ln sigma_1 = ln ||dh_t/dh_k||_2, [W, *B], nats."""
        return self.log_singular_values[..., 0]

    @property
    def log_condition_number(self) -> Array:
        """ln kappa = ln sigma_1 - ln sigma_n, [W, *B], nats; inf where singular. With `top` < N a lower bound."""
        last = self.log_singular_values[..., -1]
        singular = jnp.isneginf(last)
        return jnp.where(singular, jnp.inf, self.log_largest - jnp.where(singular, 0, last))


def window_singular_values(
    cell: Any,
    params: Params,
    xs: Inputs,
    windows: Any,
    *,
    top: int | None = None,
    method: str = "auto",
    iterations: int = 100,
    initial_state: State | None = None,
    reset_state: State | None = None,
    length: int | None = None,
    lengths: Any = None,
    resets: Any = None,
    mask: Any = None,
    reverse: bool = False,
    key: Array | None = None,
) -> WindowSpectrum:
    """ln sigma_i of dh_t/dh_k along a run, each to a relative accuracy: also those below eps sigma_1.

    Orthonormal columns are carried through the window with a QR at every step, Q_i R_i = J_i Q_{i-1}; the product of
    the R_i is kept with a power of two a row and diagonalised in that form (`scaled_svd.py`), so nothing overflows or
    drowns, in float32 too. The result is exact for Jacobians rounded to eps ||J_i||: what a single step shrinks below
    about 4 sqrt(N) eps of the rest counts as dead, -inf. Differentiable where the values are distinct and none 0.

    Args:
      cell, params, xs, initial_state, ..., key: as for `jrnn.jacobians`, time-major; the cell must be causal. With
        reverse, window (k, t) is d states[k] / d states[t].
      windows: pairs (k, t) of ints, 0 <= k <= t <= T; static under `jax.jit`. Run side by side; with all N directions
        those that begin together, or else those that end together, take one pass between them.
      top: how many of the largest; by default all N.
      method: "explicit", from `jrnn.jacobians`, memory T N^2, all N directions; "matrix_free", never forming J: blocks
        of min(top + 8, N) columns to and fro by jvp and vjp of the step until they converge (subspace iteration),
        memory T N for the states and N top a window; "auto", explicit up to 2^25 elements of J.
      iterations: products with A^T A at most; where they are too few, `converged` is False.
    Returns:
      A `WindowSpectrum`.
    Raises:
      InputError: a window or `top` out of range, a method there is not, a state that is not real, `Bidirectional`, or
        as `unroll`.
    """
    check_causal(cell)
    if method not in ("auto", "explicit", "matrix_free"):
        raise InputError("method", repr(method), "'auto', 'explicit' or 'matrix_free'")
    iterations = check_count("iterations", iterations, 1, "a positive number of iterations")
    xs, options = read(
        cell, params, xs, return_states=True,
        initial_state=initial_state, reset_state=reset_state, length=length, lengths=lengths, resets=resets, mask=mask,
        reverse=reverse, key=key,
    )  # fmt: skip
    steps, batch_shape = options.steps, options.batch_shape
    flat = flat_state(cell, params)
    if not jnp.issubdtype(flat.dtype, jnp.floating):
        raise InputError("cell", f"a state of dtype {flat.dtype}", "a real floating-point state")
    count = flat.size if top is None else check_count("top", top, 1, f"from 1 to N = {flat.size}")
    if count > flat.size:
        raise InputError("top", top, f"from 1 to N = {flat.size}, the size of the state")
    plan = Plan(check_windows(windows, steps), batch_shape, flat.size, jnp.dtype(wide_dtype(flat.dtype)), reverse)
    if method == "auto":
        method = "explicit" if steps * size_of(batch_shape) * flat.size**2 <= EXPLICIT_ELEMENTS else "matrix_free"
    entering = previous_states(run(cell, params, xs, options), options)
    if method == "explicit":
        J = step_jacobians(cell, params, xs, entering, options, has_closed_form(cell))
        return described(plan, measured(None, plan, count, 1, J, first_columns(plan, flat.size)))
    points = Points(prepared(cell, params), xs, entering, schedule_of(options), key)
    columns = first_columns(plan, min(count + SPARE, flat.size))
    return described(plan, measured(cell, plan, count, iterations, points, columns))


def described(plan: Plan, fields: tuple[Array, Array, Array, Array]) -> WindowSpectrum:
    """What was measured, with what it was measured of."""
    lags = jax.device_put(np.array([t - k for k, t in plan.windows], np.int32))
    return WindowSpectrum(*fields, lags=lags, size=plan.size)


def check_windows(windows: Any, steps: int) -> tuple[tuple[int, int], ...]:
    """Pairs of plain ints, or InputError."""
    try:
        pairs = [(k, t) for k, t in windows]
    except (TypeError, ValueError):
        raise InputError("windows", f"{windows!r:.60}", "a list of pairs (k, t)") from None
    for k, t in pairs:
        if not (is_count(k) and is_count(t) and k <= t <= steps):
            need = f"integers 0 <= k <= t <= T = {steps}, static under jit"
            raise InputError("windows", f"({k!r:.20}, {t!r:.20})", need)
    return tuple((int(k), int(t)) for k, t in pairs)


def first_columns(plan: Plan, k: int) -> np.ndarray:
    """k orthonormal columns [N, k] to begin with: random ones, because unit vectors may all lie in the null space."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(plan.size, k)))[0].astype(plan.dtype)


@partial(jit_by_cell, static_argnums=(0, 1, 2, 3))
def measured(cell: Any, plan: Plan, top: int, iterations: int, params: Any, q: Array) -> tuple:
    """The first four fields of a `WindowSpectrum`. With k = N columns one pass is exact; with fewer, passes to and fro.
    Jitted: an eager call compiles once."""
    lead = (len(plan.windows), *plan.batch_shape)
    if not size_of(lead) or all(k == t for k, t in plan.windows):
        done, zero = jnp.ones(lead, bool), jnp.zeros(lead, plan.dtype)
        return jnp.zeros((*lead, top), plan.dtype), zero, done, jnp.int32(0)
    if q.shape[-1] == plan.size:
        orthogonal, residual = orthogonal_rows(products(cell, plan, params, q))
        logs, taken = orthogonal.log_norms()[..., :top], jnp.int32(0)
    else:
        q = jnp.broadcast_to(q, (*lead, *q.shape))
        start = Ritz(q, jnp.zeros((*lead, top), plan.dtype), jnp.full(lead, jnp.inf, plan.dtype), jnp.int32(0))
        iterate = partial(subspace_iteration, cell, plan, top, params)
        # a fixed number: see orthogonal_rows
        _, logs, residual, taken = jax.lax.fori_loop(0, iterations, lambda _, ritz: iterate(ritz), start)
    return logs, residual, is_converged(residual), taken


class Ritz(NamedTuple):
    """What the iteration has found."""

    basis: Array  # [W, *B, N, k]: orthonormal
    logs: Array  # [W, *B, top]
    residual: Array  # [W, *B]
    taken: Array  # products with A^T A


def subspace_iteration(cell: Any, plan: Plan, top: int, params: Any, ritz: Ritz) -> Ritz:
    """One product with A^T A, there by forward mode, back by reverse mode; nothing once it has converged.

    A V = U R, R = X Sigma Y^T gives the values and v_i = V Y_i (Rayleigh-Ritz); V' of A^T U = V' S is the next basis.
    """

    def onward(ritz: Ritz) -> Ritz:
        there = carry(cell, plan, params, ritz.basis, transposed=False)
        orthogonal, cosine = orthogonal_rows(there.kept)
        basis = carry(cell, plan, params, there.q, transposed=True).q
        rows = orthogonal.rows[..., :top, :] / norms(orthogonal)[..., :top, None]
        v = matmul(ritz.basis, jnp.swapaxes(rows, -1, -2))
        outside = v - matmul(basis, matmul(jnp.swapaxes(basis, -1, -2), v))
        residual = jnp.maximum(cosine, jnp.max(jnp.linalg.norm(outside, axis=-2), axis=-1))
        return Ritz(basis, orthogonal.log_norms()[..., :top], residual, ritz.taken + 1)

    return jax.lax.cond(jnp.all(is_converged(ritz.residual)), lambda ritz: ritz, onward, ritz)


def is_converged(residual: Array) -> Array:
    """residual <= sqrt(eps)."""
    return residual <= float(jnp.finfo(residual.dtype).eps) ** 0.5
