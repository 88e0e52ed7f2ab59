"""One step of a recurrence, for streaming."""

from __future__ import annotations

from typing import Any

from jrnn.kernels.checks import check_real, check_shape, check_states, own_weights
from jrnn.kernels.recurrences.base import input_dtype
from jrnn.types import Array


def step(weights: Any, state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
    """The state after one step, with the products that `xla` takes.

    Args:
      weights: what `kernel(params)` of a cell returns.
      state: h, or (h, c) [*B, H] each.
      x: [*B, F].
    Raises:
      InputError: shapes or dtypes that do not fit.
    """
    recurrence: Any
    recurrence, own = own_weights(weights)
    features, units = recurrence.sizes(own)
    check_real("x", x)
    check_shape("x", x, (*x.shape[:-1], features))
    check_states(recurrence.parts, "state", state, (*x.shape[:-1], units))
    sums = recurrence.sums(own, x.astype(input_dtype(recurrence, state[0].dtype)), state)
    return recurrence.after(recurrence.gates(own, sums, state), state)
