"""The recurrent part of a whole Flax model, as the instruments take it, without a change to the model.

The model is run once to see what its RNN is called with. The loss of a run of that RNN's cell is then the model's own,
with the run's results in place of the call:

    tapped = jrnn.interop.tap_linen(lambda variables: loss_of(model.apply(variables, xs)), variables)
    flow = jrnn.gradient_flow(tapped.cell, tapped.params, tapped.xs, tapped.loss, **tapped.options)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jrnn.extras import require
from jrnn.interop.flax_cells import from_linen, from_nnx
from jrnn.interop.tap_calls import Call, Tapped, call_of
from jrnn.interop.tap_marks import TAPPING, check_by_hand, marked, tap_program, trace_state
from jrnn.types import Array, InputError, Params
from jrnn.unrolling import Unrolled


def pick(rnns: Mapping[str, Any], name: str | None) -> str:
    """The one that is named, or the only one."""
    if name is None and len(rnns) == 1:
        return next(iter(rnns))
    if name is None or name not in rnns:
        needed = f"one of the model's RNNs {sorted(rnns)}" if rnns else "a model with an RNN module in it"
        raise InputError("name", repr(name), needed)
    return name


def tap_linen(loss_fn: Callable[[Any], Array], variables: Any, *, name: str | None = None) -> Tapped:
    """The RNN inside a linen model, `nn.RNN` or jrnn's, with the rest of the model as its loss.

    The RNN may stand inside `jit`, `nn.remat` and `jax.checkpoint`.

    Args:
      loss_fn: (variables) -> scalar, which applies the model; not jitted (jit what uses the result). Where the model
        reads an `nn.RNN`'s outputs past seq_lengths, it finds zeros.
      variables: the model's.
      name: the RNN's path in the model, "encoder/rnn"; needed where there are several.
    Raises:
      InputError: no RNN, several and no name, a cell that is scanned by hand, or an RNN inside vmap, a scan, a
        conditional or a function with derivatives of its own.
    """
    nn = require("flax.linen")
    ours = require("jrnn.interop.linen").RNN
    calls: dict[str, Call] = {}
    level, inside = trace_state(), set()

    def intercepted(act: Callable[[str, Callable[[], Any], Callable[[], Call]], Any]) -> Any:
        """act(path, the call, what is recorded of it) in the place of every call of an RNN."""

        def around(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
            module = context.module
            if context.method_name != "__call__" or not isinstance(module, nn.RNN | ours):
                return call(*args, **kwargs)

            def record() -> Call:
                return call_of(module, *linen_cell(module, ours, args[0]), *args, key=key, **kwargs)

            key = module._noise_key(kwargs.get("deterministic")) if isinstance(module, ours) else None
            return act("/".join(module.path), lambda: call(*args, **kwargs), record)

        return nn.intercept_methods(around)

    def note(path: str, call: Callable[[], Any], record: Callable[[], Call]) -> Any:
        result = call()
        calls[path] = record()  # after the call: a cell is given its place in the model by its first use
        inside.update({path} if trace_state() != level else ())
        return result

    with TAPPING(object()), intercepted(note):
        loss_fn(variables)
    if not calls:
        check_by_hand(loss_fn, variables)
    path = pick(calls, name)

    if path in inside:
        seen: list[Call] = []

        def mark(at: str, call: Callable[[], Any], record: Callable[[], Call]) -> Any:
            result = call()
            if at != path:
                return result
            seen.append(record())
            return marked(seen[-1], result)

        def program(variables: Any) -> Array:
            with TAPPING(object()), intercepted(mark):
                return loss_fn(variables)

        return tap_program(program, variables, seen)

    def loss(run: Unrolled) -> Array:
        def replay(at: str, call: Callable[[], Any], record: Callable[[], Call]) -> Any:
            return calls[path].result(run) if at == path else call()

        with TAPPING(object()), intercepted(replay):
            return loss_fn(variables)

    return calls[path].tapped(loss)


def linen_cell(module: Any, ours: type, inputs: Array) -> tuple[Any, Params, bool]:
    """(cell, params, whether the module is jrnn's)."""
    if isinstance(module, ours):
        own: Any = module
        params = require("flax.linen").meta.unbox(module.variables["params"]["cell"])
        return own._cell_of(inputs.shape[-1]), params, True
    axes = module.cell.num_feature_axes
    cell, params = from_linen(
        module.cell.clone(parent=None), dict(module.cell.variables), input_shape=tuple(inputs.shape[-axes:])
    )
    return cell, params, False


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
