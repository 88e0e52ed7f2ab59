"""The Lyapunov spectrum over a few sequences of a data set, as figures for people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jrnn.cells import jit_by_cell
from jrnn.cells._advance import flat_state
from jrnn.displays import card_by, plotted_by
from jrnn.flow.lyapunov.result import LyapunovSpectrum
from jrnn.flow.lyapunov.spectrum import lyapunov_spectrum
from jrnn.flow.sampling import affordable, chosen_sequences, taken
from jrnn.types import InputError, Inputs, Params
from jrnn.wording import brief, nats, number

SEQUENCES = 4
WORK = 5e9  # multiplications of the QR steps, N k^2 a step; some seconds
WARMUP = 8  # the first 1 / WARMUP of the run settles state and directions


@dataclass(frozen=True)
class MeasuredSpectrum:
    """The k largest Lyapunov exponents of the whole state along the data, in nats per step."""

    exponents: np.ndarray
    """[k], the mean over sequences of lambda_i = mean ln |R_ii| per step; -inf where a direction dies in any."""
    standard_errors: np.ndarray
    """[k], nats per step: sqrt(sum of the squared errors of the sequences) / sequences, or their spread / sqrt(their
    number) where that is larger; inf where neither can be had, 0 where the exponent is -inf."""
    size: int
    """N, the size of the state; all exponents were measured where k = N."""
    sequences: int
    """How many sequences were followed, each from its own start."""
    warmup: int
    """Steps at the start of each that do not count."""
    steps: int
    """Steps that count, of all sequences together."""
    warnings: tuple[str, ...] = ()
    """Why figures should not be trusted, in sentences."""

    def __repr__(self) -> str:
        largest = f"largest {nats(self.exponents[0])} per step, standard error {number(self.standard_errors[0])}"
        return brief(self, f"{len(self.exponents)} of {self.size} exponents", largest, f"{self.sequences} sequences")

    plot = plotted_by("plot_lyapunov")
    _repr_html_ = card_by("spectrum_table")

    @property
    def mean_exponent(self) -> float:
        """The mean of all N exponents, mean ln |det J_t| / N; NaN where not all were measured."""
        return float(self.exponents.mean()) if len(self.exponents) == self.size else float("nan")


def measured_spectrum(
    cell: Any,
    params: Params,
    xs: Inputs,
    lengths: np.ndarray,
    lag: int,
    work: float = WORK,
    order: np.ndarray | None = None,
) -> MeasuredSpectrum:
    """Follows at most 4 sequences that have a way back of `lag` steps (the first ones in `order`, if it is given).

    xs [T, S, F], lengths [S] their valid steps.
    It takes fewer sequences if they would exceed `work`, and fewer exponents if one sequence alone would. An
    eighth of the shortest is the warm-up: sequences are not joined, each starts where it starts in training.
    """
    size = flat_state(cell, params).size
    chosen = chosen_sequences(lengths, lag, SEQUENCES, order)
    steps, k = int(lengths[chosen].max()), size
    while k > 1 and steps * size * k**2 > work:
        k = (k + 1) // 2
    chosen = chosen[: affordable(steps * size * k**2, work, len(chosen))]
    warmup = int(lengths[chosen].min()) // WARMUP
    inputs = taken(xs, slice(steps), chosen)
    return over_sequences(followed(cell, k, warmup, params, inputs, lengths[chosen].astype(np.int32)), warmup)


@partial(jit_by_cell, static_argnums=(0, 1, 2))
def followed(cell: Any, k: int, warmup: int, params: Params, xs: Inputs, lengths: np.ndarray) -> LyapunovSpectrum:
    """The spectrum; one program."""
    return lyapunov_spectrum(cell, params, xs, k=k, warmup=warmup, lengths=lengths)


def over_sequences(spectrum: LyapunovSpectrum, warmup: int = 0) -> MeasuredSpectrum:
    """The mean over all sequences of a spectrum, with the errors that it has as such; `warmup` is only told of.

    Raises:
      InputError: spectra of several networks, by `jax.vmap`.
    """
    if np.ndim(spectrum.size):
        needed = "one of them: jax.tree.map(lambda a: a[0], ...)"
        raise InputError("spectrum", "those of several networks (jax.vmap)", needed)
    each, errors = (
        np.asarray(values, np.float64).reshape(-1, values.shape[-1])
        for values in (spectrum.exponents, spectrum.standard_errors)
    )
    counted = int(np.where(np.asarray(spectrum.counted), np.asarray(spectrum.steps), 0).sum())
    warnings = tuple(spectrum.warnings())
    size = int(spectrum.size)
    return MeasuredSpectrum(each.mean(0), combined(each, errors), size, len(each), warmup, counted, warnings)


def combined(each: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """[S, k] twice -> the standard errors [k] of the mean over sequences."""
    dies = np.isneginf(each).any(0)
    own = np.sqrt((errors**2).sum(0)) / len(each)
    if len(each) < 2:
        return np.where(dies, 0.0, own)
    spread = np.where(np.isfinite(each), each, 0.0).std(0, ddof=1) / np.sqrt(len(each))
    return np.where(dies, 0.0, np.where(np.isfinite(own), np.maximum(own, spread), spread))
