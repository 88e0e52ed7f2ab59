"""Dropout, its kinds named: on outputs, variational on the recurrent state, between layers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._advance import check_cell, draw_noise
from jrnn.cells._base import static_cell
from jrnn.cells._bidirectional import Bidirectional
from jrnn.cells._numbers import check_number
from jrnn.cells._recurrent_reads import Reads, no_recurrent_weights
from jrnn.cells._stack import Stack
from jrnn.cells._wrappers import Wrapper, one_hidden_part
from jrnn.kernels import Weights
from jrnn.types import Array, InputError, Params, Shape, State, hidden_part, with_hidden


@static_cell
class Dropout(Wrapper):
    """See `dropout`."""

    cell: Any
    outputs: float
    recurrent: float

    def noise(self, params: Params, key: Array, t: Any, batch_shape: Shape) -> tuple[Any, Array, Array]:
        of_cell, of_state, of_output = jax.random.split(key, 3)
        # one key for the whole sequence on the recurrent state, a new one every step on the outputs
        return draw_noise(self.cell, params, of_cell, t, batch_shape), of_state, jax.random.fold_in(of_output, t)

    def read(self, h: Array, key: Array) -> Array:
        """h_{t-1} as the recurrent weights read it."""
        return drop(key, self.recurrent, h)

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        if noise is None:
            return super().step(params, state, x, None, reads)
        of_cell, of_state, _ = noise
        if self.recurrent > 0:
            one_hidden_part("recurrent", self.recurrent, state)
            outer = reads
            reads = lambda h: self.read(h if outer is None else outer(h), of_state)  # noqa: E731
        return super().step(params, state, x, of_cell, reads)

    def kernel(self, params: Params) -> Weights | None:
        return self.inner_kernel(params)  # `unroll` asks where no noise is drawn

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        if noise is None:
            return super().output(params, state, x)
        of_cell, of_state, of_output = noise
        if self.reads_previous and self.recurrent > 0:  # the output comes from the same reading of h_{t-1} as the step
            state = with_hidden(state, self.read(hidden_part(state), of_state))
        y = super().output(params, state, x, of_cell)
        return drop(of_output, self.outputs, y) if self.outputs > 0 else y


def drop(key: Array, rate: float, y: Array) -> Array:
    """Zero with probability `rate`, else y / (1 - rate); all zero at rate 1."""
    if rate >= 1:
        return jnp.zeros_like(y)
    keep = jax.random.bernoulli(key, 1 - rate, y.shape)
    return jnp.where(keep, y / (1 - rate), jnp.zeros_like(y))


def dropout(cell: Any, *, outputs: float = 0.0, recurrent: float = 0.0, between: float = 0.0) -> Any:
    """Dropout around a cell, active where `unroll` or `step` is given a `key`; without one the cell is as it was.

    With all rates 0 it is the cell itself, which takes no key.

    Args:
      cell: a cell, a stack or `Bidirectional`.
      outputs: rate on y_t, a new mask every step (Zaremba et al. 2014).
      recurrent: rate on the hidden part of h_{t-1} where recurrent weights read it, m * h_{t-1} in the place of h_{t-1}
        in h U, one mask m a sequence for all gates (variational; Gal, Ghahramani 2016). What carries h_{t-1} itself on
        (a GRU's z h, a leak, an oscillator's position) has no mask, nor has another part of the state (an LSTM's c),
        so that a state stays bounded where it is without dropout; a reset before the product is r * m * h. On a stack:
        on every layer. A cell of your own or of another library takes it where h_{t-1} enters matrix products alone
        (an LSTM's, not a GRU's); in functions of your own `from_functions(noise=)` puts the mask anywhere.
      between: rate on the outputs of every layer of a stack but the last.
    Returns:
      A cell with the same parameters. Kept values are scaled by 1 / (1 - rate).
    Raises:
      InputError: a rate outside [0, 1]; `between` without a stack of layers; `recurrent` around a cell without
        recurrent weights, in which each unit carries itself on alone (`linear`, `min_gru`, `min_lstm`, `rg_lru`, `lru`;
        in a run `indrnn`), or, in a run, around one in which they cannot be told from what carries h. There `outputs`
        drops, or `zoneout`, if the state has an h.
    """
    check_cell(cell)
    given = {"outputs": outputs, "recurrent": recurrent, "between": between}
    outputs, recurrent, between = (
        check_number(name, rate, lambda p: 0 <= p <= 1, "a rate from 0 to 1, not a traced one: a cell is static")
        for name, rate in given.items()
    )
    if between and not isinstance(cell, Stack):
        raise InputError("between", f"{between} around {type(cell).__name__}", "a stack, jrnn.stack(...)")
    if isinstance(cell, Bidirectional):
        return Bidirectional(
            *(dropout(each, outputs=outputs, recurrent=recurrent) for each in (cell.forward, cell.backward))
        )
    if isinstance(cell, Stack):
        top = len(cell.cells) - 1
        rates = [(outputs if i == top else between) for i in range(top + 1)]
        return Stack(tuple(dropout(c, outputs=r, recurrent=recurrent) for c, r in zip(cell.cells, rates, strict=True)))
    if recurrent and is_diagonal(cell):
        raise no_recurrent_weights(cell)
    return Dropout(cell, float(outputs), float(recurrent)) if outputs or recurrent else cell


def is_diagonal(cell: Any) -> bool:
    """Whether every unit of the cell within carries itself on alone, by its own factor."""
    while isinstance(cell, Wrapper):
        cell = cell.cell
    return getattr(cell, "factors", None) is not None
