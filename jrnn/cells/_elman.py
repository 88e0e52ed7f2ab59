"""The Elman network: h_t = phi(x_t W_in + h_{t-1} W_rec + b)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
from jrnn.cells._orthogonal import OrthogonalMap
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells.initializers import BIASES, WEIGHTS, named, uniform_draw
from jrnn.kernels import Weights
from jrnn.kernels.recurrences.dense import matmul
from jrnn.kernels.recurrences.elman import ACTIVATIONS, SLOPES
from jrnn.types import Array, InputError, Params, Shape

MODRELU = "modrelu"


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
    w_rec_map: OrthogonalMap | None = None

    gates = Gates("h")
    initialisers = ("w_in", "w_rec", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        params = gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)
        if self.w_rec_map is None and self.activation != MODRELU:
            return params
        k_rotation, k_offset = jax.random.split(jax.random.fold_in(key, 1))
        if self.w_rec_map is not None:
            params["rotation"] = self.w_rec_map.init(k_rotation, self.hidden, params.pop("w_rec").dtype)
        if self.activation == MODRELU:
            params["offset"] = uniform_draw(k_offset, (self.hidden,), 0.01, params["bias"].dtype)
        return params

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> ElmanState:
        further: dict[str, Any] = {"offset": (self.hidden,)} if self.activation == MODRELU else {}
        if self.unmade(params):
            further |= {"w_rec": None, "rotation": (self.hidden * (self.hidden - 1) // 2,)}
        check_params(params, self.hidden, 1, **further)
        return ElmanState(zeros_for(params, batch_shape, self.hidden))

    def unmade(self, params: Params) -> bool:
        """Whether W_rec is still to be made of the parameters."""
        return self.w_rec_map is not None and "w_rec" not in params

    def prepared(self, params: Params) -> Params:
        """The parameters with W_rec itself in place of the free ones that it is made of."""
        if self.w_rec_map is None or not self.unmade(params):
            return params
        others = {name: array for name, array in params.items() if name != "rotation"}
        return others | {"w_rec": self.w_rec_map.matrix(params["rotation"], self.hidden)}

    def step(self, params: Params, state: ElmanState, x: Any, reads: Reads | None = None) -> ElmanState:
        params = self.prepared(params)
        z = from_input(params, x, state.h) + matmul(weights_read(state.h, reads), params["w_rec"])
        return ElmanState(self.activated(params, z).astype(state.h.dtype))

    def activated(self, params: Params, z: Array) -> Array:
        return modrelu(z, params["offset"]) if self.activation == MODRELU else ACTIVATIONS[self.activation](z)

    @property
    def lacks_kernel(self) -> str | None:
        return "modReLU runs by the scan alone" if self.activation == MODRELU else None

    def kernel(self, params: Params) -> Weights | None:
        if self.activation == MODRELU:
            return None
        params = self.prepared(params)
        return Weights(self.activation, params["w_in"], params["w_rec"], params["bias"])

    def jacobian(self, params: Params, state: ElmanState, x: Any) -> tuple[Array, Array]:
        """(dh'/dh [*B, H, H], dh'/dx [*B, H, F]) in closed form: diag(phi'(z)) W^T; modReLU's slope is 0 or 1."""
        params = self.prepared(params)
        z = from_input(params, x, state.h) + matmul(state.h, params["w_rec"])
        h = self.activated(params, z)
        slope = (h != 0).astype(h.dtype) if self.activation == MODRELU else SLOPES[self.activation](h)
        return spread(slope, params["w_rec"]), spread(slope, params["w_in"])


def modrelu(z: Array, offset: Array) -> Array:
    """sign(z) relu(|z| + b), b [H]; NaN where z is."""
    b = jnp.broadcast_to(offset.astype(z.dtype), z.shape)
    return jnp.where(jnp.abs(z) + b <= 0, jnp.zeros_like(z), z + jnp.sign(z) * b)


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

    Parameters: w_in [F, H], w_rec [H, H], bias [H]; with an orthogonal map "rotation" [H (H - 1) / 2] for w_rec (which
    `jrnn.cells.prepared` makes of it); with modReLU "offset" [H]. State: `ElmanState(h)`, h [*B, H]. Output: h_t.

    Args:
      hidden: H.
      activation: phi, "tanh" | "relu" | "identity" | "modrelu": sign(z) relu(|z| + offset), the offsets learnt from
        U(-.01, .01) (Arjovsky, Shah, Bengio 2016): its slope is 1 wherever a unit is not shut. By the scan alone.
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`); the IRNN of Le et al. 2015 is
        `elman(H, "relu", w_rec="identity")`. With w_rec=`jrnn.orthogonal_map(...)` the recurrent matrix stays
        orthogonal while it is trained.
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, or activation, initialiser or dtype is unknown.
    """
    if not isinstance(activation, str) or activation not in (*ACTIVATIONS, MODRELU):
        raise InputError("activation", repr(activation), f"one of {sorted((*ACTIVATIONS, MODRELU))}")
    w_rec_map = w_rec if isinstance(w_rec, OrthogonalMap) else None
    w_rec = w_rec if w_rec_map is None else "zeros"
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    return Elman(check_size("hidden", hidden), activation, *inits, check_dtype(dtype), w_rec_map)
