"""The figures of one network at one moment, for people: how far back its gradient reaches, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jrnn.cells import program_of
from jrnn.cells._advance import flat_state
from jrnn.displays import card_by, plotted_by
from jrnn.flow.credit.output_cotangents import carrying, run_and_pull
from jrnn.flow.credit.splitting import CHUNK_ELEMENTS, gradient_flow
from jrnn.flow.curves import flow_curves
from jrnn.flow.jacobian.steps import has_forward_mode, jacobians
from jrnn.flow.lyapunov.dataset_spectrum import MeasuredSpectrum, measured_spectrum
from jrnn.flow.sampling import even_sample, taken
from jrnn.flow.singular_values.window_quantiles import WindowBands, window_bands
from jrnn.flow.theory.network_theory import Expected, expected
from jrnn.flow.verdicts.verdict import Verdict
from jrnn.types import Array, InputError, Inputs, Params, State
from jrnn.unrolling import read
from jrnn.unrolling.checks import check_causal, check_count, concrete, is_count
from jrnn.wording import brief, counted

PAIRS, OUTPUTS = 2**21, 64
"""By default all outputs are followed where that is at most PAIRS (output, state, sequence) triples, some seconds; else
OUTPUTS of them."""


@dataclass(frozen=True)
class FlowSummary:
    """Host numbers (NumPy float64); S sequences were analysed, of which those long enough for a lag count at it."""

    judgement: Verdict
    """What becomes of the gradient at the lag that the task needs, with intervals."""
    arriving: np.ndarray
    """[L] for lags 0..L-1: the median over sequences of sum ||part(t, t - lag)|| / sum ||part(t, t)|| over the outputs
    t > lag, where part(t, k) = (dy_t/dh_k)^T dL/dy_t. By output, never summed over lags; 1 at lag 0."""
    arriving_low: np.ndarray
    """[L]: the 10 % quantile of that ratio over sequences."""
    arriving_high: np.ndarray
    """[L]: the 90 % quantile."""
    singular_values: np.ndarray
    """[3, N]: 10 %, 50 %, 90 % quantiles over time and sequences of the i-th singular value of J_t = dh_t/dh_{t-1}."""
    credit: np.ndarray
    """[R, T+1]: the median of ||part(t, k)|| over the sequences whose output t carries gradient; row i is output
    t = output_times[i], column k."""
    output_times: np.ndarray
    """[R]: the outputs that were followed back (all that carry gradient, or an even sample of them)."""
    lag_norms: np.ndarray
    """[T+1]: ||G_tau||, sum_tau G_tau = dL/dparams: what the weights hear from each lag, over all sequences."""
    lag_shares: np.ndarray
    """[T+1]: <G_tau, dL/dparams> / ||dL/dparams||^2, signed; their sum is 1 up to `sum_error`."""
    effective_horizon: int
    """The smallest lag by which the cumulated ||G_tau|| reaches 95 % of its total."""
    sum_error: float
    """How well the parts sum up to the whole gradient: rounding, or the error of sampling outputs. If it is neither,
    `judgement.caution` says so, and with it `sentence`."""
    sequences: int
    """S."""
    arriving_by_state: dict[str, np.ndarray] = field(default_factory=dict)
    """{part of the state: [L]}: what arrives by way of it alone (an LSTM's h and c), relative to what all of them
    together had at lag 0; the median over sequences. Empty where the state has one part."""
    lag_norms_by_gate: dict[str, np.ndarray] = field(default_factory=dict)
    """{gate: [T+1]}: ||G_tau|| of each gate's parameters alone."""
    exact: bool = True
    """Whether all outputs that carry gradient were followed; if not, what is said by lag is an estimate."""
    windows: WindowBands | None = None
    """Singular values of dh_t/dh_{t-lag}, in nats, at lags 1, 2, 4, ...; None if `why` is False."""
    spectrum: MeasuredSpectrum | None = None
    """The Lyapunov exponents of the whole state along the data, in nats per step; None likewise."""
    theory: tuple[Expected, ...] = ()
    """What theory says of each layer (mean field and norm bound of an Elman network, half-lives of an LSTM's or GRU's
    gate), bottom first; empty for other cells."""
    lag_errors: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """[T+1]: the sampling error of `lag_norms`, in the same unit; 0 where `exact`."""
    forward: bool = True
    """Whether the step can be differentiated forwards. If not (it holds a `jax.custom_vjp`), there are no Jacobians:
    `singular_values` are NaN, `windows` and `spectrum` None."""

    def __repr__(self) -> str:
        return brief(self, repr(self.judgement)[len("<Verdict: ") : -1], f"{counted(self.outputs, 'output')} followed")

    plot = plotted_by("plot_lag_profile")
    _repr_html_ = card_by("flow_card")

    @property
    def outputs(self) -> int:
        """Output times that were followed back."""
        return len(self.output_times)

    @property
    def lag(self) -> int:
        """The lag the task needs, in steps."""
        return self.judgement.lag

    @property
    def at_lag(self) -> float:
        """The fraction of the gradient that arrives `lag` steps back."""
        return self.judgement.arriving

    @property
    def growth(self) -> float:
        """Nats per step at late lags: a loss of the first step alone does not count."""
        return self.judgement.growth

    @property
    def entry(self) -> float:
        """The share that is left after one step."""
        return self.judgement.entry

    @property
    def of_entered(self) -> float:
        """The share of what entered that arrives `lag` steps back: what a loss of the first step alone leaves out."""
        return self.judgement.of_entered

    @property
    def reach(self) -> int:
        """The largest lag at which at least 1 % of the gradient still arrives."""
        return self.judgement.reach

    @property
    def reach_is_bound(self) -> bool:
        """True if that lag is the longest there is, so the reach may be longer."""
        return self.judgement.reach_is_bound

    @property
    def verdict(self) -> str:
        """The kind of the verdict: 'healthy', 'vanishing', 'exploding', ..."""
        return self.judgement.kind

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with its numbers and the lag it holds for."""
        return self.judgement.sentence


def summarise(
    cell: Any,
    params: Params,
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    loss_params: Params = None,
    lengths: Any = None,
    lag: int,
    max_outputs: int | None = None,
    max_jacobians: int = 128,
    why: bool = True,
) -> FlowSummary:
    """Measures a network on a batch of sequences (on the host: the result is NumPy).

    Args:
      cell, params, xs, loss, loss_params, lengths: as for `jrnn.value_and_grads`; xs [T, S, F].
      lag: the lag to judge, 0..T-1.
      max_outputs: outputs to follow back at most, evenly spread over those whose gradient is not zero; by default all,
        or 64 where all would be more than 2^21 (output, state, sequence) triples (256 steps of 32 sequences).
      max_jacobians: (time, sequence) pairs at most at which the singular values of J_t are taken, evenly spread.
      why: whether to measure `windows`, `spectrum` and `theory` too, on at most 4 sequences, those in which what
        arrives at the lag is nearest the median; some seconds.
    Raises:
      InputError: the lag is not in 0..T-1 or longer than any way back from an output that carries gradient, the loss
        does not depend on any output, or shapes that do not fit.
    """
    check_causal(cell)
    xs, read_once = read(cell, params, xs, lengths=lengths)
    steps, batch_shape = read_once.steps, read_once.batch_shape
    if not steps or len(batch_shape) != 1 or not batch_shape[0]:
        raise InputError("xs", f"T = {steps}, batch shape {batch_shape}", "[T, S, F]: at least one step and sequence")
    if not is_count(lag) or lag >= steps:
        raise InputError("lag", repr(lag), f"a lag from 0 to T - 1 = {steps - 1}")
    if any(concrete(leaf) is None for leaf in jax.tree.leaves((params, xs, loss_params, lengths))):
        raise InputError("params, xs", "traced values", "values: it is computed on the host, not under jit")
    if max_outputs is not None:
        max_outputs = check_count("max_outputs", max_outputs, 1, "a positive number of outputs, or None")
    max_jacobians = check_count("max_jacobians", max_jacobians, 1, "a positive number of Jacobians")
    options = {} if lengths is None else {"lengths": read_once.lengths}
    cell = program_of(cell)
    unrolled, carry = jax.jit(run_and_carry, static_argnums=(0, 4))(cell, params, xs, read_once, loss, loss_params)
    times = np.flatnonzero(np.asarray(carry)) + 1
    if not len(times):
        raise InputError("loss", "a loss whose gradient is zero at every output", "a loss that depends on the outputs")
    if lag >= times[-1]:
        raise InputError("lag", lag, f"at most {times[-1] - 1}: no output after step {times[-1]} carries any gradient")
    each = (steps + 1) * batch_shape[0]
    if max_outputs is None:
        max_outputs = len(times) if len(times) * each <= PAIRS else OUTPUTS
    chosen: dict[str, Any] = {"max_pairs": max_outputs * each}
    if len(times) <= max_outputs:
        chosen = {"output_times": times}
    flow = jax.jit(gradient_flow, static_argnums=(0, 3), static_argnames=("lag_gradients", "max_pairs"))(
        cell, params, xs, loss, loss_params=loss_params, lag_gradients=False, **chosen, **options
    )
    order = flow.arrival().typical_first(lag)
    states = unrolled.states
    mask = np.asarray(unrolled.mask)
    forward = has_forward_mode(cell, params, taken(xs, 0), taken(states, 0))
    sound = why and all(np.isfinite(h).all() for h in jax.tree.leaves(states))
    return FlowSummary(
        judgement=flow.verdict(lag),
        singular_values=step_singular_values(cell, params, xs, states, mask, max_jacobians if forward else 0),
        windows=window_bands(cell, params, xs, states, mask.sum(0), lag, order=order) if sound and forward else None,
        spectrum=measured_spectrum(cell, params, xs, mask.sum(0), lag, order=order) if sound and forward else None,
        theory=expected(cell, params, xs, states, mask) if sound else (),
        forward=forward,
        **vars(flow_curves(flow)),
    )


def run_and_carry(
    cell: Any, params: Params, xs: Inputs, options: Any, loss: Callable[..., Array], loss_params: Params
) -> tuple[Any, Array]:
    """(the run, [T] of bool: the outputs that carry gradient)."""
    unrolled, pulls = run_and_pull(cell, params, xs, options, loss, loss_params)
    return unrolled, carrying(*pulls)


def step_singular_values(
    cell: Any, params: Params, xs: Inputs, states: State, mask: np.ndarray, most: int
) -> np.ndarray:
    """[3, N]: quantiles of the singular values of J_t over the (time, sequence) pairs that happened, at most `most`;
    NaN with none."""
    size = flat_state(cell, params).size
    if not most:
        return np.full((3, size), np.nan)
    pairs = np.argwhere(mask)
    time, sequence = pairs[even_sample(np.arange(len(pairs)), min(most, max(CHUNK_ELEMENTS // size**2, 1)))].T
    entering, inputs = taken(states, time, sequence), taken(xs, None, time, sequence)
    J = jax.jit(jacobians, static_argnums=0)(cell, params, inputs, initial_state=entering)
    return singular_quantiles(J)


def singular_quantiles(jacobians: Any) -> np.ndarray:
    """[*B, N, N] -> [3, N]: 10 %, 50 % and 90 % quantiles of the i-th singular value; NaN if anything is not finite."""
    # NumPy's SVD: ten times faster here than XLA's on a CPU
    J = np.asarray(jacobians, np.float64)
    J = J.reshape(-1, *J.shape[-2:])
    if not len(J) or not np.isfinite(J).all():
        return np.full((3, J.shape[-1]), np.nan)
    return np.quantile(np.linalg.svd(J, compute_uv=False), (0.1, 0.5, 0.9), axis=0)
