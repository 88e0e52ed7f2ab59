"""Recurrent cells of Flax, nnx and linen, as jrnn cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jrnn.cells._base import static_cell
from jrnn.extras import require
from jrnn.interop.foreign import ForeignCell, check_hashable, check_output
from jrnn.types import Cell, InputError, Params, Shape, State


@static_cell
class NnxCell(ForeignCell):
    """See `from_nnx`."""

    graphdef: Any
    input_shape: Shape
    draws: bool  # the module holds random number generators, which are left out
    output_fn: Callable | None
    reads_previous: bool
    kind: str  # the module's class, for reports

    @property
    def input_ndim(self) -> int:
        return len(self.input_shape)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        nnx = require("flax.nnx")
        module = nnx.merge(self.graphdef, params)
        return module.initialize_carry((*batch_shape, *self.input_shape), rngs=nnx.Rngs(0))

    def call(self, params: Params, state: State, x: Any) -> tuple[State, Any]:
        nnx = require("flax.nnx")
        module = nnx.merge(self.graphdef, params)
        before = {path: variable.get_value() for path, variable in nnx.iter_graph(module) if is_variable(variable)}
        try:
            after, y = module(state, x)
        except AttributeError as error:
            if not self.draws:
                raise
            needed = "one that draws nothing: `cell.eval()`, or deterministic=True"
            raise InputError("cell", f"a step that draws random numbers ({error})", needed) from error
        for path, variable in nnx.iter_graph(module):
            if path in before and variable.get_value() is not before[path]:
                name = ".".join(map(str, path))
                raise InputError("cell", f"a step that changes its own variable {name}", "all state in the carry")
        return after, y


def is_variable(node: Any) -> bool:
    """Whether a node of an nnx module's graph holds an array."""
    return isinstance(node, require("flax.nnx").Variable)


def from_nnx(
    cell: Any,
    *,
    input_shape: Shape | None = None,
    output: Callable | None = None,
    reads_previous: bool = False,
) -> tuple[NnxCell, Params]:
    """A recurrent cell of Flax nnx as `(cell, params)`; every instrument works on it.

    h_t, y_t = cell(h_{t-1}, x_t). The state is Flax's carry, (c, h) for an LSTM; h_0 is `cell.initialize_carry`'s. y_t
    is computed from h_t, by those operations of the step that lie between the two.

    Args:
      cell: an `nnx.Module` with `initialize_carry(input_shape, rngs)` and `__call__(carry, x) -> (carry, y)`: Flax's
        own, or yours. It is left as it is.
      input_shape: the shape of one input x, (F,) or with more axes, such as (height, width, channels). By default
        (cell.in_features,); needed where inputs have several axes.
      output: (params, state, x) -> y_t from h_t, in place of the cell's own.
      reads_previous: True attributes y_t to h_{t-1}: for cells whose y_t is no function of h_t and x_t.
    Returns:
      The cell, hashable, and its variables as an `nnx.State`: `nnx.update(module, params)` puts trained ones back.
    Raises:
      InputError: it is no recurrent cell, input_shape is needed, its step draws random numbers or changes variables
        of its own, or (in use) y_t is no function of h_t and x_t.
    """
    nnx = require("flax.nnx")
    check_recurrent(cell, nnx.Module, "nnx.Module")
    check_output(output)
    module = nnx.clone(cell)
    draws = bool(jax.tree.leaves(nnx.pop(module, nnx.RngState)))
    graphdef, params = nnx.split(module)
    check_hashable("cell", graphdef)
    default = (cell.in_features,) if hasattr(cell, "in_features") else None
    shape = input_shape_of(cell, input_shape, default)
    return NnxCell(graphdef, shape, draws, output, bool(reads_previous), type(cell).__name__), params


@static_cell
class LinenCell(ForeignCell):
    """See `from_linen`."""

    module: Any
    input_shape: Shape
    output_fn: Callable | None
    reads_previous: bool

    @property
    def kind(self) -> str:
        return type(self.module).__name__

    @property
    def input_ndim(self) -> int:
        return len(self.input_shape)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        shape = (*batch_shape, *self.input_shape)
        return self.module.apply(params, jax.random.key(0), shape, method="initialize_carry")

    def call(self, params: Params, state: State, x: Any) -> tuple[State, Any]:
        return self.module.apply(params, state, x)


def from_linen(
    cell: Any,
    variables: Params,
    *,
    input_shape: Shape | None = None,
    output: Callable | None = None,
    reads_previous: bool = False,
) -> tuple[LinenCell, Params]:
    """A recurrent cell of Flax linen as `(cell, params)`; every instrument works on it.

    h_t, y_t = cell.apply(variables, h_{t-1}, x_t). The state is Flax's carry, (c, h) for an LSTM; h_0 is
    `cell.initialize_carry`'s, for key 0 where it is drawn. y_t is computed from h_t, by those operations of the step
    that lie between the two.

    Args:
      cell: a linen module with `initialize_carry(key, input_shape)` and `__call__(carry, x) -> (carry, y)`.
      variables: {"params": ...} as from `cell.init`.
      input_shape: the shape of one input x, needed where inputs have several axes, (height, width, channels), or where
        the initial carry depends on it.
      output: (params, state, x) -> y_t from h_t, in place of the cell's own.
      reads_previous: True attributes y_t to h_{t-1}: for cells whose y_t is no function of h_t and x_t.
    Returns:
      The cell, hashable, and `variables`.
    Raises:
      InputError: it is no recurrent cell, or bound, or its fields are not hashable; variables have no "params";
        input_shape is needed; or (in use) y_t is no function of h_t and x_t.
    """
    linen = require("flax.linen")
    check_recurrent(cell, linen.Module, "linen module")
    check_output(output)
    if cell.scope is not None:
        raise InputError("cell", f"a bound {type(cell).__name__}", "an unbound module, made outside of others")
    check_hashable("cell", cell)
    if not hasattr(variables, "keys") or "params" not in variables:
        given = sorted(variables) if hasattr(variables, "keys") else type(variables).__name__
        raise InputError("variables", given, '{"params": ...}, as from `cell.init`')
    return LinenCell(cell, input_shape_of(cell, input_shape, None), output, bool(reads_previous)), variables


def check_recurrent(cell: Any, kind: type, name: str) -> None:
    """InputError unless `cell` is an instance of `kind` with a carry."""
    if not isinstance(cell, kind) or not callable(getattr(cell, "initialize_carry", None)) or not callable(cell):
        needed = f"a recurrent cell: a {name} with `initialize_carry` and `__call__(carry, x) -> (carry, y)`"
        if isinstance(cell, Cell):
            room = "nnx.RNN(cell, input_size, rngs=...)" if name.startswith("nnx") else "linen.RNN(cell)"
            needed = f"a cell of Flax; one of jrnn goes into jrnn.interop.{room}, not into Flax's RNN"
        raise InputError("cell", cell.__name__ if isinstance(cell, type) else type(cell).__name__, needed)


def input_shape_of(cell: Any, given: Any, default: Shape | None) -> Shape:
    """The shape of one input; its size may stay open (1) where only the number of its axes is needed."""
    axes = cell.num_feature_axes
    if given is None:
        if axes == 1:
            return default or (1,)
        raise InputError("input_shape", "None", f"the shape of one input: a tuple of {axes} sizes")
    if not isinstance(given, tuple | list) or len(given) != axes:
        raise InputError("input_shape", repr(given), f"a tuple of {axes} sizes")
    return tuple(map(int, given))
