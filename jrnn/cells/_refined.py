"""The LSTM and the two GRUs with a gate that refines the gate that keeps."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells._base import (
    HiddenOutput,
    check_params,
    from_input,
    gated_params,
    state_like,
    static_cell,
    zero_state,
    zeros_for,
)
from jrnn.cells._gate_names import Gates
from jrnn.cells._gated_states import GRUState, LSTMState
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells.initializers import bias_blocks
from jrnn.kernels.recurrences.dense import add_bias, matmul
from jrnn.types import Array, Params, Shape

A = TypeVar("A", Array, np.ndarray)
NO_KERNEL = "a refined gate runs by the scan alone"


def refined(gate: A, refine: A) -> A:
    """2 r g + (1 - 2 r) g^2 of a gate g and what refines it, r: from g^2 at r = 0 to 1 - (1 - g)^2 at r = 1."""
    return gate * (gate + 2 * refine * (1 - gate))


@static_cell
class RefinedLSTM(HiddenOutput):
    """`jrnn.lstm(..., refine=True)`: f' = 2 r f + (1 - 2 r) f^2 in place of f (Gu et al. 2020, arXiv:1910.09890).

    r = sigmoid(x W_r + h U_r + b_r) is a gate of its own, the fifth block of the parameters: i, f, g, o, refine. A
    sigmoid that is nearly 1 has hardly a slope; r moves f = .9 anywhere from .81 to .99 while f stays where it can
    learn, so that time scales beyond those at the start are reached. It costs a quarter more. The paper ties the input
    gate to 1 - f'; here i is a gate of its own, as in the LSTM.
    """

    hidden: int
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    gates = Gates("i", "f", "g", "o", "refine", keeps="f", admits="i", candidate="g")
    initialisers = ("w_in", "w_rec", "bias")
    lacks_kernel = NO_KERNEL

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        return gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> LSTMState:
        check_params(params, self.hidden, 5)
        return zero_state(LSTMState, params, batch_shape, self.hidden)

    def step(self, params: Params, state: LSTMState, x: Any, reads: Reads | None = None) -> LSTMState:
        z = from_input(params, x, state.h) + matmul(weights_read(state.h, reads), params["w_rec"])
        i, f, g, o, r = jnp.split(z, 5, axis=-1)
        keep = refined(jax.nn.sigmoid(f), jax.nn.sigmoid(r))
        c = keep * state.c.astype(z.dtype) + jax.nn.sigmoid(i) * jnp.tanh(g)
        return state_like(state, jax.nn.sigmoid(o) * jnp.tanh(c), c)


@static_cell
class RefinedGRU(HiddenOutput):
    """`jrnn.gru(..., refine=True)`: z' = 2 q z + (1 - 2 q) z^2 in place of z, q a gate of its own; see `RefinedLSTM`.

    Blocks in the order r, z, refine, n.
    """

    hidden: int
    reset_after: bool
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    gates = Gates("r", "z", "refine", "n", keeps="z", candidate="n")
    initialisers = ("w_in", "w_rec", "bias")
    lacks_kernel = NO_KERNEL

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        params = gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)
        if self.reset_after:
            own = jax.random.fold_in(key, 1)
            params["bias_rec"] = bias_blocks(self.bias, own, ("n",), self.hidden, params["bias"].dtype)
        return params

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> GRUState:
        check_params(params, self.hidden, 4, **({"bias_rec": (self.hidden,)} if self.reset_after else {}))
        return GRUState(zeros_for(params, batch_shape, self.hidden))

    def step(self, params: Params, state: GRUState, x: Any, reads: Reads | None = None) -> GRUState:
        from_x, split, w_rec = from_input(params, x, state.h), 3 * self.hidden, params["w_rec"]
        read = weights_read(state.h, reads)
        gates = jax.nn.sigmoid(from_x[..., :split] + matmul(read, w_rec[:, :split]))
        r, z, q = jnp.split(gates, 3, axis=-1)
        h = state.h.astype(r.dtype)
        if self.reset_after:
            inner = r * add_bias(matmul(read, w_rec[:, split:]), params["bias_rec"])
        else:
            inner = matmul((r * read.astype(r.dtype)).astype(state.h.dtype), w_rec[:, split:])
        keep = refined(z, q)
        return GRUState(((1 - keep) * jnp.tanh(from_x[..., split:] + inner) + keep * h).astype(state.h.dtype))
