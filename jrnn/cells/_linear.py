"""The diagonal linear recurrence: h_t = w_rec * h_{t-1} + x_t W_in + b."""

import math
from collections.abc import Iterable
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
from jrnn.cells._gated import decay_for
from jrnn.cells._numbers import check_number
from jrnn.cells.initializers import BIASES, WEIGHTS, drawn, named
from jrnn.kernels import Weights
from jrnn.kernels.recurrences.linear import advance
from jrnn.types import Array, InputError, Params, Shape, wide_dtype

RANGE = (0.9, 0.999)


class LinearState(NamedTuple):
    """h [*B, H]."""

    h: Float[Array, "*B H"]


@static_cell
class Linear(HiddenOutput):
    """See `linear`."""

    hidden: int
    decay: Any
    w_in: Any
    bias: Any
    dtype: Any

    initialisers = ("decay", "w_in", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        return diagonal_params(key, input_size, self.hidden, self.dtype, self.w_in, self.draw, self.bias)

    def draw(self, key: Array, dtype: Any) -> Array:
        """w_rec [H]."""
        if isinstance(self.decay, tuple):
            return jax.random.uniform(key, (self.hidden,), wide_dtype(dtype), *self.decay).astype(dtype)
        return drawn(self.decay, key, (self.hidden,), dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> LinearState:
        check_params(params, self.hidden, 1, w_rec=(self.hidden,))
        return LinearState(zeros_for(params, batch_shape, self.hidden))

    def step(self, params: Params, state: LinearState, x: Any) -> LinearState:
        return LinearState(advance(from_input(params, x, state.h), state.h, params["w_rec"]))

    def kernel(self, params: Params) -> Weights:
        return Weights("linear", params["w_in"], params["w_rec"], params["bias"])

    def factors(self, params: Params, state: LinearState, x: Any) -> Array:
        """w_rec [*B, H]."""
        return add_bias(jnp.zeros(state.h.shape, wide_dtype(state.h.dtype)), params["w_rec"])

    def jacobian(self, params: Params, state: LinearState, x: Any) -> tuple[Array, Array]:
        """(dh'/dh = diag(w_rec) [*B, H, H], dh'/dx = W_in^T [*B, H, F])."""
        a = self.factors(params, state, x)
        return diagonal(a), spread(jnp.ones_like(a), params["w_in"])


def linear(
    hidden: int,
    *,
    decay: tuple[float, float] | None = None,
    t_max: float | None = None,
    w_in: Any = "lecun",
    bias: Any = "zeros",
    dtype: Any = None,
) -> Linear:
    """The diagonal linear recurrence, h_t = w_rec * h_{t-1} + x_t W_in + b (elementwise product).

    J_t = diag(w_rec) at every step: unit i's gradient decays by w_rec[i] a step, half of it is left after
    ln(1/2) / ln|w_rec[i]| steps. It is for what is known in closed form, and loses where a task is to be learnt: on the
    two-lag coin of lag 20 it ends at .65 to .77 after 1,000 updates (5 seeds, three rates), as if it knew neither lag,
    where an Elman network is at .47.

    Parameters: w_in [F, H], w_rec [H] (the diagonal), bias [H]. State: `LinearState(h)`. Output: h_t.

    Args:
      hidden: H.
      decay: the range from which w_rec is drawn uniformly, by default (.9, .999).
      t_max: the longest time constant, in steps, in the place of `decay`: w_rec = u / (1 + u), u ~ U[1, t_max - 1], so
        that 1 / (1 - w_rec) = 1 + u.
      w_in, bias: initialisers, by name or function (`jrnn.initializers`).
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, decay no ordered pair, t_max not above 2 or beside a decay, or an
        initialiser or the dtype is unknown.
    """
    drawing = check_range(RANGE if decay is None else decay) if t_max is None else decay_for(t_max, decay)
    inits = named("w_in", w_in, WEIGHTS), named("bias", bias, BIASES)
    return Linear(check_size("hidden", hidden), drawing, *inits, check_dtype(dtype))


def check_range(decay: Any) -> tuple[float, float]:
    """(low, high) as plain numbers, or InputError."""
    need = "two numbers (low, high) with low <= high"
    ends = [check_number("decay", each, math.isfinite, need) for each in (decay if isinstance(decay, Iterable) else ())]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise InputError("decay", repr(decay), need)
    return ends[0], ends[1]
