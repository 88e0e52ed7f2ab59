"""What `gradient_flow` returns: the parts of a gradient by output and by lag, and the verdict taken from them."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jrnn.cells import check_number
from jrnn.displays import card_by, plotted_by
from jrnn.flow.verdicts.arrival import Arrival, arrival
from jrnn.flow.verdicts.verdict import LEVEL, Verdict, judge, stays_bounded, sum_caution
from jrnn.types import Array, InputError, Params, State
from jrnn.unrolling.checks import concrete, is_count
from jrnn.wording import arrays, brief


@jax.jit
def horizon_of(lag_norms: Array, share: Array) -> Array:
    """As `GradientFlow.effective_horizon` says; one program, not fifteen."""
    total = jnp.cumsum(lag_norms, axis=-1)
    last = total[..., -1]
    horizon = jnp.argmax(total >= share * last[..., None], axis=-1).astype(jnp.int32)
    return jnp.where(jnp.isfinite(last) & (last > 0), horizon, -jnp.ones_like(horizon))


class GradientFlow(NamedTuple):
    """dL/dh_k split by output, part(t, k) = (dy_t/dh_k)^T g_t with g_t = dL/dy_t taken once; dL/dparams split by lag.

    R outputs were followed: all T, or some. "Unit of L" over the unit of what it is differentiated by, throughout.
    Norms, errors and shares of 16-bit networks are float32.
    """

    state_gradients: Float[Array, "T+1 *B N"]
    """delta_k = dL/dh_k = sum_t part(t, k), [T+1, *B, N], by one backward pass of its own."""
    credit: Float[Array, "R T+1 *B"]
    """||part(t, k)||_2, [R, T+1, *B]: row i is output t = output_times[i], column k; zero for k > t. With reverse the
    columns are laid out like `Unrolled.states`: output t reads column t - 1, and the part is zero for k < t - 1."""
    output_times: Int[Array, " R"]
    """[R] of int, 1..T: the outputs that were followed; all of them if they fit, so row i is output t = i + 1."""
    exact: Bool[Array, ""]
    """Whether every output that carries gradient was followed. If not, the figures by lag below are estimates from an
    even sample of R of the n outputs that carry gradient: G_tau is n / R times the sample's."""
    sum_error: Float[Array, ""]
    """How well the parts sum up, relative to the sum of their norms: the larger of ||sum_tau G_tau - dL/dparams|| over
    sum_tau ||G_tau|| and (all outputs followed) the same for delta_k, at the worst k. Rounding where `exact`, unless
    the step's own backward pass is not linear (`verdict` says so then); else the measured error of the estimate. With
    `by_lag=False` that of delta_k alone; 0 where not all outputs were followed."""
    lag_norms: Float[Array, " T+1"] | None
    """||G_tau||_2, [T+1]. G_tau = sum_t (d+h_{t-tau}/dparams)^T part(t, t - tau): what the outputs leave in the
    parameters as used tau steps before (d+: this step alone; the output's own use counts at lag 0, a learnt initial
    state where the sequence or segment begins). sum_tau G_tau = dL/dparams. Of a sample: 2 n / R sqrt(<A, B>)
    with A and B its two interleaved halves, which does not count their scatter as signal; 0 where it is negative. This
    and what else is by lag is None with `by_lag=False`."""
    lag_errors: Float[Array, " T+1"] | None
    """n / R ||A - B||, [T+1]: the sampling error of G_tau; 0 where nothing was estimated."""
    lag_cosines: Float[Array, " T+1"] | None
    """[T+1], of the angle between G_tau and dL/dparams; 0 where either is zero."""
    lag_shares: Float[Array, " T+1"] | None
    """<G_tau, dL/dparams> / ||dL/dparams||^2, [T+1]: the signed share of lag tau; they sum to 1."""
    lag_gradients: Params | None
    """G_tau, like the parameters with a leading lag axis [T+1, ...] (None for integer leaves); None where that is too
    large to keep unasked."""
    credit_by_state: State
    """||part(t, k)||_2 of each part of the state alone, [R, T+1, *B] in the state's own structure: of an LSTM, what
    arrives by way of h and what by way of c. Their squares sum to that of `credit`."""
    lag_norms_by_gate: dict[str, Float[Array, " T+1"]]
    """||G_tau||_2 of each gate's parameters alone, [T+1]; "0.f" is gate f of a stack's layer 0; {} without gates."""
    state_norms: Float[Array, "T+1 *B"]
    """||h_k||_2, [T+1, *B], laid out like `state_gradients`; zero on padding."""
    segments: Int[Array, "T+1 *B"]
    """[T+1, *B] of int: the stretch of time that h_k belongs to; resets and truncation cut one off from the next. -1 on
    padding."""
    reverse: Bool[Array, ""]
    """Whether the run was read backwards, so that lags are counted the other way."""
    parts: Float[Array, "R T+1 *B N"] | None
    """part(t, k) itself, where asked for."""

    def __repr__(self) -> str:
        state = getattr(self.state_gradients, "shape", ())  # none where a tree of something else has its form
        facts = [f"credit {arrays(self.credit)} [R, T+1, *B]", *(f"N = {size}" for size in state[-1:])]
        exact, norms = concrete(self.exact), concrete(self.lag_norms)
        if exact is not None and exact.ndim == 0:
            facts.append("all outputs followed" if exact else "a sample of the outputs followed")
        if norms is not None and norms.ndim == 1:
            horizon = int(self.effective_horizon())
            facts.append("no finite gradient" if horizon < 0 else f"95 % of the weights' gradient within lag {horizon}")
        return brief(self, *facts)

    plot = plotted_by("plot_lag_profile")
    _repr_html_ = card_by("flow_card")

    def effective_horizon(self, share: float = 0.95) -> Array:
        """The smallest lag by which the cumulated norm sum_{tau' <= tau} ||G_tau'|| reaches `share` of its total; -1 if
        the total is zero or not finite.

        Raises:
          InputError: `share` is no number above 0 and at most 1, or nothing was split by lag.
        """
        if self.lag_norms is None:
            raise InputError("flow", "a gradient flow with by_lag=False", "by_lag=True: the horizon is one of lags")
        share = check_number("share", share, lambda part: 0 < part <= 1, "a number above 0 and at most 1, not traced")
        return horizon_of(self.lag_norms, share)

    def arrival(self) -> Arrival:
        """The credit by lag, with what can be said of it over sequences and outputs (on the host)."""
        if concrete(self.credit) is None:
            raise InputError("flow", "a gradient flow under jit", "values: ask what the jitted function gives")
        return arrival(self.credit, self.output_times, bool(self.reverse), self.segments)

    def verdict(self, lag: int, *, level: float = LEVEL) -> Verdict:
        """Whether the gradient reaches `lag` steps back, statistically, and what would change it (on the host).

        Computed from what arrives at that lag output by output, with a bootstrap over sequences and blocks of outputs;
        'undecided' where the interval of probability `level` holds a boundary. Ways back that a reset or a truncation
        cuts do not count. What is smaller than its dtype can hold arrives as 0: measure long lags in float64. Where the
        parts do not add up although all were followed, its `caution` and `sentence` say so.

        Raises:
          InputError: no output that was followed has a way back as long, a level that is no probability, or under jit.
        """
        arrival = self.arrival()
        longest = max(arrival.by_lag.shape[1] - 1, 0)
        reached = [tau for tau in range(longest + 1) if arrival.ratios(tau)[1].any()] if arrival.by_lag.size else []
        if not is_count(lag) or lag not in reached:
            needed = f"a lag from 0 to {reached[-1]}" if reached else "a run in which some output carries gradient"
            cut = reached and (np.asarray(self.segments) > 0).any()
            needed += ", the longest way back that is not cut" if cut else ""
            raise InputError("lag", repr(lag), needed)
        norms = np.where(np.asarray(self.segments) < 0, np.nan, np.asarray(self.state_norms, np.float64))
        judged = judge(arrival, lag, stays_bounded(norms, bool(self.reverse)), level)
        eps = float(jnp.finfo(self.state_gradients.dtype).eps)
        return replace(judged, caution=sum_caution(float(self.sum_error), bool(self.exact), eps))
