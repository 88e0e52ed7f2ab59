"""The two GRUs, gates in PyTorch's order r, z, n."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jrnn.cells._base import (
    HiddenOutput,
    check_dtype,
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
from jrnn.cells._gate_names import Gates
from jrnn.cells.initializers import BIASES, WEIGHTS, bias_blocks, named
from jrnn.kernels import Weights
from jrnn.kernels.recurrences.dense import add_bias, matmul
from jrnn.kernels.recurrences.gru import advance, slopes
from jrnn.types import Array, InputError, Params, Shape


class GRUState(NamedTuple):
    """h [*B, H]."""

    h: Float[Array, "*B H"]


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
        key, k_rec = jax.random.split(key)
        params = gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)
        if self.reset_after:
            params["bias_rec"] = bias_blocks(self.bias, k_rec, ("n",), self.hidden, params["bias"].dtype)
        return params

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> GRUState:
        check_params(params, self.hidden, 3, **({"bias_rec": (self.hidden,)} if self.reset_after else {}))
        return GRUState(zeros_for(params, batch_shape, self.hidden))

    def step(self, params: Params, state: GRUState, x: Any) -> GRUState:
        from_x = from_input(params, x, state.h)
        return GRUState(advance(from_x, state.h, params["w_rec"], self.bias_rec(params)))

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
    dtype: Any = None,
) -> GRU:
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
      dtype: of the parameters; the state follows it (16-bit: gates in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, reset_after no bool, or an initialiser or the dtype is unknown.
    """
    if not isinstance(reset_after, bool | np.bool_):
        raise InputError("reset_after", repr(reset_after), "True or False (the input size is told to `init`)")
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    return GRU(check_size("hidden", hidden), bool(reset_after), *inits, check_dtype(dtype))
