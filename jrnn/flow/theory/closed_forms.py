"""What theory predicts for random networks, to stand beside what is measured. Host functions, NumPy float64."""

import math
from typing import Any, NamedTuple

import numpy as np

from jrnn.cells._numbers import check_not_negative, check_positive
from jrnn.extras import require
from jrnn.types import InputError
from jrnn.unrolling.checks import check_count

# the trapezoid rule: tanh has poles near the real axis, where Gauss-Hermite loses digits
NODES = np.linspace(-12, 12, 4001)
WEIGHTS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


class MeanField(NamedTuple):
    """The large-N limit of h_t = phi(W h_{t-1} + input), W_ij ~ N(0, g^2 / N); growth in nats per step."""

    q: float
    """Variance of the pre-activations: q = g^2 E phi(sqrt(q) z)^2 + s^2, z ~ N(0, 1)."""
    chi: float
    """g^2 E phi'(sqrt(q) z)^2: the factor a step puts on the mean squared gradient; above 1 it explodes."""
    largest_exponent: float
    """ln(chi) / 2, of the largest exponent for N to infinity (Clark 2026, arXiv:2610.12426)."""
    mean_exponent: float
    """ln g - 1/2 + E ln |phi'(sqrt(q) z)|: the mean of the whole spectrum; -inf for ReLU, whose dead half has none."""


def mean_field(gain: float, input_variance: float = 0.0, activation: str = "tanh") -> MeanField:
    """Mean-field prediction for a random network with independent Gaussian input (Poole et al. 2016, Chen et al. 2018).

    Args:
      gain: g, of the recurrent matrix.
      input_variance: s^2, the variance that input (and bias) add to each pre-activation at each step.
      activation: "tanh" or "relu".
    Raises:
      InputError: gain not positive, a negative variance, an activation without a prediction.
    """
    gain = check_positive("gain", gain)
    input_variance = check_variance(input_variance)
    if activation == "relu":
        chi = gain**2 / 2
        q = input_variance / (1 - chi) if chi < 1 else math.inf if input_variance or chi > 1 else math.nan
        return MeanField(q, chi, 0.5 * math.log(chi), -math.inf)
    if activation != "tanh":
        raise InputError("activation", repr(activation), "'tanh' or 'relu'")
    q = fixed_point(gain, input_variance)
    size = np.abs(math.sqrt(q) * NODES)
    log_slope = 2 * (math.log(2) - size - np.log1p(np.exp(-2 * size)))  # ln sech^2, of any size
    slope = np.exp(log_slope)
    chi = gain**2 * float(WEIGHTS @ slope**2)
    return MeanField(q, chi, 0.5 * math.log(chi), math.log(gain) - 0.5 + float(WEIGHTS @ log_slope))


def check_variance(input_variance: Any) -> float:
    """s^2 as a float, or InputError."""
    return check_not_negative("input_variance", input_variance, "a variance of at least 0")


def fixed_point(gain: float, input_variance: float) -> float:
    """The stable q = g^2 E tanh(sqrt(q) z)^2 + s^2, by bisection: the map crosses the diagonal once from above."""

    def surplus(q: float) -> float:
        return gain**2 * float(WEIGHTS @ np.tanh(math.sqrt(q) * NODES) ** 2) + input_variance - q

    low, high = 0.0, gain**2 + input_variance
    if input_variance == 0 and gain <= 1:
        return 0.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if surplus(middle) > 0 else (low, middle)
    return 0.5 * (low + high)


def critical_gain(input_variance: float = 0.0, activation: str = "tanh") -> float:
    """The gain at which chi = 1: a random network's gradient neither vanishes nor explodes (1 for tanh without input).

    Raises:
      InputError: as `mean_field`.
    """
    low, high = 1.0, 2.0
    input_variance = check_variance(input_variance)
    while mean_field(high, input_variance, activation).chi < 1:
        high *= 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if mean_field(middle, input_variance, activation).chi < 1 else (low, middle)
    return 0.5 * (low + high)


