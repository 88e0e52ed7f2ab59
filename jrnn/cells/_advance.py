"""One step of any cell with its output, and the sizes that follow from a cell's own functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.types import Array, Cell, InputError, Params, Shape, State, ravel_state


def is_causal(cell: Any) -> bool:
    """Whether `cell` is a cell (it can step), not a description such as `Bidirectional`."""
    return getattr(cell, "causal", True)


def check_cell(cell: Any, argument: str = "cell") -> None:
    """InputError unless `cell` is something that can be unrolled."""
    if is_causal(cell) and not isinstance(cell, Cell) or isinstance(cell, type):
        given = cell.__name__ if isinstance(cell, type) else type(cell).__name__
        raise InputError(argument, given, "a cell such as jrnn.lstm(64), or jrnn.from_functions(...) around your own")


def draw_noise(cell: Cell, params: Params, key: Array | None, t: Any, batch_shape: Shape) -> Any:
    """What `cell.step` and `cell.output` take as `noise=` at time t; None without a key or for a cell without noise."""
    draw = getattr(cell, "noise", None)
    return None if key is None or draw is None else draw(params, key, t, batch_shape)


def draws_noise(cell: Any) -> bool:
    """Whether a key means anything to the cell; combinators ask what is inside them."""
    return getattr(cell, "draws", getattr(cell, "noise", None) is not None)


def advance(cell: Cell, params: Params, state: State, x: Any, noise: Any = None) -> tuple[State, Any]:
    """(h_t, y_t) from (h_{t-1}, x_t), whichever of the two states the output reads."""
    options = {} if noise is None else {"noise": noise}
    after = cell.step(params, state, x, **options)
    reads = state if getattr(cell, "reads_previous", False) else after
    return after, cell.output(params, reads, x, **options)


def prepared(cell: Any, params: Params) -> Params:
    """The parameters with what every step would make of them, made once: what `unroll` does before its loop.

    Only a cell with `jrnn.orthogonal_map` has any such thing, its recurrent matrix. With what this returns the cell
    steps as with `params` (`jrnn.step` need not make the matrix each time), and `init` made the latter: train those.
    """
    own = getattr(cell, "prepared", None)
    return params if own is None else own(params)


def prepared_shapes(cell: Any, params: Params) -> Params:
    """`prepared` for a caller who reads shapes alone: nothing is computed."""
    return jax.eval_shape(lambda p: prepared(cell, p), params) if hasattr(cell, "prepared") else params


def state_shapes(cell: Any, params: Params, lead: Shape = ()) -> State:
    """The shapes and dtypes of the cell's state with leading axes `lead`; nothing is computed."""
    return jax.eval_shape(lambda p: cell.initial_state(p, lead), params)


def flat_state(cell: Any, params: Params) -> jax.ShapeDtypeStruct:
    """The shape [N] and the dtype of one state as `ravel_state` flattens it; nothing is computed."""
    return jax.eval_shape(lambda p: ravel_state(cell.initial_state(p, ()), 0), params)


def output_size(cell: Any, input_size: int | None, params: Params = None) -> int:
    """K, the last axis of the cell's output y_t, from shapes alone (nothing is computed).

    Args:
      cell: a cell, or `Bidirectional`.
      input_size: F, as for `cell.init`; None for an autonomous cell.
      params: the cell's parameters, if they exist already.
    Raises:
      InputError: the output is not one array with a feature axis.
    """
    check_cell(cell)
    if params is None:
        params = jax.eval_shape(lambda key: cell.init(key, input_size), jax.random.key(0))
    if not is_causal(cell):
        return cell.output_size(input_size, params)

    def one_output(params: Params, x: Any) -> Any:
        return cell.output(params, cell.initial_state(params, ()), x)

    x = None
    if input_size is not None:
        token = getattr(cell, "input_ndim", 1) == 0
        floats = [
            jnp.result_type(p) for p in jax.tree.leaves(params) if jnp.issubdtype(jnp.result_type(p), jnp.floating)
        ]
        real = floats[0] if floats else jnp.zeros(()).dtype
        x = jax.ShapeDtypeStruct(() if token else (input_size,), jnp.int32 if token else real)
    y = jax.eval_shape(one_output, params, x)
    if not hasattr(y, "shape") or len(y.shape) < 1:
        raise InputError("cell", f"a cell with output {y}", "an output that is one array with a feature axis")
    return y.shape[-1]
