"""The recurrent part of a whole linen model, as the instruments take it, without a change to the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jrnn.extras import require
from jrnn.interop.flax_cells import from_linen
from jrnn.interop.tap_calls import Call, Tapped, call_of, pick
from jrnn.interop.tap_marks import TAPPING, check_by_hand, marked, tap_program, trace_state
from jrnn.types import Array, Params
from jrnn.unrolling import Unrolled


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
