"""The LSTM, gates in PyTorch's order i, f, g, o."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._base import (
    HiddenOutput,
    check_dtype,
    check_flag,
    check_params,
    check_size,
    diagonal,
    from_input,
    gated_params,
    spread,
    static_cell,
    zero_state,
)
from jrnn.cells._gate_names import Gates
from jrnn.cells._gated_states import LSTMState
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells._refined import RefinedLSTM
from jrnn.cells.initializers import BIASES, WEIGHTS, chrono_or, named
from jrnn.kernels import Weights
from jrnn.kernels.recurrences.dense import matmul
from jrnn.kernels.recurrences.lstm import advance, slopes
from jrnn.types import Array, Params, Shape


@static_cell
class LSTM(HiddenOutput):
    """See `lstm`."""

    hidden: int
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    gates = Gates("i", "f", "g", "o", keeps="f", admits="i", candidate="g")
    initialisers = ("w_in", "w_rec", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        return gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> LSTMState:
        check_params(params, self.hidden, 4)
        return zero_state(LSTMState, params, batch_shape, self.hidden)

    def step(self, params: Params, state: LSTMState, x: Any, reads: Reads | None = None) -> LSTMState:
        from_x, read = from_input(params, x, state.h), weights_read(state.h, reads)
        return LSTMState(*advance(from_x, read, state.c, params["w_rec"]))

    def kernel(self, params: Params) -> Weights:
        return Weights("lstm", params["w_in"], params["w_rec"], params["bias"])

    def jacobian(self, params: Params, state: LSTMState, x: Any) -> tuple[Array, Array]:
        """(d(h', c')/d(h, c) [*B, 2H, 2H], d(h', c')/dx [*B, 2H, F]) in closed form.

        With s = o sech^2(c'): dc'/dc = diag(f), dh'/dc = diag(s f); dc'/dz has i (1-i) g, f (1-f) c, i (1-g^2) at the
        gates i, f, g, and dh'/dz = s dc'/dz, with o (1-o) tanh(c') at o.
        """
        z = from_input(params, x, state.h) + matmul(state.h, params["w_rec"])
        zi, zf, zg, zo = jnp.split(z, 4, axis=-1)
        f = jax.nn.sigmoid(zf)
        gates = jax.nn.sigmoid(zi), f, jnp.tanh(zg), jax.nn.sigmoid(zo)
        (a_i, a_f, a_g), a_o, to_h = slopes(gates, state.c.astype(z.dtype))

        def through(w: Array) -> tuple[Array, Array]:
            w_i, w_f, w_g, w_o = jnp.split(w, 4, axis=1)
            dc = spread(a_i, w_i) + spread(a_f, w_f) + spread(a_g, w_g)
            return to_h[..., :, None] * dc + spread(a_o, w_o), dc

        def stacked(upper: Array, lower: Array) -> Array:
            return jnp.concatenate([upper, lower], axis=-2)

        of_h, of_x = stacked(*through(params["w_rec"])), stacked(*through(params["w_in"]))
        of_c = stacked(diagonal(to_h * f), diagonal(f))
        return jnp.concatenate([of_h, of_c], axis=-1), of_x


def lstm(
    hidden: int,
    *,
    w_in: Any = "glorot",
    w_rec: Any = "orthogonal",
    bias: Any = "unit_forget",
    t_max: float | None = None,
    refine: bool = False,
    dtype: Any = None,
) -> LSTM | RefinedLSTM:
    """The LSTM cell without peepholes (Hochreiter, Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, o = sigmoid(x W + h U + b), g = tanh(x W + h U + b), c' = f c + i g, h' = o tanh(c').
    Blocks in the order i, f, g, o.

    Parameters: w_in [F, 4H], w_rec [H, 4H], bias [4H] (the sum of PyTorch's two).
    State: `LSTMState(h, c)`. Output: h_t.

    Args:
      hidden: H.
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`); the bias may be
        `forget_bias(value)`, `chrono(t_max)` or `uniform_gate(d)` of them.
      t_max: the longest time scale at the start, steps, above 2: short for bias=`jrnn.initializers.chrono(t_max)`, the
        cure for a lag that the gradient does not reach.
      refine: a gate more moves f towards 0 or 1, see `jrnn.cells.RefinedLSTM`. It has no kernel: the scan runs it.
      dtype: of the parameters; the state follows it (16-bit: gates in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, an initialiser or the dtype is unknown, t_max is 2 or below or stands
        beside a bias, or refine is no bool.
    """
    bias = chrono_or(bias, "unit_forget", t_max)
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    of = RefinedLSTM if check_flag("refine", refine) else LSTM
    return of(check_size("hidden", hidden), *inits, check_dtype(dtype))
