"""Recurrent cores of Haiku as jrnn cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jrnn.cells._base import static_cell
from jrnn.extras import require
from jrnn.interop.foreign import ForeignCell, check_output
from jrnn.types import InputError, Params, State


@static_cell
class HaikuCell(ForeignCell):
    """See `from_haiku`."""

    make_core: Callable
    input_ndim: int
    output_fn: Callable | None
    reads_previous: bool

    batched = False

    def alone(self, params: Params) -> State:
        return applied(params, lambda: self.make_core().initial_state(None))

    def call(self, params: Params, state: State, x: Any) -> tuple[State, Any]:
        y, after = applied(params, lambda: self.make_core()(x, state))
        return after, y


def applied(params: Params, function: Callable) -> Any:
    """`function()` with these parameters and no random numbers."""
    return require("haiku").transform(function).apply(params, None)


def from_haiku(
    make_core: Callable,
    params: Params,
    *,
    input_ndim: int = 1,
    output: Callable | None = None,
    reads_previous: bool = False,
) -> tuple[HaikuCell, Params]:
    """A recurrent core of Haiku as `(cell, params)`; every instrument works on it.

    y_t, h_t = core(x_t, h_{t-1}) for one sequence; it is mapped over batch axes. The state is Haiku's own
    (`LSTMState(hidden, cell)`); h_0 is `core.initial_state`'s. y_t is computed from h_t, by those operations of the
    step that lie between the two.

    Args:
      make_core: () -> hk.RNNCore, such as `lambda: hk.LSTM(64)`; called inside a Haiku transform. Define it once: cells
        made of the same function are equal.
      params: the core's parameters by module name, {"lstm/linear": {"w": ..., "b": ...}}, as the same function made
        them in `hk.transform`.
      input_ndim: trailing feature axes of one input: 3 for Conv2DLSTM.
      output: (params, state, x) -> y_t from h_t, in place of the core's own.
      reads_previous: True attributes y_t to h_{t-1}: for cores whose y_t is no function of h_t and x_t.
    Returns:
      The cell, hashable, and `params`.
    Raises:
      InputError: make_core makes no recurrent core, params are no dict, or (in use) y_t is no function of h_t and x_t.
    """
    hk = require("haiku")
    check_output(output)
    if isinstance(make_core, hk.Module) or not callable(make_core):
        raise InputError("make_core", type(make_core).__name__, "a function that makes the core, lambda: hk.LSTM(64)")
    if not hasattr(params, "keys"):
        raise InputError("params", type(params).__name__, '{"lstm/linear": {"w": ..., "b": ...}}')
    cores: list[Any] = []
    applied(params, lambda: cores.append(make_core()))
    if not isinstance(cores[0], hk.RNNCore):
        raise InputError(
            "make_core", f"a function that makes a {type(cores[0]).__name__}", "one that makes an hk.RNNCore"
        )
    return HaikuCell(make_core, input_ndim, output, bool(reads_previous)), params
