"""Recurrent cells of Equinox as jrnn cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._base import static_cell
from jrnn.extras import require
from jrnn.interop.foreign import ForeignCell, check_hashable, check_output
from jrnn.types import InputError, Params, Shape, State, hidden_part


@static_cell
class EquinoxCell(ForeignCell):
    """See `from_equinox`."""

    structure: Any
    settings: tuple[Any, ...]  # the leaves that are no arrays
    start: tuple[Any, tuple[tuple[Shape, Any], ...]] | Callable
    output_fn: Callable | None
    input_ndim: int

    reads_previous = False
    batched = False

    def alone(self, params: Params) -> State:
        if callable(self.start):
            return self.start(params)
        structure, leaves = self.start
        return jax.tree.unflatten(structure, [jnp.zeros(shape, dtype) for shape, dtype in leaves])

    def call(self, params: Params, state: State, x: Any) -> tuple[State, Any]:
        module = require("equinox").combine(params, jax.tree.unflatten(self.structure, self.settings))
        after = module(x, state)
        return after, after[0] if type(after) is tuple and len(after) == 2 else hidden_part(after)


def from_equinox(
    cell: Any,
    *,
    initial_state: Any = None,
    output: Callable | None = None,
    input_ndim: int = 1,
) -> tuple[EquinoxCell, Params]:
    """A recurrent cell of Equinox as `(cell, params)`; every instrument works on it.

    h_t = cell(x_t, h_{t-1}) for one sequence; it is mapped over batch axes. The state is Equinox's, (h, c) for an LSTM;
    y_t is h, the first of two or the only array, or `state.h`.

    Args:
      cell: an `equinox.nn.GRUCell` or `LSTMCell`, or a module of yours with `__call__(x, state) -> state`.
      initial_state: zeros by default for Equinox's own (and subclasses); otherwise a function (params) -> state of one
        sequence, or a pytree of arrays or `jax.ShapeDtypeStruct`s whose shapes and dtypes the zeros take.
      output: (params, state, x) -> y_t from h_t.
      input_ndim: trailing feature axes of one input.
    Returns:
      The cell, hashable, and its arrays, a module with None in place of all else: `equinox.combine` with
      `equinox.filter(cell, equinox.is_array, inverse=True)` puts trained ones back.
    Raises:
      InputError: it is no module, its settings are not hashable, or initial_state is needed.
    """
    eqx = require("equinox")
    check_output(output)
    if not isinstance(cell, eqx.Module) or not callable(cell):
        needed = "a recurrent cell: an equinox.Module with `__call__(x, state) -> state`"
        raise InputError("cell", cell.__name__ if isinstance(cell, type) else type(cell).__name__, needed)
    params, rest = eqx.partition(cell, eqx.is_array)
    if initial_state is None:
        if not isinstance(cell, eqx.nn.GRUCell | eqx.nn.LSTMCell):
            raise InputError("initial_state", f"None for a {type(cell).__name__}", "a state, or (params) -> state")
        own: Any = cell
        h = jax.ShapeDtypeStruct((own.hidden_size,), own.weight_hh.dtype)
        initial_state = (h, h) if isinstance(cell, eqx.nn.LSTMCell) else h
    if not callable(initial_state):
        leaves, structure = jax.tree.flatten(jax.eval_shape(lambda h: h, initial_state))
        initial_state = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
    settings, structure = jax.tree.flatten(rest)
    wrapped = EquinoxCell(structure, tuple(settings), initial_state, output, input_ndim)
    check_hashable("cell", wrapped)
    return wrapped, params
