"""The LSTM, gates in PyTorch's order i, f, g, o."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells._base import check_dtype, check_params, check_size, from_input, gated_params, matmul, static_cell
from jrnn.cells.initializers import BIASES, WEIGHTS, named
from jrnn.types import Array, Params, Shape


class LSTMState(NamedTuple):
    """h [*B, H] and c [*B, H]; the whole state is both (N = 2H)."""

    h: Array
    c: Array


@static_cell
class LSTM:
    """See `lstm`."""

    hidden: int
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    gates = ("i", "f", "g", "o")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        return gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> LSTMState:
        check_params(params, self.hidden, 4)
        zeros = jnp.zeros((*batch_shape, self.hidden), params["w_rec"].dtype)
        return LSTMState(zeros, zeros)

    def step(self, params: Params, state: LSTMState, x: Any) -> LSTMState:
        z = from_input(params, x, state.h) + matmul(state.h, params["w_rec"])
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state.c.astype(z.dtype) + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return LSTMState(h.astype(state.h.dtype), c.astype(state.c.dtype))

    def output(self, params: Params, state: LSTMState, x: Any) -> Array:
        return state.h


def lstm(
    hidden: int,
    *,
    w_in: Any = "glorot",
    w_rec: Any = "orthogonal",
    bias: Any = "unit_forget",
    dtype: Any = None,
) -> LSTM:
    """The LSTM cell without peepholes (Hochreiter, Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, o = sigmoid(x W + h U + b), g = tanh(x W + h U + b), c' = f c + i g, h' = o tanh(c').
    Blocks in the order i, f, g, o.

    Parameters: w_in [F, 4H], w_rec [H, 4H], bias [4H] (the sum of PyTorch's two).
    State: `LSTMState(h, c)`. Output: h_t.

    Args:
      hidden: H.
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`); the bias may be
        `jrnn.initializers.forget_bias(value)` or `jrnn.initializers.chrono(t_max)`.
      dtype: of the parameters; the state follows it (16-bit: gates in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, or an initialiser or the dtype is unknown.
    """
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    return LSTM(check_size("hidden", hidden), *inits, check_dtype(dtype))
