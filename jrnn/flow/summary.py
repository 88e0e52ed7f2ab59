"""The figures of one network at one moment, for people: how far back its gradient reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.boundary import as_arrays, batch_of, is_count, steps_of
from jrnn.flow.credit import CHUNK_ELEMENTS, gradient_flow
from jrnn.flow.jacobian import check_causal, jacobians
from jrnn.flow.pulls import output_pull
from jrnn.masking import check_lengths
from jrnn.types import Array, InputError, Inputs, Params, ravel_state
from jrnn.unrolling import unroll

VANISHED, EXPLODED = 0.01, 100.0


@dataclass(frozen=True)
class FlowSummary:
    """Host numbers (NumPy float64); S sequences were analysed, of which those long enough for a lag count at it."""

    lag: int
    """The lag the task needs, in steps; the verdict holds for it."""
    arriving: np.ndarray
    """[L] for lags 0..L-1: the median over sequences of sum ||part(t, t - lag)|| / sum ||part(t, t)|| over the outputs
    t > lag, where part(t, k) = (dy_t/dh_k)^T dL/dy_t. By output, never summed over lags; 1 at lag 0."""
    arriving_low: np.ndarray
    """[L]: the 10 % quantile of that ratio over sequences."""
    arriving_high: np.ndarray
    """[L]: the 90 % quantile."""
    singular_values: np.ndarray
    """[3, N]: 10 %, 50 %, 90 % quantiles over time and sequences of the i-th singular value of J_t = dh_t/dh_{t-1}."""
    growth: float
    """Nats per step: ln(arriving[lag]) / lag, the mean slope of that curve down to the lag; -inf if nothing arrives."""
    reach: int
    """The largest lag at which at least 1 % of the gradient still arrives."""
    reach_is_bound: bool
    """True if that lag is the longest there is, so the reach may be longer."""
    outputs: int
    """Output times that were followed back (all that carry gradient, or an even sample of them)."""
    sequences: int
    """S."""

    @property
    def at_lag(self) -> float:
        """The fraction of the gradient that arrives `lag` steps back."""
        return float(self.arriving[self.lag])

    @property
    def verdict(self) -> str:
        """'vanishing' (under 1 % arrives at the lag), 'exploding' (over 100 times), 'healthy', or 'not finite'."""
        if not np.isfinite(self.at_lag):
            return "not finite"
        return "vanishing" if self.at_lag < VANISHED else "exploding" if self.at_lag > EXPLODED else "healthy"

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with its numbers and the lag it holds for."""
        needed = f"The task needs a lag of {self.lag} step{'s' if self.lag != 1 else ''}"
        if self.verdict == "not finite":
            return f"{needed}, and the gradient there is not finite."
        if self.lag == 0:
            return "The sequences are one step long: there is no way back for the gradient to lose anything on."
        amount = percent(self.at_lag)
        reach = f"at least {self.reach}" if self.reach_is_bound else f"{self.reach}"
        tail = (
            f"1 % still reaches {reach} step{'s' if self.reach != 1 else ''} back ({self.growth:+.3f} nats per step)."
        )
        if self.verdict == "vanishing":
            return f"Vanishing: {needed[0].lower()}{needed[1:]}, where {amount} of the gradient arrives; {tail}"
        if self.verdict == "exploding":
            larger = f"{self.at_lag:.3g} times as large ({self.growth:+.3f} nats per step)"
            return f"Exploding: {needed[0].lower()}{needed[1:]}, where the gradient arrives {larger}."
        return f"Healthy: {needed[0].lower()}{needed[1:]}, where {amount} of the gradient arrives; {tail}"


def percent(fraction: float) -> str:
    """A fraction as a readable percentage: 12 %, 0.34 %, 2.1e-07 %."""
    value = 100 * fraction
    if value == 0:
        return "0 %"
    return f"{value:.2g} %" if 0.01 <= value < 99.5 else f"{value:.0f} %" if 99.5 <= value < 1e6 else f"{value:.1e} %"


