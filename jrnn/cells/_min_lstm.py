"""The minimal LSTM: h' = (f h + i g(x W_n + b_n)) / (f + i), with gates that read x alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._base import check_dtype, check_params, check_size, from_input, input_params, spread, static_cell
from jrnn.cells._gate_names import Gates
from jrnn.cells._gated import GatedCell, bias_for, check_candidate
from jrnn.cells.initializers import WEIGHTS, named
from jrnn.kernels.recurrences.min_gru import CANDIDATES, SLOPES
from jrnn.types import Array, Params


@static_cell
class MinLSTM(GatedCell):
    """See `min_lstm`."""

    hidden: int
    candidate: str
    w_in: Any
    bias: Any
    dtype: Any

    gates = Gates("f", "i", "n", keeps="f", admits="i", shared=True)
    initialisers = ("w_in", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        return input_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.bias)

    def check(self, params: Params) -> None:
        check_params(params, self.hidden, 3, w_rec=None)

    def terms(self, params: Params, x: Any, like: Array) -> tuple[Array, Array]:
        """f / (f + i) = sigmoid(ln f - ln i), which divides by nothing small."""
        f, i, n = jnp.split(from_input(params, x, like), 3, axis=-1)
        keeps = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
        return jax.nn.sigmoid(keeps), jax.nn.sigmoid(-keeps) * CANDIDATES[self.candidate](n)

    def input_slopes(self, params: Params, h: Array, x: Any) -> Array:
        """a (1-a) (h - g) ((1-f) W_f - (1-i) W_i) + (1-a) g' W_n, a = f / (f + i)."""
        f, i, n = jnp.split(from_input(params, x, h), 3, axis=-1)
        of_f, of_i, of_n = jnp.split(params["w_in"], 3, axis=1)
        a, b = self.terms(params, x, h)
        admit = jax.nn.sigmoid(jax.nn.log_sigmoid(i) - jax.nn.log_sigmoid(f))
        of_a = a * (admit * h - b)
        of_gates = spread(of_a * jax.nn.sigmoid(-f), of_f) - spread(of_a * jax.nn.sigmoid(-i), of_i)
        return of_gates + spread(admit * SLOPES[self.candidate](n), of_n)


def min_lstm(
    hidden: int,
    *,
    t_max: float | None = None,
    candidate: str = "identity",
    w_in: Any = "glorot",
    bias: Any = None,
    dtype: Any = None,
) -> MinLSTM:
    """The minimal LSTM (Feng et al. 2024, arXiv:2410.01201): h' = (f h + i n) / (f + i), f, i = sigmoid(x W + b).

    n = g(x W_n + b_n). As `jrnn.min_gru` with a forget and an input gate whose sum is made 1; J_t = diag(f / (f + i)).
    With zero biases a unit forgets half in one step: for a lag in the data give `t_max`, a little above the lag. Marked
    bit, lag 50 (64 units, B = 50, Adam .002, clip 1): below .1 after 450 updates in 5 of 5 seeds with t_max = 50; with
    zero biases in none of 3 after 600.

    Parameters: w_in [F, 3H], bias [3H], blocks in the order f, i, n. State: `GatedState(h)`. Output: h_t.

    Args:
      hidden: H.
      t_max: the longest time constant, in steps: b_f = ln u, b_i = -b_f, u ~ U[1, t_max - 1], so that without inputs
        f / (f + i) = u / (1 + u), of time constant 1 + u (as `jrnn.initializers.chrono`); b_n = 0. None: `bias`.
      candidate: g. "identity"; "tanh"; "positive", the published g(v) = v + 1/2 for v >= 0, else sigmoid(v), which
        keeps h positive.
      w_in, bias: initialisers, by name or function (`jrnn.initializers`); bias None is zeros.
      dtype: of the parameters; the state follows it (16-bit: gates in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, t_max is not above 2 or stands beside a bias, or a candidate, an
        initialiser or the dtype is unknown.
    """
    inits = named("w_in", w_in, WEIGHTS), bias_for(t_max, bias)
    return MinLSTM(check_size("hidden", hidden), check_candidate(candidate), *inits, check_dtype(dtype))
