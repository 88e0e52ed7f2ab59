"""The independently recurrent network (IndRNN): an Elman network with a diagonal recurrent matrix."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells._base import (
    HiddenOutput,
    add_bias,
    check_dtype,
    check_params,
    check_size,
    diagonal,
    diagonal_params,
    from_input,
    spread,
    static_cell,
    zeros_for,
)
from jrnn.cells.initializers import BIASES, WEIGHTS, check_t_max, named
from jrnn.kernels.recurrences.elman import ACTIVATIONS, SLOPES
from jrnn.types import Array, InputError, Params, Shape, wide_dtype


class IndRNNState(NamedTuple):
    """h [*B, H]."""

    h: Float[Array, "*B H"]


@static_cell
class IndRNN(HiddenOutput):
    """See `indrnn`."""

    hidden: int
    activation: str
    t_max: float | None
    w_in: Any
    bias: Any
    dtype: Any

    initialisers = ("w_in", "bias")

    @property
    def bound(self) -> float:
        """2^(1/t_max), the largest |u|; 1 without t_max."""
        return 1.0 if self.t_max is None else 2.0 ** (1 / self.t_max)

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        def draw(key: Array, dtype: Any) -> Array:
            return jax.random.uniform(key, (self.hidden,), wide_dtype(dtype), 0.0, self.bound).astype(dtype)

        return diagonal_params(key, input_size, self.hidden, self.dtype, self.w_in, draw, self.bias)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> IndRNNState:
        check_params(params, self.hidden, 1, w_rec=(self.hidden,))
        return IndRNNState(zeros_for(params, batch_shape, self.hidden))

    def reads(self, params: Params, state: IndRNNState, x: Any) -> tuple[Array, Array]:
        """(u, phi(u * h + x W + b)), both [*B, H]; |u| <= bound."""
        from_x = from_input(params, x, state.h)
        w = params["w_rec"].astype(from_x.dtype)
        held = jax.lax.stop_gradient(jnp.clip(w, -self.bound, self.bound))
        # its value is exactly that of `held`, its slope 1: a weight at or beyond the bound can come back
        u = add_bias(jnp.zeros_like(from_x), held + (w - jax.lax.stop_gradient(w)))
        return u, ACTIVATIONS[self.activation](from_x + u * state.h.astype(from_x.dtype))

    def step(self, params: Params, state: IndRNNState, x: Any) -> IndRNNState:
        return IndRNNState(self.reads(params, state, x)[1].astype(state.h.dtype))

    def jacobian(self, params: Params, state: IndRNNState, x: Any) -> tuple[Array, Array]:
        """(dh'/dh = diag(phi' u) [*B, H, H], dh'/dx = diag(phi') W^T [*B, H, F]) in closed form."""
        u, h = self.reads(params, state, x)
        slope = SLOPES[self.activation](h)
        return diagonal(slope * u), spread(slope, params["w_in"])


def indrnn(
    hidden: int,
    activation: str = "relu",
    *,
    t_max: float | None = None,
    w_in: Any = "lecun",
    bias: Any = "zeros",
    dtype: Any = None,
) -> IndRNN:
    """The independently recurrent network (Li, Li, Cook, Zhu, Gao 2018): h' = phi(u * h + x W + b), unit by unit.

    J_t = diag(phi' u) with |u| <= 2^(1/t_max): over t_max steps the size of a unit's gradient stays within [0, 2] by
    construction. u is clipped to the bound in every step: a weight beyond it acts as the bound, and gets the gradient
    that the bound has (straight through the clip), so that it can come back.

    Helps: long sequences in several layers (`jrnn.stack`, with `layer_norm` between): ReLU units with u near 1 keep
    what they hold. Hurts: one layer alone, whose units do not see each other; with ReLU and inputs that push upwards h
    grows with T, so scale or normalise them.
    Marked bit (64 units, B = 50, Adam .002, clip 1; single runs): two layers are below .1 after 450 updates at lag 50
    and on the plateau after 1,000 at lag 200; one layer stays there at lag 50, for a unit cannot select what it keeps.
    So does a tanh Elman network at lag 50 (5 seeds).

    Parameters: w_in (W) [F, H], w_rec (u) [H], bias [H]. State: `IndRNNState(h)`. Output: h.

    Args:
      hidden: H.
      activation: phi, "relu" | "tanh" | "identity".
      t_max: the longest lag, above 2; u is drawn from U(0, 2^(1/t_max)) and held within that size. None: within 1.
      w_in, bias: initialisers, by name or function (`jrnn.initializers`).
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, t_max is 2 or below, or activation, initialiser or dtype is unknown.
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise InputError("activation", repr(activation), f"one of {sorted(ACTIVATIONS)}")
    if t_max is not None:
        t_max = check_t_max(t_max)
    inits = named("w_in", w_in, WEIGHTS), named("bias", bias, BIASES)
    return IndRNN(check_size("hidden", hidden), activation, t_max, *inits, check_dtype(dtype))