def summarise(
    cell: Any,
    params: Params,
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    loss_params: Params = None,
    lengths: Any = None,
    lag: int,
    max_outputs: int = 64,
    max_jacobians: int = 128,
) -> FlowSummary:
    """Measures a network on a batch of sequences (on the host: the result is NumPy).

    Args:
      cell, params, xs, loss, loss_params, lengths: as for `jrnn.value_and_grads`; xs [T, S, F].
      lag: the lag to judge, 0..T-1.
      max_outputs: outputs to follow back at most, evenly spread over those whose gradient is not zero.
      max_jacobians: (time, sequence) pairs at most at which the singular values of J_t are taken, evenly spread.
    Raises:
      InputError: the lag is not in 0..T-1 or longer than any way back from an output that carries gradient, the loss
        does not depend on any output, or shapes that do not fit.
    """
    check_causal(cell)
    xs = as_arrays("xs", xs)
    steps, batch_shape = steps_of(xs, None), batch_of(cell, params, xs, None, None, time_axes=1)
    if not steps or len(batch_shape) != 1 or not batch_shape[0]:
        raise InputError("xs", f"T = {steps}, batch shape {batch_shape}", "[T, S, F]: at least one step and sequence")
    if not is_count(lag) or lag >= steps:
        raise InputError("lag", repr(lag), f"a lag from 0 to T - 1 = {steps - 1}")
    options = {} if lengths is None else {"lengths": check_lengths(lengths, steps, batch_shape)}
    run, pull, g_final, final_row = jax.jit(output_pull, static_argnums=(0, 3))(
        cell, params, xs, loss, loss_params, **options
    )
    carries = np.zeros(steps, bool)
    for g in jax.tree.leaves(pull):
        carries |= np.asarray(jnp.any(g != 0, axis=tuple(range(1, g.ndim))))
    if any(bool(jnp.any(g != 0)) for g in jax.tree.leaves(g_final)):
        carries |= np.array(jnp.any(final_row, axis=tuple(range(1, final_row.ndim))))
    times = np.flatnonzero(carries) + 1
    if not len(times):
        raise InputError("loss", "a loss whose gradient is zero at every output", "a loss that depends on the outputs")
    if lag >= times[-1]:
        raise InputError("lag", lag, f"at most {times[-1] - 1}: no output after step {times[-1]} carries any gradient")
    times = even_sample(times, max_outputs)
    flow = jax.jit(gradient_flow, static_argnums=(0, 3))(
        cell, params, xs, loss, loss_params=loss_params, output_times=jnp.asarray(times), **options
    )
    by_lag = align(np.asarray(flow.credit, np.float64), times)
    return FlowSummary(
        lag=lag,
        **profile(by_lag, lag),
        singular_values=step_singular_values(cell, params, xs, run.mask, max_jacobians, options),
        outputs=len(times),
        sequences=by_lag.shape[2],
    )


def even_sample(items: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the items, evenly spread, the last one always among them."""
    if len(items) <= most:
        return items
    return items[np.unique(np.linspace(len(items) - 1, 0, most).round().astype(int))]


def align(credit: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[R, T+1, S] over (output, k) -> [R, T, S] over (output, lag t - k); NaN where t - lag < 1 (h_0 saw no input)."""
    steps = credit.shape[1] - 1
    by_lag = np.full((len(times), steps, credit.shape[2]), np.nan)
    for row, t in enumerate(times):
        by_lag[row, :t] = credit[row, t:0:-1]
    return by_lag


def profile(by_lag: np.ndarray, lag: int) -> dict[str, Any]:
    """The fields of a `FlowSummary` that follow from the aligned credit [R, L, S]."""
    there = np.isfinite(by_lag) | np.isinf(by_lag)
    start = np.broadcast_to(by_lag[:, :1], by_lag.shape)
    arrived, sent = np.where(there, by_lag, 0.0), np.where(there, start, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = arrived.sum(0) / sent.sum(0)  # [L, S]
        known = [row[~np.isnan(row)] for row in each]
        bands = [np.quantile(row, (0.1, 0.5, 0.9)) if len(row) else [np.nan] * 3 for row in known]
        low, whole, high = np.array(bands).T
        growth = float(np.log(whole[lag]) / lag) if lag else 0.0
    far = np.flatnonzero(whole >= VANISHED)
    longest = int(np.flatnonzero(np.isfinite(whole))[-1]) if np.isfinite(whole).any() else 0
    return {
        "arriving": whole,
        "arriving_low": low,
        "arriving_high": high,
        "growth": growth,
        "reach": int(far[-1]) if len(far) else 0,
        "reach_is_bound": bool(len(far) and far[-1] == longest),
    }


def step_singular_values(
    cell: Any, params: Params, xs: Inputs, mask: Array, most: int, options: Mapping[str, Any]
) -> np.ndarray:
    """[3, N]: quantiles of the singular values of J_t over the (time, sequence) pairs that happened, at most `most`."""
    run = jax.jit(unroll, static_argnums=0, static_argnames="return_states")(
        cell, params, xs, return_states=True, **options
    )
    size = jax.eval_shape(lambda p: ravel_state(cell.initial_state(p, ()), 0), params).size
    pairs = np.argwhere(np.asarray(mask))
    time, sequence = pairs[even_sample(np.arange(len(pairs)), min(most, max(CHUNK_ELEMENTS // size**2, 1)))].T
    states = jax.tree.map(lambda h: h[time, sequence], run.states)
    inputs = jax.tree.map(lambda x: jnp.asarray(x)[time, sequence][None], xs)
    J = jax.jit(jacobians, static_argnums=0)(cell, params, inputs, initial_state=states)[0]
    # NumPy's SVD: ten times faster here than XLA's on a CPU
    sigma = np.linalg.svd(np.asarray(J, np.float64), compute_uv=False)
    return np.quantile(sigma, (0.1, 0.5, 0.9), axis=0)
