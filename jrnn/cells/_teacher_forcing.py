"""Teacher forcing: part of the state is drawn to what was observed before the step reads it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jrnn.cells._base import check_size, static_cell
from jrnn.cells._recurrent_reads import Reads
from jrnn.cells._wrappers import Wrapper, check_wrapped, one_hidden_part
from jrnn.types import Array, InputError, Params, State, hidden_part, with_hidden


@static_cell
class TeacherForced(Wrapper):
    """See `teacher_forced`."""

    cell: Any
    observed: int

    @property
    def input_ndim(self) -> int:
        return 1

    @property
    def reads_previous(self) -> bool:
        return False

    def init(self, key: Array, input_size: int | None) -> Params:
        least = self.observed + 1
        if input_size is None or input_size < least:
            raise InputError("input_size", input_size, f"{least} or more: {self.observed} observed and their alpha")
        return self.cell.init(key, input_size - least or None)

    def forced(self, state: State, x: Array) -> State:
        """h_{t-1} as the step reads it."""
        h = one_hidden_part("cell", type(self.cell).__name__, state)
        if h.shape[-1] < self.observed or jnp.shape(x)[-1] <= self.observed:
            given = f"{self.observed} for {h.shape[-1]} units and inputs of shape {jnp.shape(x)} a step"
            raise InputError("observed", given, "at most as many as units, and inputs from `jrnn.cures.forcing`")
        seen, alpha = x[..., : self.observed].astype(h.dtype), x[..., self.observed, None].astype(h.dtype)
        alpha = jnp.broadcast_to(alpha, seen.shape)
        first = jnp.where(alpha == 1, seen, (1 - alpha) * h[..., : self.observed] + alpha * seen)  # 0 * inf is NaN
        return with_hidden(state, jnp.concatenate([first, h[..., self.observed :]], axis=-1))

    def rest(self, x: Array) -> Array | None:
        """The cell's own inputs."""
        return x[..., self.observed + 1 :] if jnp.shape(x)[-1] > self.observed + 1 else None

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        return super().step(params, self.forced(state, x), self.rest(x), noise, reads)

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Array:
        return hidden_part(state)[..., : self.observed]


def teacher_forced(cell: Any, observed: int) -> TeacherForced:
    """Draws the first `observed` hidden units to an observed series before every step, for forecasting.

    The step reads (1 - alpha_t) h_{t-1} + alpha_t u_{t-1} in those units, u the observed series; the output y_t is
    those units of h_t, the forecast of u_t. J_t is multiplied by 1 - alpha_t there: alpha = 1 at every n-th step cuts
    what explodes (sparse teacher forcing; Mikhaeil, Monfared, Durstewitz 2022), a small alpha at every step bounds it
    (generalised teacher forcing; Hess et al. 2023). `jrnn.cures.forcing` makes the inputs of either kind, and
    `jrnn.cures.measured_alpha` the alpha that holds the product of Jacobians at 1.

    Helps on chaotic series, where gradients through free running explode whatever the network is (any that forecasts
    well has a positive exponent). Hurts where the network has to remember more than the forced units show. Lorenz
    system, dt .02 (tanh Elman of 32 units, 200 steps, 800 updates of Adam at the better of .002 and .006, clip 1, 3
    seeds), mean squared error of the first 25 steps of free running after a warm-up: trained with every=1 .06 to .15,
    with `measured_alpha` (geometric, anew every 40 updates) .18 to .26, with alpha=.1 .09 to .46, with every=38 (ln 2 /
    lambda_1) .38 to .89; trained free running .59 to .87. A network trained with alpha below 1 must be warmed up with
    it, too.

    Args:
      cell: a causal cell with one hidden state. Without inputs of its own it is autonomous; else they come after alpha.
      observed: M, how many units are observed, at most H.
    Returns:
      A cell with the same parameters and states; its inputs are [*B, M + 1 + F]: u_{t-1}, alpha_t, the cell's own F.
    Raises:
      InputError: the cell is not causal, observed is no positive integer, or (when it runs) above H.
    """
    check_wrapped(cell, "teacher_forced")
    return TeacherForced(cell, check_size("observed", observed))
