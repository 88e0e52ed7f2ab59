"""What theory says of a network's own weights and data, to stand beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jrnn.cells import Elman, Leaky, Stack, prepared
from jrnn.cells._refined import refined
from jrnn.extras import require
from jrnn.flow.sampling import even_sample, taken
from jrnn.flow.theory.closed_forms import gate_half_life, mean_field, norm_bound
from jrnn.types import Inputs, Params, State
from jrnn.wording import brief, nats, number

POINTS = 2048  # (time, sequence) pairs at most at which inputs and gates are looked at


@dataclass(frozen=True)
class Expected:
    """Theory for one layer: the mean field and the norm bound of an Elman network, or a gate's half-lives."""

    layer: str = ""
    """Its index in a stack, "" for a network of one layer."""
    gain: float = math.nan
    """g = sqrt(H) std(W_rec), as ||W_rec||_F / sqrt(H); Elman only, as what follows up to `norm_gain`."""
    input_variance: float = math.nan
    """s^2: the mean square over data and units of what input and bias add to a pre-activation, x W_in + b."""
    chi: float = math.nan
    """The factor that a step puts on the mean squared gradient in a random network of that g and s^2."""
    largest_exponent: float = math.nan
    """ln(chi) / 2, nats per step: the largest Lyapunov exponent of a large network with random Gaussian weights."""
    mean_exponent: float = math.nan
    """nats per step: the mean of its whole spectrum; -inf for ReLU."""
    norm_gain: float = math.nan
    """sigma_max(W_rec) sup |phi'|: no step can stretch more; below 1 the gradient must vanish (Pascanu et al. 2013)."""
    gate: str = ""
    """The gate that keeps the state, "f" (LSTM) or "z" (GRU); "leak" of leaky units."""
    half_lives: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """[H], steps, ascending: after how many half of what a unit holds is left if only its gate acts, from the mean
    of ln(gate) over the data."""

    def __repr__(self) -> str:
        layer = f"layer {self.layer}" if self.layer else ""
        if self.gate:
            return brief(self, layer, f"gate {self.gate!r} of {len(self.half_lives)} units")
        largest = (
            "" if math.isnan(self.largest_exponent) else f"largest exponent {nats(self.largest_exponent)} per step"
        )
        return brief(self, layer, f"norm gain {number(self.norm_gain)}", largest)

    @property
    def gate_exponents(self) -> np.ndarray:
        """[H], nats per step, descending: the mean ln(gate) of each unit; its exponents if nothing else acted."""
        with np.errstate(divide="ignore"):
            return -math.log(2) / self.half_lives[::-1]

    @property
    def half_life_quantiles(self) -> tuple[float, float, float]:
        """10 %, 50 %, 90 % over units of the half-lives, steps."""
        low, middle, high = np.quantile(self.half_lives, (0.1, 0.5, 0.9), method="lower")
        return float(low), float(middle), float(high)


def expected(cell: Any, params: Params, xs: Inputs, states: State, mask: np.ndarray) -> tuple[Expected, ...]:
    """What is known of each layer; empty for cells that theory does not speak of. states [T+1, S, ...], mask [T, S]."""
    params, pairs = prepared(cell, params), np.argwhere(mask)
    time, sequence = pairs[even_sample(np.arange(len(pairs)), POINTS)].T
    before, after = (taken(states, time + shift, sequence) for shift in (0, 1))
    inputs = taken(xs, time, sequence)
    expectations = (of_layer(*layer) for layer in layers("", cell, params, before, after, inputs))
    return tuple(each for each in expectations if each is not None)


def layers(name: str, cell: Any, params: Params, before: State, after: State, x: Any) -> Iterator[tuple]:
    """(name, cell, params, the state entering the step, the step's input) of each layer, bottom first."""
    if not isinstance(cell, Stack):
        yield name, cell, params, before, x
        return
    for i, (one, own, entering, left) in enumerate(zip(cell.cells, params, before, after, strict=True)):
        yield from layers(f"{name}.{i}" if name else f"{i}", one, own, entering, left, x)
        x = one.output(own, left, x)


def of_layer(name: str, cell: Any, params: Params, state: State, x: Any) -> Expected | None:
    """Theory for one layer, or None."""
    if isinstance(cell, Elman):
        return of_elman(name, cell, params, state, x)
    if isinstance(cell, Leaky):
        held = require("scipy.special").expit(-np.asarray(params["theta"], np.float64)).reshape(1, -1)
        return Expected(name, gate="leak", half_lives=np.sort(gate_half_life(held)))
    gate = getattr(getattr(cell, "gates", None), "keeps", None)
    if gate is not None and "w_rec" in params:
        values = gate_values(cell, params, state, x, gate)
        return Expected(name, gate=gate, half_lives=np.sort(gate_half_life(values))) if values.size else None
    return None


def gate_values(cell: Any, params: Params, state: State, x: Any, gate: str) -> np.ndarray:
    """[n, H]: sigmoid of the gate's block of x W_in + b + h W_rec, refined where the cell refines it."""
    hidden, from_x = cell.hidden, from_input(params, x)
    h, w_rec = np.asarray(state.h, np.float64), np.asarray(params["w_rec"], np.float64)

    def values(name: str) -> np.ndarray:
        block = slice((i := cell.gates.index(name)) * hidden, (i + 1) * hidden)
        return require("scipy.special").expit(from_x[..., block] + h @ w_rec[:, block])

    return refined(values(gate), values("refine")) if "refine" in cell.gates else values(gate)


def from_input(params: Params, x: Any) -> np.ndarray:
    """[n, G]: x W_in + b, in float64 whatever the network computes in: 1 - 1e-9 must not round to 1."""
    w_in, bias = (np.asarray(params[name], np.float64) for name in ("w_in", "bias"))
    return np.asarray(x, np.float64) @ w_in + bias


def of_elman(name: str, cell: Any, params: Params, state: State, x: Any) -> Expected:
    """The mean field where the activation has one, and the bound on a step's norm."""
    w_rec = np.asarray(params["w_rec"], np.float64)
    gain = float(np.linalg.norm(w_rec) / math.sqrt(len(w_rec)))
    variance = float(np.square(from_input(params, x)).mean())
    bound = norm_bound(w_rec, cell.activation).gain if np.isfinite(w_rec).all() else math.nan
    known = Expected(name, gain=gain, input_variance=variance, norm_gain=bound)
    if cell.activation not in ("tanh", "relu") or not 0 < gain < math.inf or not variance < math.inf:
        return known
    _, chi, largest, mean = mean_field(gain, variance, cell.activation)
    return Expected(name, gain, variance, chi, largest, mean, bound)
