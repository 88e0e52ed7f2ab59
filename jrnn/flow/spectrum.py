"""The Lyapunov spectrum along a run: how fast the directions of the state space grow or shrink, in nats per step."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jrnn.boundary import as_arrays, batch_of, check_count, check_state, steps_of
from jrnn.flow.jacobian import check_causal
from jrnn.flow.tangents import Orthonormal, Tangents, blocks_of
from jrnn.masking import check_lengths, schedule
from jrnn.types import Array, InputError, Inputs, Params, State, ravel_state
from jrnn.unrolling import unroll


class LyapunovSpectrum(NamedTuple):
    """Exponents of the leading k directions in nats per step, -inf for directions that die, never NaN."""

    exponents: Float[Array, "*B k"]
    """[*B, k], descending up to noise: lambda_i = sum ln |R_ii| / number of counted steps, where Q_t R_t = J_t Q_{t-1}
    (Benettin et al. 1980); Q is renewed every `every` steps."""
    standard_errors: Float[Array, "*B k"]
    """[*B, k], nats per step: from the spread of the means of sqrt(n) consecutive blocks of the n renewals counted.
    0 where an exponent is -inf."""
    log_r: Float[Array, "n *B k"]
    """[n, *B, k], nats: ln |R_ii| at each renewal, the warm-up included."""
    steps: Int[Array, "n *B"]
    """[n, *B] of int: how many steps that happened lie between this renewal and the one before."""
    counted: Bool[Array, "n *B"]
    """[n, *B] of bool: the renewals after the warm-up."""
    resolved: Bool[Array, "*B k"]
    """[*B, k] of bool: whether R's diagonal at every counted renewal stayed above rounding,
    ln |R_11| - ln |R_ii| < ln(1/eps): measured, so too large an `every` or too short a float shows itself."""
    size: int
    """N, the size of the whole state."""

    @property
    def kaplan_yorke_dimension(self) -> Array:
        """[*B]: j + sum_{i<=j} lambda_i / |lambda_{j+1}|, j the last index with a non-negative sum; NaN if k is too
        small to tell."""
        total = jnp.cumsum(self.exponents, axis=-1)
        k = self.exponents.shape[-1]
        j = jnp.sum(jnp.cumprod((total >= 0).astype(jnp.int32), axis=-1), axis=-1)
        kept = jnp.take_along_axis(total, jnp.clip(j - 1, 0, k - 1)[..., None], axis=-1)[..., 0]
        turn = jnp.abs(jnp.take_along_axis(self.exponents, jnp.clip(j, 0, k - 1)[..., None], axis=-1)[..., 0])
        inside = j.astype(kept.dtype) + jnp.where(j > 0, kept / turn, jnp.zeros_like(kept))
        full = jnp.full_like(inside, self.size if k == self.size else jnp.nan)
        return jnp.where(j == k, full, inside)

    @property
    def entropy_rate(self) -> Array:
        """[*B], nats per step: the sum of the positive exponents (Pesin; an upper bound by Ruelle)."""
        return jnp.sum(jnp.maximum(self.exponents, jnp.zeros_like(self.exponents)), axis=-1)

    @property
    def condition_growth(self) -> Array:
        """[*B], nats per step: lambda_1 - lambda_k, at which the condition number of dh_t/dh_k grows."""
        return self.exponents[..., 0] - self.exponents[..., -1]

    @property
    def overshoot(self) -> Array:
        """[*B], nats: max_t (sum ln |R_11| - lambda_1 t), transient growth beyond the exponent; at least 0."""
        gain = jnp.where(self.counted, self.log_r[..., 0], 0)
        time = jnp.where(self.counted, self.steps, 0).astype(gain.dtype)
        excess = jnp.cumsum(gain, axis=0) - jnp.broadcast_to(self.exponents[None, ..., 0], gain.shape) * jnp.cumsum(
            time, axis=0
        )
        return jnp.maximum(jnp.max(jnp.nan_to_num(excess, nan=0.0), axis=0, initial=0.0), 0.0)

    def warnings(self) -> list[str]:
        """Why figures should not be trusted, in sentences, by measurement (on the host); empty if nothing was found."""
        found = []
        lost = ~np.asarray(self.resolved) & np.isfinite(np.asarray(self.exponents))
        if lost.any():
            first = int(np.argwhere(lost.reshape(-1, lost.shape[-1]).any(axis=0))[0, 0]) + 1
            found.append(
                f"exponents from the {first}. on are rounding: between two QR steps their directions fell below "
                f"{np.finfo(np.asarray(self.log_r).dtype).eps:.0e} of the first; take a smaller `every`, or float64"
            )
        with np.errstate(invalid="ignore"):
            loose = np.asarray(self.standard_errors) > np.maximum(0.1 * np.abs(np.asarray(self.exponents)), 1e-2)
        if loose.any():
            found.append(
                f"too short a run: standard errors up to {np.asarray(self.standard_errors).max():.2g} nats per step"
            )
        return found


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
    `every` steps; cost T (k steps' forward mode + N k^2), memory N k.

    Args:
      cell, params, xs, initial_state, lengths, mask: as for `jrnn.unroll`, time-major; the cell must be causal.
      length: T, where xs is None.
      k: how many exponents; all N by default.
      warmup: steps at the start that align the directions and settle the state, and do not count.
      every: steps between orthonormalisations; only at 1 is a direction that dies told from one that shrinks below
        rounding.
      key: draws the first directions (a fixed draw by default); after the warm-up the result does not depend on it.
    Returns:
      A `LyapunovSpectrum`.
    Raises:
      InputError: k > N, a warm-up that leaves nothing to count, or as `unroll`.
    """
    check_causal(cell)
    xs = as_arrays("xs", xs)
    steps = steps_of(xs, length)
    batch_shape = batch_of(cell, params, xs, initial_state, lengths, time_axes=1)
    every = check_count("every", every, 1, "a positive number of steps")
    start = check_state("initial_state", initial_state, cell, params, batch_shape)
    flat = jax.eval_shape(lambda s: ravel_state(s, len(batch_shape)), start)
    size = flat.shape[-1]
    k = size if k is None else check_count("k", k, 1, f"from 1 to N = {size}")
    if k > size:
        raise InputError("k", k, f"from 1 to N = {size}, the size of the state")
    if not 0 <= check_count("warmup", warmup, 0, "a number of steps") < max(steps, 1):
        raise InputError("warmup", warmup, f"fewer steps than the run has, T = {steps}")
    if not jnp.issubdtype(flat.dtype, jnp.floating):
        raise InputError("cell", f"a state of dtype {flat.dtype}", "a real floating-point state")
    if lengths is not None:
        lengths = check_lengths(lengths, steps, batch_shape)
    plan = (steps, batch_shape, k, every)
    fields = measured(cell, plan, params, xs, start, lengths, mask, warmup, key)
    return LyapunovSpectrum(*fields, size=size)


