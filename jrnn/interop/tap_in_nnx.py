"""The recurrent part of a whole nnx model, as the instruments take it, without a change to the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jrnn.extras import require
from jrnn.interop.flax_cells import from_nnx
from jrnn.interop.tap_calls import Call, Tapped, call_of, pick
from jrnn.interop.tap_marks import TAPPING, check_by_hand, marked, tap_program, trace_state
from jrnn.types import Array, InputError
from jrnn.unrolling import Unrolled


def tap_nnx(loss_fn: Callable[[Any], Array], model: Any, *, name: str | None = None) -> Tapped:
    """The RNN inside an nnx model, `nnx.RNN` or jrnn's, with the rest of the model as its loss.

    The RNN may stand inside `nnx.jit`, `nnx.remat` and `jax.checkpoint`.

    Args:
      loss_fn: (model) -> scalar; not jitted (jit what uses the result). Where the model reads an `nnx.RNN`'s outputs
        past seq_lengths, it finds zeros.
      model: the model; it is left as it is.
      name: the RNN's path in the model, "encoder.rnn"; needed where there are several.
    Raises:
      InputError: no RNN inside, several and no name, a cell that is scanned by hand, or an RNN inside vmap, a scan, a
        conditional or a function with derivatives of its own.
    """
    nnx = require("flax.nnx")
    ours = require("jrnn.interop.nnx").RNN
    graphdef, state = nnx.split(model)
    rnns = {".".join(map(str, path)): path for path, node in nnx.iter_graph(model) if isinstance(node, nnx.RNN | ours)}
    level = trace_state()

    def model_loss(state: Any) -> Array:
        return loss_fn(nnx.merge(graphdef, jax.tree.map(jax.numpy.asarray, state)))

    if not rnns:
        check_by_hand(model_loss, state)
    path = rnns[pick(rnns, name)]
    if not path:
        raise InputError("model", f"{type(model).__name__}, an RNN itself", "a model with an RNN inside, or its cell")

    def with_stand_in(state: Any, act: Callable[..., Any]) -> Array:
        """loss_fn of a copy whose RNN is act(its own call, module, inputs, ...)."""
        copy = nnx.merge(graphdef, jax.tree.map(jax.numpy.asarray, state))
        module = next(node for at, node in nnx.iter_graph(copy) if at == path)
        module.__class__ = standing_in(type(module))
        with TAPPING(StandIn(act)):
            return loss_fn(copy)

    def record(module: Any, inputs: Array, kwargs: dict[str, Any]) -> tuple[Call, dict[str, Any]]:
        """The call, and its keywords with the noise it is given."""
        if isinstance(module, ours):
            own: Any = module
            key = own._noise_key(kwargs.get("deterministic"), kwargs.get("rngs"))
            call = call_of(module, own.cell, own.cell_params, True, inputs, key=key, **kwargs)
            return call, kwargs if key is None else kwargs | {"rngs": key}
        flaxs: Any = module
        axes = getattr(flaxs.cell, "num_feature_axes", 1)  # `from_nnx` refuses what is no cell of Flax
        cell, params = from_nnx(flaxs.cell, input_shape=tuple(inputs.shape[-axes:]))
        return call_of(module, cell, params, False, inputs, **kwargs), kwargs

    calls: list[Call] = []
    inside: list[bool] = []

    def note(call: Callable, module: Any, inputs: Array, **kwargs: Any) -> Any:
        seen, kwargs = record(module, inputs, kwargs)
        calls.append(seen)
        inside.append(trace_state() != level)
        return call(module, inputs, **kwargs)

    with_stand_in(state, note)
    if not calls:
        check_by_hand(model_loss, state)
        raise InputError("loss_fn", "one that does not call the RNN", "a loss that the model's RNN takes part in")
    if any(inside):
        marks: list[Call] = []

        def mark(call: Callable, module: Any, inputs: Array, **kwargs: Any) -> Any:
            seen, kwargs = record(module, inputs, kwargs)
            marks.append(seen)
            return marked(seen, call(module, inputs, **kwargs))

        return tap_program(lambda state: with_stand_in(state, mark), state, marks)

    def replay(run: Unrolled) -> Array:
        return with_stand_in(state, lambda call, module, inputs, **kwargs: calls[0].result(run))

    return calls[0].tapped(replay)


class StandIn:
    """What an RNN does while it is tapped; hashed by identity."""

    def __init__(self, act: Callable[..., Any]):
        self.act = act


STANDING_IN: dict[type, type] = {}


def standing_in(cls: type) -> type:
    """The class of modules like `cls` that ask the `StandIn` of the trace; one for each, as nnx keeps a register."""
    if cls not in STANDING_IN:

        def call(self: Any, inputs: Array, **kwargs: Any) -> Any:
            return TAPPING.value.act(cls.__call__, self, inputs, **kwargs)

        STANDING_IN[cls] = type(cls.__name__, (cls,), {"__call__": call, "__module__": cls.__module__})
    return STANDING_IN[cls]
