"""Clips of the gradient's norm whose limit follows the norms seen so far; both are Optax transformations.

A third kind is Optax's: `optax.adaptive_grad_clip` (AGC, Brock et al. 2021) holds each unit's gradient to a share of
its weights' norm.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Float

from jrnn.cells import check_number
from jrnn.cells._numbers import check_positive
from jrnn.cures.clipping import ClipState, first_clip_state, global_norm, scaled_down
from jrnn.types import Array
from jrnn.unrolling.checks import check_count

EPSILON = 1e-6
"""What ZClip adds to the standard deviation, in the gradient's unit."""


class AutoClipState(NamedTuple):
    """What `auto_clip` did and has seen."""

    clip: ClipState
    """Norm and factor of the last update, counts; `clip_rate` finds it."""
    history: Float[Array, " window"]
    """[window], the last finite norms in a ring; NaN where there are none yet."""
    place: Array
    """int32: where in the ring the next one goes."""
    limit: Array
    """What the last update was held to; infinity before the first."""


class ZClipState(NamedTuple):
    """What `z_clip` did, and the moving statistics of the norms it let through."""

    clip: ClipState
    """Norm and factor of the last update, counts; `clip_rate` finds it."""
    mean: Array
    """m, the moving mean of the norms; over the warm-up their plain mean."""
    variance: Array
    """v, likewise."""
    seen: Array
    """int32: how many finite norms there have been, `warmup` at most."""
    z: Array
    """(norm - m) / (sqrt(v) + 1e-6) of the last update; 0 in the warm-up."""


def auto_clip(percentile: float = 10.0, *, window: int = 1000) -> optax.GradientTransformation:
    """AutoClip: holds the gradient's norm to a percentile of the norms seen so far (Seetharaman et al. 2020).

    With n_t the global norm and c_t the percentile of n_{t-window+1}..n_t (linear between two), the present one
    included: g if n_t <= c_t, else g c_t / n_t. At 10 nine of ten updates are clipped: the step is then nearly of
    constant length, whatever unit the loss has.

    Helps where no one limit fits, as between tasks. Hurts where large gradients are the rare ones that count, and it
    brings nothing back that vanished, as no clip does. Published with the whole history; a window forgets the start.
    Marked bit, lag 50 (LSTM of 64 units, Adam, 600 updates, 5 seeds): below .1 in 5 of 5 at a rate of .002 and in 4 of
    5 at .006; without a clip in 3 and 2, with a fixed limit of 1 in 4 and 2. Lost where the first gradients explode,
    which are then its limit: on the adding problem of 50 steps an IRNN of 64 units (Adam .002, 400 updates, 3 seeds)
    ends at .15 to .18 with it, at .16 to .19 without any clip, and at .037 to .069 with a fixed limit of 1; with plain
    SGD it ends in NaN, as without. A norm that is not finite is not counted (`skip_nonfinite` keeps such updates out).
    In `fit` put max_norm=None beside it, or the norms it sees are clipped already.

    Args:
      percentile: from 0 to 100; 100 only records.
      window: how many norms are kept, 1 or more; they are sorted at every update.
    Returns:
      an Optax transformation with state `AutoClipState`.
    Raises:
      InputError: an argument is out of range.
    """
    percentile = check_number("percentile", percentile, lambda p: 0 <= p <= 100, "a number from 0 to 100, static")
    window = check_count("window", window, 1, "a number of updates, 1 or more")

    def init(params: Any) -> AutoClipState:
        clip = first_clip_state(params)
        history = jnp.full(window, jnp.nan, clip.norm.dtype)
        return AutoClipState(clip, history, jnp.zeros((), jnp.int32), jnp.full_like(clip.norm, jnp.inf))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, AutoClipState]:
        del params
        norm = global_norm(updates)
        entry = norm.astype(state.history.dtype)
        counts = jnp.isfinite(entry)
        history = jnp.where(counts, state.history.at[state.place].set(entry), state.history)
        place = jnp.where(counts, (state.place + 1) % window, state.place)
        # nothing seen: nothing to hold it to
        limit = jnp.nan_to_num(jnp.nanpercentile(history, percentile), nan=jnp.inf, posinf=jnp.inf)
        scaled, clip = scaled_down(
            updates, norm, limit.astype(norm.dtype), norm <= limit.astype(norm.dtype), state.clip
        )
        return scaled, AutoClipState(clip, history, place, limit.astype(state.limit.dtype))

    return optax.GradientTransformation(init, update)


