"""The undamped independent oscillators (UnICORNN): a Hamiltonian system, each unit on its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells._base import (
    HiddenOutput,
    add_bias,
    check_dtype,
    check_input_size,
    check_key,
    check_params,
    check_size,
    diagonal,
    from_input,
    quarters,
    spread,
    state_like,
    static_cell,
    zero_state,
)
from jrnn.cells._numbers import check_not_negative, check_positive
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells.initializers import BIASES, WEIGHTS, bias_blocks, named, uniform_draw, weight_blocks
from jrnn.types import Array, Params, Shape, wide_dtype


class UnICORNNState(NamedTuple):
    """h [*B, H], the positions (y in the paper), and z [*B, H], the velocities; N = 2H."""

    h: Float[Array, "*B H"]
    z: Float[Array, "*B H"]


@static_cell
class UnICORNN(HiddenOutput):
    """See `unicornn`."""

    hidden: int
    dt: float
    alpha: float
    w_in: Any
    bias: Any
    dtype: Any

    initialisers = ("w_in", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        check_key(key)
        k_in, k_rec, k_bias, k_rate = jax.random.split(key, 4)
        dtype = jnp.zeros((), self.dtype).dtype
        return {
            "w_in": weight_blocks(self.w_in, k_in, (check_input_size(input_size), self.hidden), 1, dtype),
            "w_rec": jax.random.uniform(k_rec, (self.hidden,), wide_dtype(dtype)).astype(dtype),
            "bias": bias_blocks(self.bias, k_bias, ("h",), self.hidden, dtype),
            "rate": uniform_draw(k_rate, (self.hidden,), 0.1, dtype),
        }

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> UnICORNNState:
        check_params(params, self.hidden, 1, w_rec=(self.hidden,), rate=(self.hidden,))
        return zero_state(UnICORNNState, params, batch_shape, self.hidden)

    def moves(
        self, params: Params, state: UnICORNNState, x: Any, reads: Reads | None = None
    ) -> tuple[Array, Array, Array]:
        """(dt sigmoid(rate), w_rec, tanh(w_rec * h + x V + b)), each [*B, H]."""
        pushed = from_input(params, x, state.h)
        zero = jnp.zeros_like(pushed)
        pace = self.dt * jax.nn.sigmoid(add_bias(zero, params["rate"]))
        weight = add_bias(zero, params["w_rec"])
        return pace, weight, jnp.tanh(pushed + weight * weights_read(state.h, reads).astype(pushed.dtype))

    def step(self, params: Params, state: UnICORNNState, x: Any, reads: Reads | None = None) -> UnICORNNState:
        pace, _, force = self.moves(params, state, x, reads)
        h, z = (part.astype(force.dtype) for part in state)
        z = z - pace * (force + self.alpha * h)
        h = h + pace * z
        return state_like(state, h, z)

    def jacobian(self, params: Params, state: UnICORNNState, x: Any) -> tuple[Array, Array]:
        """(d(h', z')/d(h, z) [*B, 2H, 2H], d(h', z')/dx [*B, 2H, F]) in closed form: with s = dt sigmoid(rate) and
        k = sech^2 w_rec + alpha, a unit's block is [[1 - s^2 k, s], [-s k, 1]], of determinant 1."""
        pace, weight, force = self.moves(params, state, x)
        slope = 1 - force * force
        pull, one = pace * (slope * weight + self.alpha), jnp.ones_like(force)
        J = quarters(diagonal(one - pace * pull), diagonal(pace), diagonal(-pull), diagonal(one))
        of_x = spread(-pace * slope, params["w_in"])
        return J, jnp.concatenate([pace[..., :, None] * of_x, of_x], axis=-2)


def unicornn(
    hidden: int,
    *,
    dt: float = 0.1,
    alpha: float = 1.0,
    w_in: Any = "lecun",
    bias: Any = "zeros",
    dtype: Any = None,
) -> UnICORNN:
    """Undamped independent oscillators (Rusch, Mishra 2021, "UnICORNN"): a symplectic step of a Hamiltonian system.

    z' = z - s * (tanh(w_rec * h + x V + b) + alpha h), h' = h + s * z', with s = dt sigmoid(rate), unit by unit.
    The 2 x 2 block of each unit has determinant 1 at every step: its two exponents sum to 0, nothing is forgotten, and
    the sequence can be run backwards. Where s^2 (w_rec + alpha) stays below 4 units turn; beyond, one direction grows.

    Helps: very long sequences, in two or three layers (`jrnn.stack`): the units of one layer do not see each other.
    Hurts: one layer alone, and what must be forgotten: old inputs keep ringing.
    Marked bit (64 units, B = 50, Adam .002, clip 1; single runs): two layers are below .1 after 150 updates, at lag 50
    and at lag 200; one layer is at .43 after 600 at lag 50. A tanh Elman network is not there after 1,000 (5 seeds).

    Parameters: w_in (V) [F, H], w_rec [H] (drawn from U(0, 1)), bias [H], rate [H] (U(-.1, .1)).
    State: `UnICORNNState(h, z)`. Output: h.

    Args:
      hidden: H.
      dt: the longest step, which rate halves at its start; alpha: the stiffness, at least 0. The authors tune both for
        each task: take dt for the period, 2 pi / (dt/2 sqrt(alpha + w_rec)) steps (about 100 by default).
      w_in, bias: initialisers, by name or function (`jrnn.initializers`).
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, dt no positive number, alpha negative, or an initialiser or the dtype
        is unknown.
    """
    dt = check_positive("dt", dt)
    alpha = check_not_negative("alpha", alpha)
    inits = named("w_in", w_in, WEIGHTS), named("bias", bias, BIASES)
    return UnICORNN(check_size("hidden", hidden), dt, alpha, *inits, check_dtype(dtype))
