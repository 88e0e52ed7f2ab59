"""The long expressive memory (LEM): two states that learn their own time steps."""

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
from jrnn.cells._gate_names import Gates
from jrnn.cells._numbers import check_positive, check_t_max_alone
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells.initializers import BIASES, WEIGHTS, check_t_max, named
from jrnn.kernels.recurrences.dense import matmul
from jrnn.types import Array, Params, Shape, wide_dtype


class LEMState(NamedTuple):
    """h [*B, H] (y in the paper) and z [*B, H]; N = 2H."""

    h: Float[Array, "*B H"]
    z: Float[Array, "*B H"]


class Moves(NamedTuple):
    """What a step is made of, each [*B, H]: the paces a and c, the two targets, the new z."""

    a: Array
    c: Array
    to_z: Array
    to_h: Array
    z: Array


@static_cell
class LEM(HiddenOutput):
    """See `lem`."""

    hidden: int
    dt: float
    t_max: float | None
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    gates = Gates("a", "c", "z", "h", candidate="h")
    initialisers = ("t_max", "w_in", "w_rec", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        params = gated_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.w_rec, self.bias)
        if self.t_max is None:
            return params
        shape, dtype = (2 * self.hidden,), params["bias"].dtype
        times = jax.random.uniform(jax.random.fold_in(key, 1), shape, wide_dtype(dtype), 1.0, self.t_max - 1.0)
        return params | {"bias": params["bias"].at[: 2 * self.hidden].set(-jnp.log(times).astype(dtype))}

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> LEMState:
        check_params(params, self.hidden, 4)
        return zero_state(LEMState, params, batch_shape, self.hidden)

    def moves(self, params: Params, state: LEMState, x: Any, reads: Reads | None = None) -> Moves:
        """The parts of a step, in the accumulation dtype."""
        split = 3 * self.hidden
        w_rec, from_x = params["w_rec"], from_input(params, x, state.h)
        from_h = matmul(weights_read(state.h, reads), w_rec[:, :split])
        a, c, to_z = jnp.split(from_x[..., :split] + from_h, 3, axis=-1)
        a, c, to_z = self.dt * jax.nn.sigmoid(a), self.dt * jax.nn.sigmoid(c), jnp.tanh(to_z)
        z = (1 - a) * state.z.astype(a.dtype) + a * to_z
        to_h = jnp.tanh(from_x[..., split:] + matmul(z.astype(w_rec.dtype), w_rec[:, split:]))
        return Moves(a, c, to_z, to_h, z)

    def step(self, params: Params, state: LEMState, x: Any, reads: Reads | None = None) -> LEMState:
        _, c, _, to_h, z = self.moves(params, state, x, reads)
        h = (1 - c) * state.h.astype(c.dtype) + c * to_h
        return state_like(state, h, z)

    def jacobian(self, params: Params, state: LEMState, x: Any) -> tuple[Array, Array]:
        """(d(h', z')/d(h, z) [*B, 2H, 2H], d(h', z')/dx [*B, 2H, F]) in closed form.

        dz' has diag(1 - a) for z, (to_z - z) a (1 - a / dt) at gate a and a (1 - to_z^2) at z's target; dh' has
        diag(1 - c) for h, (to_h - h) c (1 - c / dt) at gate c, and c (1 - to_h^2) U_h^T dz' for all that z' reads.
        """
        a, c, to_z, to_h, _ = self.moves(params, state, x)
        at_a = (to_z - state.z.astype(a.dtype)) * a * (1 - a / self.dt)
        at_c = (to_h - state.h.astype(a.dtype)) * c * (1 - c / self.dt)
        at_z, at_h = a * (1 - to_z * to_z), c * (1 - to_h * to_h)
        u_a, u_c, u_z, u_h = jnp.split(params["w_rec"], 4, axis=1)
        v_a, v_c, v_z, v_h = jnp.split(params["w_in"], 4, axis=1)
        through_z = spread(at_h, u_h)  # dh'/dz' [*B, H, H]
        z_h, z_z, z_x = spread(at_a, u_a) + spread(at_z, u_z), diagonal(1 - a), spread(at_a, v_a) + spread(at_z, v_z)
        h_h = diagonal(1 - c) + spread(at_c, u_c) + through_z @ z_h
        h_x = spread(at_c, v_c) + spread(at_h, v_h) + through_z @ z_x
        return quarters(h_h, through_z @ z_z, z_h, z_z), jnp.concatenate([h_x, z_x], axis=-2)


def lem(
    hidden: int,
    *,
    dt: float = 1.0,
    t_max: float | None = None,
    w_in: Any = "pytorch",
    w_rec: Any = "pytorch",
    bias: Any = "pytorch",
    dtype: Any = None,
) -> LEM:
    """The long expressive memory (Rusch, Mishra, Erichson, Mahoney 2022): a time step of its own for each unit.

    a = dt sigmoid(x V_a + h U_a + b_a), c = dt sigmoid(x V_c + h U_c + b_c),
    z' = (1 - a) z + a tanh(x V_z + h U_z + b_z), h' = (1 - c) h + c tanh(x V_h + z' U_h + b_h).
    Blocks in the order a, c, z, h. Without U, and where gates a and c are at 0, all 2H exponents are ln(1 - dt/2): dt
    is the inverse of the longest memory at the start.

    Helps: long sequences with several time scales: the authors' adding problem of T = 2,000 is `lem(128, dt=.0242)`
    (with Adam .0026, B = 50, on `jrnn.data.adding(1000)`): the held-out loss, 1/6 for the best constant, is below .01
    after 2,600 updates in one run here and after 1,900 in theirs. Costs as much as an LSTM, with two products in a row.
    Hurts: dt = 1 at a long lag, where half of the state goes in each step; a small dt where answers must be quick.
    Marked bit, lag 200 (64 units, B = 50, Adam .002, clip 1; single runs): below .1 after 250 updates with dt = .02,
    after 200 with t_max = 200; with dt = 1 not at lag 50 either. A tanh Elman network is not after 1,000 (5 seeds).

    Parameters: w_in (V) [F, 4H], w_rec (U) [H, 4H], bias [4H] (the sum of the authors' two).
    State: `LEMState(h, z)`. Output: h.

    Args:
      hidden: H.
      dt: the longest time step, above 0; at most 1 keeps the states within [-1, 1].
      t_max: where given, the biases of the gates a and c start at -ln U[1, t_max - 1], so that the time scales of the
        units are 2/dt to t_max/dt steps (Tallec, Ollivier 2018, for LSTMs); above 2. With dt = 1 it is the longest lag.
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`); by default the authors', all weights
        and both biases from U(-1/sqrt(H), 1/sqrt(H)).
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, dt no positive number, t_max is 2 or below or stands beside a bias,
        or an initialiser or the dtype is unknown.
    """
    dt = check_positive("dt", dt)
    if t_max is not None:
        t_max = check_t_max(t_max)
        check_t_max_alone(t_max, "bias", bias, "pytorch", "t_max draws the biases of the gates a and c")
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    return LEM(check_size("hidden", hidden), dt, t_max, *inits, check_dtype(dtype))