def z_clip(
    threshold: float = 2.5, *, decay: float = 0.97, warmup: int = 25, max_norm: float = math.inf
) -> optax.GradientTransformation:
    """ZClip: holds back a gradient whose norm is an outlier among the recent ones (Kumar et al. 2025).

    With m and v the moving mean and variance of the norms and z = (n - m) / (sqrt(v) + 1e-6): where z > threshold the
    norm is brought to m + sqrt(v) threshold^2 / z, the lower the further out it was. m <- decay m + (1 - decay) n',
    then v <- decay v + (1 - decay) (n' - m)^2, n' the norm after that. The first `warmup` norms are not clipped; their
    mean and variance begin m and v.

    Helps against single spikes of the loss without a limit to tune. Hurts nothing while norms are steady: it then
    clips next to nothing. Where every gradient explodes it lets all pass: give `max_norm`. So it lost on the adding
    problem of `auto_clip`: .16 to .19 (3 seeds), the same as without a clip; on the marked bit there 3 of 5 and 3 of 5
    are below .1, without a clip 3 and 2. A norm that is not finite is not counted.
    In `fit` put max_norm=None beside it, or the norms it sees are clipped already.

    Args:
      threshold: the z above which a norm is an outlier, above 0.
      decay: of the moving statistics, from 0 up to below 1.
      warmup: updates before the first that can be clipped, 1 or more.
      max_norm: a limit besides, above 0, also in the warm-up; the authors' code has 1, here it is off.
    Returns:
      an Optax transformation with state `ZClipState`.
    Raises:
      InputError: an argument is out of range.
    """
    threshold = check_positive("threshold", threshold, "a finite number above 0, static")
    decay = check_number("decay", decay, lambda d: 0 <= d < 1, "a number from 0 to below 1, static")
    warmup = check_count("warmup", warmup, 1, "a number of updates, 1 or more")
    max_norm = check_number("max_norm", max_norm, lambda n: n > 0, "a number above 0, static")

    def init(params: Any) -> ZClipState:
        clip = first_clip_state(params)
        zero = jnp.zeros_like(clip.norm)
        return ZClipState(clip, zero, zero, jnp.zeros((), jnp.int32), zero)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, ZClipState]:
        del params
        norm = global_norm(updates)
        n, m, v = norm.astype(state.mean.dtype), state.mean, state.variance
        deviation, warming = jnp.sqrt(v), state.seen < warmup
        z = jnp.where(warming, 0, (n - m) / (deviation + EPSILON))
        outlier = z > threshold
        limit = jnp.where(outlier, m + deviation * threshold**2 / jnp.where(outlier, z, 1), jnp.inf)
        passed = jnp.minimum(n, limit)
        # over the warm-up the plain mean and variance, one norm at a time
        share = jnp.where(warming, 1 / (state.seen + 1).astype(n.dtype), 1 - decay)
        mean = m + share * (passed - m)
        spread = jnp.where(warming, (passed - m) * (passed - mean), (passed - mean) ** 2)
        variance = v + share * (spread - v)
        counts = jnp.isfinite(passed)
        limit = jnp.minimum(limit, max_norm).astype(norm.dtype)
        scaled, clip = scaled_down(updates, norm, limit, norm <= limit, state.clip)
        seen = jnp.minimum(state.seen + counts.astype(jnp.int32), warmup)
        return scaled, ZClipState(clip, jnp.where(counts, mean, m), jnp.where(counts, variance, v), seen, z)

    return optax.GradientTransformation(init, update)
