"""What a Lyapunov spectrum is and what follows from it: finite-time values, dimension, entropy, overshoot."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jrnn.displays import card_by, plotted_by
from jrnn.flow.lyapunov.parallel import parallel_sentence
from jrnn.flow.lyapunov.spectrum_warnings import reasons
from jrnn.types import Array, InputError
from jrnn.unrolling.checks import check_count, concrete
from jrnn.wording import arrays, brief, nats


class FiniteTime(NamedTuple):
    """Exponents of windows of time, `LyapunovSpectrum.finite_time`."""

    exponents: Float[Array, "m *B k"]
    """[m, *B, k], nats per step: sum ln |R_ii| over the window / its steps; the first is (1/tau) ln of the growth of
    the leading direction, and all tend to (1/tau) ln sigma_i(J_{t+tau} ... J_{t+1}) as tau grows. 0 where the window
    does not count, -inf where a direction died in it."""
    steps: Int[Array, "m *B"]
    """[m, *B] of int: tau, the steps that happened in the window; 0 where it holds warm-up, a renewal without
    steps or one that was not finite, and does not count."""
    spread: Float[Array, "*B k"]
    """[*B, k], nats per step: the standard deviation of the exponents over the windows that count; 0 for fewer than
    two, and for a direction that dies."""

    def __repr__(self) -> str:
        return brief(self, f"exponents {arrays(self.exponents)} [m, *B, k]")


class LyapunovSpectrum(NamedTuple):
    """Exponents of the leading k directions in nats per step, -inf for directions that die, never NaN.

    Properties are per sequence of one call: under `jax.vmap` take them inside.
    """

    exponents: Float[Array, "*B k"]
    """[*B, k], descending up to noise: lambda_i = sum ln |R_ii| / number of counted steps, where Q_t R_t = J_t Q_{t-1}
    (Benettin et al. 1980); Q is renewed every `every` steps. 0 where no step was counted."""
    standard_errors: Float[Array, "*B k"]
    """[*B, k], nats per step: from the spread of the means of sqrt(n) consecutive blocks of the n renewals counted.
    inf where there are fewer than two blocks, 0 where an exponent is -inf."""
    log_r: Float[Array, "n *B k"]
    """[n, *B, k], nats: ln |R_ii| at each renewal, the warm-up included; 0 from where `finite` is False."""
    steps: Int[Array, "n *B"]
    """[n, *B] of int: how many steps that happened lie between this renewal and the one before."""
    counted: Bool[Array, "n *B"]
    """[n, *B] of bool: the renewals after the warm-up, while everything is finite."""
    resolved: Bool[Array, "*B k"]
    """[*B, k] of bool: whether R's diagonal at every counted renewal stayed 100 times above rounding,
    ln |R_11| - ln |R_ii| < ln(0.01/eps): measured, so too large an `every` or too short a float shows itself."""
    finite: Bool[Array, "n *B"]
    """[n, *B] of bool: whether state and directions were finite up to this renewal; what comes after does not count."""
    broken_at: Int[Array, "*B"]
    """[*B] of int: t of the first state h_t that is NaN or infinite, 0 for the initial state; -1 if all are finite."""
    broken_unit: Int[Array, "*B"]
    """[*B] of int: the first unit, of the flattened state, that is not finite there; -1 if all are."""
    size: int
    """N, the size of the whole state."""

    def __repr__(self) -> str:
        known, largest = concrete(self.exponents), ""
        if known is not None and known.size:
            largest = f"largest {nats(known[..., 0].mean())} per step{' on average' if known.ndim > 1 else ''}"
        return brief(self, f"exponents {arrays(self.exponents)} [*B, k] of N = {self.size}", largest)

    plot = plotted_by("plot_lyapunov")
    _repr_html_ = card_by("spectrum_table")

    @property
    def smoothed_exponents(self) -> Array:
        """[*B, k], nats per step: sum w ln |R_ii| / sum w steps with a bump w over the counted renewals.

        The weighted Birkhoff average (Das, Saiki, Sander, Yorke 2017): along a periodic or quasi-periodic run, where
        the plain mean's error is O(1/T) (a pair of complex eigenvalues turns), it falls faster than any power of T. It
        does not keep the sum rule of the plain one. -inf where that is.
        """
        order = jnp.cumsum(self.counted, axis=0, dtype=jnp.int32).astype(self.log_r.dtype)
        u = order / (jnp.sum(self.counted, axis=0, keepdims=True, dtype=jnp.int32) + 1).astype(order.dtype)
        bump = jnp.where(self.counted, jnp.exp(4 - 1 / jnp.where(self.counted, u * (1 - u), 1)), 0)
        time = jnp.sum(bump * self.steps.astype(bump.dtype), axis=0)
        gain = bump[..., None] * jnp.where(jnp.isfinite(self.log_r), self.log_r, 0)
        mean = jnp.sum(gain, axis=0) / jnp.where(time > 0, time, 1)[..., None]
        return jnp.where(jnp.isneginf(self.exponents), -jnp.inf, mean)

    @property
    def kaplan_yorke_dimension(self) -> Array:
        """[*B]: j + sum_{i<=j} lambda_i / |lambda_{j+1}|, lambda sorted, j the last index with a non-negative sum; -1
        if k is too small to tell."""
        ordered = -jnp.sort(-self.exponents, axis=-1)
        total, k = jnp.cumsum(ordered, axis=-1), ordered.shape[-1]
        j = jnp.sum(jnp.cumprod((total >= 0).astype(jnp.int32), axis=-1), axis=-1)
        sum_to_j = jnp.take_along_axis(total, jnp.clip(j - 1, 0, k - 1)[..., None], axis=-1)[..., 0]
        turn = jnp.abs(jnp.take_along_axis(ordered, jnp.clip(j, 0, k - 1)[..., None], axis=-1)[..., 0])
        within = (j > 0) & (j < k)  # then the turn is not zero
        part = jnp.where(within, sum_to_j, 0) / jnp.where(within, turn, 1)
        full = jnp.where(jnp.asarray(self.size) == k, k, -1).astype(sum_to_j.dtype)
        return jnp.where(j == k, full, j.astype(sum_to_j.dtype) + part)

    @property
    def entropy_rate(self) -> Array:
        """[*B], nats per step: the sum of the positive exponents (Pesin; an upper bound by Ruelle)."""
        return jnp.sum(jnp.maximum(self.exponents, 0), axis=-1)

    @property
    def condition_growth(self) -> Array:
        """[*B], nats per step: lambda_1 - lambda_k, at which the condition number of dh_t/dh_k grows; inf where a
        direction dies."""
        first, last = self.exponents[..., 0], self.exponents[..., -1]
        return jnp.where(jnp.isneginf(last), jnp.inf, first - jnp.where(jnp.isneginf(last), 0, last))

    @property
    def overshoot(self) -> Array:
        """[*B], nats: max_t (sum ln |R_11| - lambda_1 t) over the counted steps, at least 0: how far the first followed
        direction v outgrew its exponent, ln(||J_t ... J_1 v|| e^(-lambda_1 t)).

        Transient growth shows without warm-up, which aligns v. It is a lower bound of the supremum over directions,
        ln(||J_t ... J_1|| e^(-lambda_1 t)), below it by the share that v, drawn from `key`, has of the worst direction:
        about ln(N)/2 for large N.
        """
        rate = self.exponents[..., 0]
        gain = jnp.where(self.counted, self.log_r[..., 0], 0)
        time = jnp.cumsum(jnp.where(self.counted, self.steps, 0), axis=0).astype(gain.dtype)
        alive = jnp.isfinite(rate)
        lost = time * jnp.broadcast_to(jnp.where(alive, rate, 0)[None], time.shape)
        return jnp.where(alive, jnp.max(jnp.cumsum(gain, axis=0) - lost, axis=0, initial=0.0), 0)

    def finite_time(self, window: int) -> FiniteTime:
        """Exponents of consecutive windows of `window` renewals, which are every * window steps.

        Windows start with the run; the last incomplete one is left out, and one that holds warm-up does not count.

        Raises:
          InputError: window is no positive number, or more renewals than there are.
        """
        window = check_count("window", window, 1, "a positive number of renewals")
        if window > len(self.log_r):
            raise InputError("window", window, f"no more than the {len(self.log_r)} renewals of the run")
        count = len(self.log_r) // window

        def split(a: Array) -> Array:
            return a[: count * window].reshape(count, window, *a.shape[1:])

        whole = split(self.counted).all(axis=1)
        steps = jnp.where(whole, split(self.steps).sum(axis=1, dtype=jnp.int32), 0)
        divisor = jnp.maximum(steps, 1).astype(self.log_r.dtype)[..., None]
        exponents = jnp.where(whole[..., None], split(self.log_r).sum(axis=1) / divisor, 0)
        number = whole.sum(axis=0, dtype=jnp.int32).astype(exponents.dtype)[..., None]
        weight, tame = whole[..., None].astype(exponents.dtype), jnp.where(jnp.isfinite(exponents), exponents, 0)
        middle = (weight * tame).sum(axis=0) / jnp.maximum(number, 1)
        square = (weight * (tame - middle[None]) ** 2).sum(axis=0)
        dies = jnp.isneginf(exponents).any(axis=0)
        spread = jnp.where(dies | (number < 2), 0, jnp.sqrt(square / jnp.maximum(number - 1, 1)))
        return FiniteTime(exponents, steps, spread)

    def parallel_in_time(self) -> str:
        """Whether Newton's method over all steps at once would converge on these runs, in a sentence (on the host).

        From the largest exponent and the overshoot, of the sequence where they are worst; without warm-up the
        overshoot shows transient growth.
        """
        if concrete(self.exponents) is None:
            raise InputError("parallel_in_time", "a spectrum under jit", "values: call it on what the function gives")
        exponents, errors, overshoots = (
            np.ravel(a) for a in (self.exponents[..., 0], self.standard_errors[..., 0], self.overshoot)
        )
        steps = int(np.max(np.sum(np.where(self.counted, self.steps, 0), axis=0), initial=0))
        if not exponents.size or not steps:
            return "No step was counted, so nothing can be said of Newton's method over all steps at once."
        worst = int(np.argmax(exponents))
        return parallel_sentence(float(exponents[worst]), float(errors[worst]), float(overshoots.max()), steps)

    def warnings(self) -> list[str]:
        """Why figures should not be trusted, in sentences, by measurement (on the host); empty if nothing was found."""
        if concrete(self.exponents) is None:
            raise InputError("warnings", "a spectrum under jit", "values: call it on what the jitted function gives")
        return reasons({name: np.asarray(value) for name, value in self._asdict().items()})
