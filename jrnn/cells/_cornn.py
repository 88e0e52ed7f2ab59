"""The coupled oscillatory network (coRNN): positions and velocities of driven, damped oscillators."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells._base import (
    HiddenOutput,
    check_dtype,
    check_params,
    check_size,
    diagonal,
    from_input,
    gated_params,
    quarters,
    spread,
    state_like,
    static_cell,
    zero_state,
)
from jrnn.cells._numbers import check_not_negative, check_positive
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells.initializers import BIASES, WEIGHTS, named, weight_blocks
from jrnn.kernels.recurrences.dense import matmul
from jrnn.types import Array, Params, Shape


class CoRNNState(NamedTuple):
    """h [*B, H], the positions (y in the paper), and z [*B, H], the velocities; N = 2H."""

    h: Float[Array, "*B H"]
    z: Float[Array, "*B H"]


@static_cell
class CoRNN(HiddenOutput):
    """See `cornn`."""

    hidden: int
    dt: float
    gamma: float
    epsilon: float
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    initialisers = ("w_in", "w_rec", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        params = gated_params(key, input_size, self.hidden, ("h",), self.dtype, self.w_in, self.w_rec, self.bias)
        shape, dtype = (self.hidden, self.hidden), params["w_rec"].dtype
        return params | {"w_vel": weight_blocks(self.w_rec, jax.random.fold_in(key, 1), shape, 1, dtype)}

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> CoRNNState:
        check_params(params, self.hidden, 1, w_vel=(self.hidden, self.hidden))
        return zero_state(CoRNNState, params, batch_shape, self.hidden)

    def force(self, params: Params, state: CoRNNState, x: Any, reads: Reads | None = None) -> Array:
        """tanh(x V + h W_h + z W_z + b) [*B, H]."""
        from_state = matmul(weights_read(state.h, reads), params["w_rec"]) + matmul(state.z, params["w_vel"])
        return jnp.tanh(from_input(params, x, state.h) + from_state)

    def step(self, params: Params, state: CoRNNState, x: Any, reads: Reads | None = None) -> CoRNNState:
        force = self.force(params, state, x, reads)
        h, z = (part.astype(force.dtype) for part in state)
        z = z + self.dt * (force - self.gamma * h - self.epsilon * z)
        h = h + self.dt * z
        return state_like(state, h, z)

    def jacobian(self, params: Params, state: CoRNNState, x: Any) -> tuple[Array, Array]:
        """(d(h', z')/d(h, z) [*B, 2H, 2H], d(h', z')/dx [*B, 2H, F]) in closed form.

        With D = diag(sech^2): dz'/dh = dt (D W_h^T - gamma I), dz'/dz = (1 - epsilon dt) I + dt D W_z^T, and h' has
        dt times these, and I for h.
        """
        force = self.force(params, state, x)
        slope, one = self.dt * (1 - force * force), jnp.ones_like(force)
        of_h = spread(slope, params["w_rec"]) - self.dt * self.gamma * diagonal(one)
        of_z = spread(slope, params["w_vel"]) + (1 - self.epsilon * self.dt) * diagonal(one)
        of_x = spread(slope, params["w_in"])
        J = quarters(diagonal(one) + self.dt * of_h, self.dt * of_z, of_h, of_z)
        return J, jnp.concatenate([self.dt * of_x, of_x], axis=-2)


def cornn(
    hidden: int,
    *,
    dt: float = 0.042,
    gamma: float = 2.7,
    epsilon: float = 4.7,
    w_in: Any = "pytorch",
    w_rec: Any = "pytorch",
    bias: Any = "zeros",
    dtype: Any = None,
) -> CoRNN:
    """The coupled oscillatory network (Rusch, Mishra 2021), of y'' = tanh(..) - gamma y - epsilon y'.

    z' = z + dt (tanh(x V + h W_h + z W_z + b) - gamma h - epsilon z), h' = h + dt z'.
    det J_t = det((1 - epsilon dt) I + dt diag(sech^2) W_z^T) at every step: without W_z the exponents of a unit's pair
    sum to ln(1 - epsilon dt).

    Helps: long inputs that change slowly, such as images pixel by pixel; no gate, so states stay smooth and gradients
    are bounded for small dt. Hurts: what must be kept or dropped at one step's notice, as in copying; dt, gamma and
    epsilon are held and must fit the time scale of the data: without weights the defaults halve a state in 25 steps.
    Marked bit (64 units, B = 50, Adam .002, clip 1; single runs): below .1 after 500 updates at lag 50, 900 at lag 200;
    a tanh Elman network is not after 1,000 at either lag (5 seeds).

    Parameters: w_in (V) [F, H], w_rec (W_h) [H, H], w_vel (W_z) [H, H], bias [H]. State: `CoRNNState(h, z)`. Output: h.

    Args:
      hidden: H.
      dt: the length of a step; gamma: the stiffness, at least 0; epsilon: the damping, at least 0. The defaults are the
        authors' for images of digits read pixel by pixel.
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`); w_vel is drawn as w_rec is.
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, dt no positive number, gamma or epsilon negative, or an initialiser or
        the dtype is unknown.
    """
    dt = check_positive("dt", dt)
    gamma = check_not_negative("gamma", gamma)
    epsilon = check_not_negative("epsilon", epsilon)
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    return CoRNN(check_size("hidden", hidden), dt, gamma, epsilon, *inits, check_dtype(dtype))
