"""How far a way back of some lag stretches and shrinks the directions of the state, over a few sequences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jrnn.cells import jit_by_cell
from jrnn.cells._advance import flat_state
from jrnn.displays import card_by, plotted_by
from jrnn.flow.sampling import affordable, chosen_sequences, taken
from jrnn.flow.singular_values.windows import WindowSpectrum, window_singular_values
from jrnn.types import Array, InputError, Inputs, Params, State
from jrnn.wording import brief, nats

SEQUENCES = 4
WORK = 4e9  # multiplications: N^3 a step with all directions; some seconds
DECOMPOSITION = 16  # what the singular values of one product cost, in steps
TOP, PASSES = 8, 30  # where all directions are too many: how many are followed, and products with A^T A at most
TOGETHER = 16  # lags up to this factor apart run side by side, where few directions go to and fro


@dataclass(frozen=True)
class WindowBands:
    """Singular values sigma_1 >= sigma_2 >= ... of dh_t/dh_{t-lag} for M lags, t the last step of each sequence."""

    lags: np.ndarray
    """[M] of int, steps: 1, 2, 4, ... and the lag that the task needs."""
    log_singular_values: np.ndarray
    """[3, M, n]: 10 %, 50 %, 90 % quantiles over sequences of ln sigma_i, i = 1..n, in nats; -inf where a direction
    dies. n = N, the size of the state, or the largest few where all would cost too much."""
    size: int
    """N."""
    sequences: int
    """How many sequences were looked at."""

    def __repr__(self) -> str:
        last = f"the largest of the median sequence {nats(self.largest[-1])} at lag {self.lags[-1]}"
        return brief(self, f"singular values at {len(self.lags)} lags", last, f"{self.sequences} sequences")

    plot = plotted_by("plot_window_bands")
    _repr_html_ = card_by("windows_table")

    @property
    def largest(self) -> np.ndarray:
        """[M]: ln ||dh_t/dh_{t-lag}||_2 of the median sequence: no gradient can arrive larger, whatever the loss."""
        return self.log_singular_values[1, :, 0]

    @property
    def complete(self) -> bool:
        """Whether all N directions were followed."""
        return self.log_singular_values.shape[2] == self.size


def window_bands(
    cell: Any,
    params: Params,
    xs: Inputs,
    states: State,
    lengths: np.ndarray,
    lag: int,
    work: float = WORK,
    order: np.ndarray | None = None,
) -> WindowBands:
    """Measures windows that end with their sequence; states [T+1, S, ...] of the run, lengths [S] its valid steps.

    It takes at most 4 sequences that reach `lag` steps back (the first ones in `order`, if it is given), fewer if they
    would exceed `work`, and only the largest 8 singular values if one sequence with all of them would.
    """
    size = flat_state(cell, params).size
    chosen = chosen_sequences(lengths, lag, SEQUENCES, order)
    longest = max(int(lengths[chosen].min()) - 1, 1)
    lags = sorted({2**i for i in range(longest.bit_length()) if 2**i <= longest} | {min(max(lag, 1), longest)})
    top, groups, each = None, [lags], (lags[-1] + DECOMPOSITION * len(lags)) * size**3
    if each > work:
        top, groups = min(TOP, size), grouped(lags)
        steps = sum(len(group) * group[-1] for group in groups)
        each = 2 * PASSES * steps * size * (2 * TOP) ** 2
    chosen = chosen[: affordable(each, work, len(chosen))]
    ends, spectra = lengths[chosen], []
    for group in groups:
        furthest = group[-1]
        times = ends - furthest + np.arange(furthest)[:, None]
        start = taken(states, ends - furthest, chosen)
        spectra.append(log_singular_values(cell, tuple(group), top, params, taken(xs, times, chosen), start))
    logs = np.concatenate([np.asarray(each, np.float64) for each in spectra])
    return WindowBands(np.array(lags), np.stack([quantiles(each) for each in logs], axis=1), size, len(chosen))


@partial(jit_by_cell, static_argnums=(0, 1, 2))
def log_singular_values(
    cell: Any, lags: tuple[int, ...], top: int | None, params: Params, xs: Inputs, start: State
) -> Array:
    """[M, S, n] of windows of these lags, the last of which is the length of the run; one program."""
    length = lags[-1]
    windows = [(length - lag, length) for lag in lags]
    method = "explicit" if top is None else "matrix_free"
    return window_singular_values(
        cell, params, xs, windows, top=top, method=method, iterations=PASSES, initial_state=start, length=length
    ).log_singular_values


def quantiles(logs: np.ndarray) -> np.ndarray:
    """[S, n] -> [3, n]: 10 %, 50 % and 90 % over sequences, without interpolation: a logarithm may be -inf."""
    low, high = np.quantile(logs, (0.1, 0.9), axis=0, method="lower")
    middle = np.quantile(logs, 0.5, axis=0, method="higher")
    return np.stack([low, middle, np.maximum(middle, high)])


def bands_of(spectrum: WindowSpectrum) -> WindowBands:
    """The quantiles at each lag over all its windows and their sequences.

    Raises:
      InputError: windows of several networks, by `jax.vmap`.
    """
    if np.ndim(spectrum.size):
        needed = "one of them: jax.tree.map(lambda a: a[0], ...)"
        raise InputError("windows", "those of several networks (jax.vmap)", needed)
    logs = np.asarray(spectrum.log_singular_values, np.float64)
    logs, of = logs.reshape(len(logs), -1, logs.shape[-1]), np.asarray(spectrum.lags)
    lags = np.unique(of)
    at_lags = [quantiles(np.concatenate(logs[of == lag])) for lag in lags]
    return WindowBands(lags, np.stack(at_lags, axis=1), int(spectrum.size), logs.shape[1])


def grouped(lags: list[int]) -> list[list[int]]:
    """Lags in order, cut into groups whose largest is less than 16 times their smallest."""
    groups: list[list[int]] = []
    for lag in lags:
        if groups and lag < TOGETHER * groups[-1][0]:
            groups[-1].append(lag)
        else:
            groups.append([lag])
    return groups
