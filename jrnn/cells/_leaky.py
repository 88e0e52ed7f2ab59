"""Time constants learnt unit by unit, around any cell: h' = (1 - a) h + a F(h, x)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells._advance import state_shapes
from jrnn.cells._base import entry, static_cell
from jrnn.cells._recurrent_reads import Reads
from jrnn.cells._stack import Stack
from jrnn.cells._wrappers import Wrapper, check_wrapped
from jrnn.cells.initializers import check_t_max, log_time_scales
from jrnn.kernels import RECURRENCES
from jrnn.kernels.recurrences.leaky import mixed, shares
from jrnn.types import Array, InputError, Params, Shape, State


class LeakyWeights(NamedTuple):
    """What a kernel is given: `jrnn.kernels.Weights` of the cell within, and theta."""

    kind: str
    w_in: Array
    w_rec: Array
    bias: Array
    theta: Array


@static_cell
class Leaky(Wrapper):
    """See `leaky`."""

    cell: Any
    t_max: float

    initialisers = ("t_max",)

    def inner(self, params: Params) -> Params:
        return entry(params, "cell", "theta")

    def init(self, key: Array, input_size: int | None) -> dict[str, Any]:
        params = self.cell.init(key, input_size)
        like = one_shape(state_shapes(self.cell, params))
        # the cell's own parameters are those that it would have alone
        own = jax.random.fold_in(key, 1)
        dtype = jnp.finfo(like.dtype).dtype  # real, of complex numbers too
        return {"cell": params, "theta": -log_time_scales(own, like.shape, self.t_max, dtype)}

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        state = super().initial_state(params, batch_shape)
        need, given = one_shape(state).shape[len(batch_shape) :], jnp.shape(params["theta"])
        if need != given:
            raise InputError("params['theta']", f"shape {given}", f"{need}, one a unit")
        return state

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        after = super().step(params, state, x, noise, reads)
        return jax.tree.map(lambda h, new: leaked(params["theta"], h, new) if moves(h) else new, state, after)

    def kernel(self, params: Params) -> LeakyWeights | None:
        weights = self.inner_kernel(params)
        if weights is None or f"leaky_{weights.kind}" not in RECURRENCES:
            return None
        return LeakyWeights(f"leaky_{weights.kind}", *weights[1:4], params["theta"])

    @property
    def jacobian(self) -> Any:
        """The closed form, if the cell within has one; None otherwise."""
        return self.by_units if getattr(self.cell, "jacobian", None) else None

    def by_units(self, params: Params, state: State, x: Any) -> tuple[Array, Array]:
        """(diag(1 - a) + diag(a) J_F [*B, N, N], diag(a) dF/dx [*B, N, F]), the same a for every part of the state."""
        of_state, of_x = self.cell.jacobian(self.inner(params), state, x)
        theta = jnp.tile(params["theta"].reshape(-1), len(jax.tree.leaves(state)))
        keep, open_ = shares(theta, theta)
        held = jnp.diag(keep).astype(of_state.dtype)
        rows = open_.astype(of_state.dtype)[:, None]
        of_state, of_x = (jnp.broadcast_to(rows, j.shape) * j for j in (of_state, of_x))
        return of_state + jnp.broadcast_to(held, of_state.shape), of_x


def moves(leaf: Any) -> bool:
    """Whether it holds real or complex numbers: counters and flags do not leak."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def leaked(theta: Array, h: Array, new: Array) -> Array:
    """(1 - a) h + a new, a real; of complex numbers part by part."""
    if not jnp.iscomplexobj(h):
        return mixed(theta, h, new)
    return jax.lax.complex(mixed(theta, h.real, new.real), mixed(theta, h.imag, new.imag))


def one_shape(state: State) -> Any:
    """A leaf of the state, all of which have its shape; InputError where they do not."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if moves(leaf)]
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if len(set(shapes)) != 1:
        need = "a state whose parts have one shape, as unit i of each leaks alike"
        raise InputError("cell", f"a state of parts of shapes {shapes}", need)
    return leaves[0]


def leaky(cell: Any, t_max: float) -> Leaky:
    """Leaky units around any cell, with time constants that are learnt: h' = (1 - a) h + a F(h, x).

    F(h, x) is what the cell alone would make of h, a = sigmoid(theta) in (0, 1) a number for each unit; computed as
    sigmoid(-theta) h + sigmoid(theta) F, so that theta = inf is the cell itself. Its Jacobian is diag(1 - a) +
    diag(a) J_F: a unit holds what it has for about 1/a steps whatever F does. These are the leaky integrators of
    Jaeger et al. (2007, Neural Networks 20), CT-RNNs by one Euler step; the start is that of Tallec and Ollivier's
    chrono initialisation (2018), theta = -ln U[1, t_max - 1], time constants 1/a up to t_max steps.

    It helps where the loss needs a lag that the cell's gradient does not reach: on a bit to be kept for 200 steps a
    tanh network learns with t_max=200 within some 100 updates, and not at all without. It hurts where what is new must
    show at once (a unit follows its input with a delay of 1/a), and t_max far above the lag costs resolution. Weight
    decay on theta pulls a to 1/2 and forgets; in plain SGD theta moves slowly at a << 1, with Adam it does not.

    Parameters: {"cell": the cell's own, "theta" [H]}. All parts of a state (h and c of an LSTM) share theta; a counter
    of whole numbers does not leak. State, output and noise: the cell's own. A leaky Elman network runs in the kernels,
    other cells by the scan. In 16 bits a is computed in float32.

    Args:
      cell: a causal cell whose state has parts of one shape; around a stack, wrap each layer.
      t_max: the longest time constant at the start, steps, above 2: the lag that the task needs.
    Raises:
      InputError: t_max is 2 or below or not finite, the cell is a stack or not causal; `init`: the parts of its state
        have several shapes.
    """
    check_wrapped(cell, "leaky")
    within = cell
    while isinstance(within, Wrapper):
        within = within.cell
    if isinstance(within, Stack):
        need = "one layer: jrnn.stack(jrnn.leaky(one, t_max), jrnn.leaky(other, t_max)), so that each has its own theta"
        raise InputError("cell", "a stack", need)
    return Leaky(cell, check_t_max(t_max))