@partial(jax.jit, static_argnums=(0, 1))
def measured(
    cell: Any, plan: tuple, params: Params, xs: Inputs, start: State, lengths: Any, mask: Any, warmup: Any, key: Any
) -> tuple:
    """The array fields; jitted as one, so that an eager call compiles once per shape."""
    steps, batch_shape, k, every = plan
    flat = ravel_state(start, len(batch_shape))
    key = jax.random.key(0) if key is None else key
    q = jnp.linalg.qr(jax.random.normal(key, (flat.shape[-1], k), flat.dtype))[0]
    valid = schedule(steps, batch_shape, lengths, None, mask, False, None).valid
    valid = jnp.ones((steps, *batch_shape), bool) if valid is None else valid
    blocks = blocks_of(xs, valid, every, len(batch_shape), getattr(cell, "input_ndim", 1))
    zeros = jnp.zeros((*batch_shape, k), flat.dtype)
    tangents = Tangents(start, jnp.broadcast_to(q, (*batch_shape, *q.shape)), zeros)
    run = unroll(Orthonormal(cell, k, every), params, blocks, initial_state=tangents)
    happened = blocks["valid"].reshape(-1, *batch_shape, every)
    taken = jnp.sum(happened, axis=-1, dtype=jnp.int32)
    before = jnp.cumsum(taken, axis=0, dtype=jnp.int32) - taken
    counted = (taken > 0) & (before >= warmup)
    exponents, errors = mean_and_error(run.outputs, taken, counted)
    span = run.outputs[..., :1] - run.outputs
    limit = jnp.asarray(-jnp.log(jnp.finfo(flat.dtype).eps), flat.dtype)
    resolved = jnp.all((span < limit) | jnp.isinf(run.outputs) | ~counted[..., None], axis=0)
    return exponents, errors, run.outputs, taken, counted, resolved


def mean_and_error(log_r: Array, taken: Array, counted: Array) -> tuple[Array, Array]:
    """Mean per step over the counted renewals and its standard error from consecutive blocks, both [*B, k]."""
    weight = jnp.where(counted, taken, 0).astype(log_r.dtype)
    gain = jnp.where(counted[..., None], log_r, 0)
    total = jnp.maximum(jnp.sum(weight, axis=0), 1)
    mean = jnp.sum(gain, axis=0) / total[..., None]
    length = max(int(np.sqrt(len(log_r))), 1)
    whole = len(log_r) // length * length
    finite = jnp.where(jnp.isfinite(gain), gain, 0)
    sums = finite[len(log_r) - whole :].reshape(-1, length, *gain.shape[1:]).sum(1)
    times = weight[len(log_r) - whole :].reshape(-1, length, *weight.shape[1:]).sum(1)
    excess = jnp.where(times[..., None] > 0, sums - jnp.where(jnp.isfinite(mean), mean, 0)[None] * times[..., None], 0)
    blocks = jnp.maximum(jnp.sum(times > 0, axis=0), 2).astype(log_r.dtype)[..., None]
    error = jnp.sqrt(jnp.sum(excess**2, axis=0) * blocks / (blocks - 1)) / total[..., None]
    return mean, jnp.where(jnp.isfinite(mean), error, 0)
