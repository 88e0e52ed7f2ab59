"""The Elman network: h_t = phi(x_t W_in + h_{t-1} W_rec + b)."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Float

from jrnn.cells._base import (
    HiddenOutput,
    check_dtype,
    check_params,
    check_size,
    from_input,
    gated_params,
    spread,
    static_cell,
    zeros_for,
)
from jrnn.cells._gate_names import Gates
from jrnn.cells.initializers import BIASES, WEIGHTS, named
from jrnn.kernels import Weights
from jrnn.kernels.recurrences.dense import matmul
from jrnn.kernels.recurrences.elman import ACTIVATIONS, SLOPES, advance
from jrnn.types import Array, InputError, Params, Shape


class ElmanState(NamedTuple):
    """h [*B, H]."""

    h: Float[Array, "*B H"]


@static_cell
class Elman(HiddenOutput):
    """See `elman`."""

    hidden: int
    activation: str
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    gates = Gates("h")
    initialisers = ("w_in", "w_rec", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        return gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> ElmanState:
        check_params(params, self.hidden, 1)
        return ElmanState(zeros_for(params, batch_shape, self.hidden))

    def step(self, params: Params, state: ElmanState, x: Any) -> ElmanState:
        return ElmanState(advance(self.activation, from_input(params, x, state.h), state.h, params["w_rec"]))

    def kernel(self, params: Params) -> Weights:
        return Weights(self.activation, params["w_in"], params["w_rec"], params["bias"])

    def jacobian(self, params: Params, state: ElmanState, x: Any) -> tuple[Array, Array]:
        """(dh'/dh [*B, H, H], dh'/dx [*B, H, F]) in closed form: diag(phi'(z)) W^T."""
        z = from_input(params, x, state.h) + matmul(state.h, params["w_rec"])
        slope = SLOPES[self.activation](ACTIVATIONS[self.activation](z))
        return spread(slope, params["w_rec"]), spread(slope, params["w_in"])


def elman(
    hidden: int,
    activation: str = "tanh",
    *,
    w_in: Any = "lecun",
    w_rec: Any = "orthogonal",
    bias: Any = "zeros",
    dtype: Any = None,
) -> Elman:
    """The Elman (simple) recurrent cell, h_t = phi(x_t W_in + h_{t-1} W_rec + b) (Elman 1990).

    Parameters: w_in [F, H], w_rec [H, H], bias [H]. State: `ElmanState(h)`, h [*B, H]. Output: h_t.

    Args:
      hidden: H.
      activation: phi, "tanh" | "relu" | "identity".
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`); the IRNN of Le et al. 2015 is
        `elman(H, "relu", w_rec="identity")`.
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, or activation, initialiser or dtype is unknown.
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise InputError("activation", repr(activation), f"one of {sorted(ACTIVATIONS)}")
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    return Elman(check_size("hidden", hidden), activation, *inits, check_dtype(dtype))