def gaussian_product_exponents(size: int, sigma: float = 1.0) -> np.ndarray:
    """[N], nats per factor: exponents of products of N x N matrices with entries N(0, sigma^2 / N) (Newman 1986).

    lambda_i = ln sigma + (ln(2 / N) + psi((N - i + 1) / 2)) / 2.

    Raises:
      InputError: no positive number N or sigma.
    """
    i = indices(size)
    sigma = check_positive("sigma", sigma)
    return math.log(sigma) + 0.5 * (math.log(2 / size) + require("scipy.special").digamma((size - i + 1) / 2))


def gaussian_product_errors(size: int, factors: int) -> np.ndarray:
    """[N], nats: standard errors of these exponents over `factors` matrices, sqrt(psi'((N - i + 1) / 2) / (4 T)).

    Raises:
      InputError: no positive numbers.
    """
    i = indices(size)
    check_count("factors", factors, 1, "a positive number of matrices")
    return np.sqrt(require("scipy.special").polygamma(1, (size - i + 1) / 2) / (4 * factors))


def indices(size: int) -> np.ndarray:
    """1..N; InputError unless N is a positive integer."""
    return np.arange(1, check_count("size", size, 1, "a positive matrix size N") + 1)


class NormBound(NamedTuple):
    """Pascanu, Mikolov, Bengio 2013: what the largest singular value of W_rec alone can say."""

    gain: float
    """sigma_max(W_rec) * sup |phi'|: no step's Jacobian has a larger norm."""

    @property
    def must_vanish(self) -> bool:
        """gain < 1 is sufficient for vanishing: ||dh_t/dh_k|| <= gain^(t-k)."""
        return self.gain < 1

    @property
    def can_explode(self) -> bool:
        """gain > 1 is necessary for exploding, not sufficient."""
        return self.gain > 1


def norm_bound(w_rec: Any, activation: str = "tanh") -> NormBound:
    """The bound on ||J_t|| of an Elman network from its recurrent matrix [H, H]; sup |phi'| is 1, for a sigmoid 1/4.

    Raises:
      InputError: no square matrix, an entry that is not finite, or an unknown activation.
    """
    slopes = {"tanh": 1.0, "relu": 1.0, "identity": 1.0, "modrelu": 1.0, "sigmoid": 0.25}
    if not isinstance(activation, str) or activation not in slopes:
        raise InputError("activation", repr(activation), f"one of {sorted(slopes)}")
    w = host_array("w_rec", w_rec)
    if w.ndim != 2 or w.shape[0] != w.shape[1] or not w.size:
        raise InputError("w_rec", f"shape {w.shape}", "a square matrix [H, H]")
    if not np.isfinite(w).all():
        at = tuple(np.argwhere(~np.isfinite(w))[0].tolist())
        raise InputError("w_rec", f"{w[at]} at {at}", "finite numbers")
    return NormBound(float(np.linalg.norm(w, 2)) * slopes[activation])


def gate_half_life(gate: Any) -> np.ndarray:
    """[H], steps: after how many half of what a unit holds is left, ln(1/2) / mean ln(gate) over the leading axes.

    `gate` [..., H]: values in [0, 1] of what keeps the state, an LSTM's f or a GRU's z; 0 for a gate that was shut.

    Raises:
      InputError: a number alone, no values, or one outside [0, 1].
    """
    values = host_array("gate", gate)
    if values.ndim < 1 or not values.size:
        raise InputError("gate", f"shape {values.shape}", "[..., H] with at least one value a unit")
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        at = tuple(np.argwhere(outside)[0].tolist())
        raise InputError("gate", f"{values[at]} at {at}", "values in [0, 1], after the sigmoid")
    with np.errstate(divide="ignore"):
        rate = np.log(values).reshape(-1, values.shape[-1]).mean(axis=0)
        return np.where(rate < 0, math.log(0.5) / np.where(rate < 0, rate, -1.0), np.inf)


def host_array(name: str, values: Any) -> np.ndarray:
    """NumPy float64 of real numbers, or InputError."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "USOc":  # text and complex numbers would be turned into floats
            return array.astype(np.float64)
        given = f"dtype {array.dtype}"
    except (TypeError, ValueError):  # ragged, or traced
        given = f"{type(values).__name__} {values!r:.60}"
    raise InputError(name, given, "real numbers, not traced: this is computed on the host")
