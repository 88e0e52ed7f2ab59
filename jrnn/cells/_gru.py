"""The two GRUs, gates in PyTorch's order r, z, n."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._base import (
    HiddenOutput,
    check_dtype,
    check_flag,
    check_key,
    check_params,
    check_size,
    diagonal,
    from_input,
    gated_params,
    spread,
    static_cell,
    zeros_for,
)
from jrnn.cells._draws import split_keys
from jrnn.cells._gate_names import Gates
from jrnn.cells._gated_states import GRUState
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells._refined import RefinedGRU
from jrnn.cells.initializers import BIASES, WEIGHTS, bias_blocks, chrono_or, named
from jrnn.kernels import Weights
from jrnn.kernels.recurrences.dense import add_bias, matmul
from jrnn.kernels.recurrences.gru import advance, slopes
from jrnn.types import Array, Params, Shape


@static_cell
class GRU(HiddenOutput):
    """See `gru`."""

    hidden: int
    reset_after: bool
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    gates = Gates("r", "z", "n", keeps="z", candidate="n")
    initialisers = ("w_in", "w_rec", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        check_key(key)
        key, k_rec = split_keys(key, 2)
        params = gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)
        if self.reset_after:
            params["bias_rec"] = bias_blocks(self.bias, k_rec, ("n",), self.hidden, params["bias"].dtype)
        return params

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> GRUState:
        check_params(params, self.hidden, 3, **({"bias_rec": (self.hidden,)} if self.reset_after else {}))
        return GRUState(zeros_for(params, batch_shape, self.hidden))

    def step(self, params: Params, state: GRUState, x: Any, reads: Reads | None = None) -> GRUState:
        from_x, read = from_input(params, x, state.h), weights_read(state.h, reads)
        return GRUState(advance(from_x, state.h, params["w_rec"], self.bias_rec(params), read))

    def kernel(self, params: Params) -> Weights:
        kind = "gru" if self.reset_after else "gru_reset_before"
        return Weights(kind, params["w_in"], params["w_rec"], params["bias"], self.bias_rec(params))

    def bias_rec(self, params: Params) -> Array | None:
        return params["bias_rec"] if self.reset_after else None

    def jacobian(self, params: Params, state: GRUState, x: Any) -> tuple[Array, Array]:
        """(dh'/dh [*B, H, H], dh'/dx [*B, H, F]) in closed form.

        dh' = diag(z) dh + (h - n) z (1-z) dz_z + (1-z) (1-n^2) dz_n; with the reset after the matmul and m = h U_n +
        bias_rec, dz_n = dx W_n + r dh U_n + m r (1-r) dz_r; before it, dz_n = dx W_n + (r dh + h r (1-r) dz_r) U_n.
        """
        wide = from_input(params, x, state.h)
        h, hidden = state.h.astype(wide.dtype), self.hidden
        rec_r, rec_z, rec_n = jnp.split(params["w_rec"], 3, axis=1)
        in_r, in_z, in_n = jnp.split(params["w_in"], 3, axis=1)
        from_h = matmul(state.h, params["w_rec"][:, : 2 * hidden])
        r, z = jnp.split(jax.nn.sigmoid(wide[..., : 2 * hidden] + from_h), 2, axis=-1)
        if self.reset_after:
            inner = add_bias(matmul(state.h, rec_n), params["bias_rec"])
            n = jnp.tanh(wide[..., 2 * hidden :] + r * inner)
            a_r, a_z, a_n = slopes(r, z, n, h, inner)
            of_h = spread(r, rec_n) + spread(a_r, rec_r)
            of_x = spread(jnp.ones_like(r), in_n) + spread(a_r, in_r)
        else:
            n = jnp.tanh(wide[..., 2 * hidden :] + matmul((r * h).astype(state.h.dtype), rec_n))
            a_r, a_z, a_n = slopes(r, z, n, h, h)
            back = spread(jnp.ones_like(r), rec_n)
            of_h = jnp.matmul(back, diagonal(r) + spread(a_r, rec_r))
            of_x = spread(jnp.ones_like(r), in_n) + jnp.matmul(back, spread(a_r, in_r))
        open_ = a_n[..., :, None]
        return diagonal(z) + spread(a_z, rec_z) + open_ * of_h, spread(a_z, in_z) + open_ * of_x


def gru(
    hidden: int,
    reset_after: bool = True,
    *,
    w_in: Any = "glorot",
    w_rec: Any = "orthogonal",
    bias: Any = "zeros",
    t_max: float | None = None,
    refine: bool = False,
    dtype: Any = None,
) -> GRU | RefinedGRU:
    """The gated recurrent unit (Cho et al. 2014), in its two variants; z keeps: h' = (1 - z) n + z h.

    r, z = sigmoid(x W + h U + b);
    reset_after=True (cuDNN, PyTorch, Flax): n = tanh(x W_n + b_n + r (h U_n + bias_rec));
    reset_after=False (the paper): n = tanh(x W_n + b_n + (r h) U_n). Blocks in the order r, z, n.

    Parameters: w_in [F, 3H], w_rec [H, 3H], bias [3H] (PyTorch's two summed, but for n: b_in alone), and with
    reset_after bias_rec [H] (PyTorch's b_hn). State: `GRUState(h)`. Output: h_t.

    Args:
      hidden: H.
      reset_after: which GRU.
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`).
      t_max: the longest time scale at the start, steps, above 2: short for bias=`jrnn.initializers.chrono(t_max)`, the
        cure for a lag that the gradient does not reach.
      refine: a gate more moves z towards 0 or 1, see `jrnn.cells.RefinedGRU`. It has no kernel: the scan runs it.
      dtype: of the parameters; the state follows it (16-bit: gates in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, reset_after or refine no bool, an initialiser or the dtype is unknown,
        or t_max is 2 or below or stands beside a bias.
    """
    after = check_flag("reset_after", reset_after, "True or False (the input size is told to `init`)")
    bias = chrono_or(bias, "zeros", t_max)
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    of = RefinedGRU if check_flag("refine", refine) else GRU
    return of(check_size("hidden", hidden), after, *inits, check_dtype(dtype))
