"""The recurrent part of a whole Flax model, as the instruments take it, without a change to the model.

The model is run once to see what its RNN is called with. The loss of a run of that RNN's cell is then the model's own,
with the run's results in place of the call:

    tapped = jrnn.interop.tap_linen(lambda variables: loss_of(model.apply(variables, xs)), variables)
    flow = jrnn.gradient_flow(tapped.cell, tapped.params, tapped.xs, tapped.loss, **tapped.options)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.extras import require
from jrnn.interop.flax_calls import chosen, flip
from jrnn.interop.flax_carries import carry_of, state_of
from jrnn.interop.flax_cells import from_linen, from_nnx
from jrnn.types import Array, InputError, Params
from jrnn.unrolling import Unrolled


class Tapped(NamedTuple):
    """The RNN of a model: what `unroll`, `state_gradients`, `gradient_flow` and `jacobians` take."""

    cell: Any
    """The RNN's cell as a jrnn cell."""
    params: Params
    """Its parameters, as they are in the model."""
    xs: Array
    """[T, *B, F]: what the model feeds it."""
    loss: Callable[[Unrolled], Array]
    """The model's loss as a function of a run of the cell: of its outputs, and of final_state if the model asks for
    the carry."""
    options: dict[str, Any]
    """Keyword arguments: initial_state, lengths and reverse, as the model gives them."""


class Call(NamedTuple):
    """One call of an RNN module."""

    cell: Any
    params: Params
    inputs: Array
    initial_state: Any
    lengths: Any
    axis: int
    flags: tuple[bool, bool, bool]  # reverse, keep_order, return_carry
    own: bool  # jrnn's module, whose carry is in Flax's order and not the cell's own

    def tapped(self, loss: Callable[[Unrolled], Array]) -> Tapped:
        options = {"initial_state": self.initial_state, "lengths": self.lengths, "reverse": self.flags[0] or None}
        given = {name: value for name, value in options.items() if value is not None}
        return Tapped(self.cell, self.params, jnp.moveaxis(self.inputs, self.axis, 0), loss, given)

    def result(self, run: Unrolled) -> Any:
        """What the module would have returned."""
        reverse, keep_order, return_carry = self.flags
        outputs = jax.tree.map(lambda y: jnp.moveaxis(y, 0, self.axis), run.outputs)
        if reverse and not keep_order:
            outputs = jax.tree.map(lambda y: flip(y, self.lengths, self.axis), outputs)
        return (carry_of(run.final_state) if self.own else run.final_state, outputs) if return_carry else outputs


def call_of(module: Any, cell: Any, params: Params, own: bool, inputs: Array, **given: Any) -> Call:
    """The call in jrnn's terms; what it leaves open is the module's own."""
    names = ("time_major", "reverse", "keep_order", "return_carry")
    time_major, *flags = chosen(module, **{name: given.get(name) for name in names})
    inputs = jnp.asarray(inputs)
    features = getattr(cell, "input_ndim", 1)
    axis = 0 if time_major else inputs.ndim - features - 1
    batch = jnp.moveaxis(inputs, axis, 0).shape[1 : inputs.ndim - features]
    carry = given.get("initial_carry")
    state = state_of(cell, params, carry, batch) if own and carry is not None else carry
    return Call(cell, params, inputs, state, given.get("seq_lengths"), axis, tuple(flags), own)  # pyright: ignore


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

    Args:
      loss_fn: (variables) -> scalar, which applies the model; not jitted (jit what uses the result). Where the model
        reads an `nn.RNN`'s outputs past seq_lengths, it finds zeros.
      variables: the model's.
      name: the RNN's path in the model, "encoder/rnn"; needed where there are several.
    Raises:
      InputError: no RNN, or several and no name.
    """
    nn = require("flax.linen")
    ours = require("jrnn.interop.linen").RNN
    calls: dict[str, Call] = {}

    def intercept(replay: Callable[[str], Any] | None) -> Callable:
        def around(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
            module = context.module
            if context.method_name != "__call__" or not isinstance(module, nn.RNN | ours):
                return call(*args, **kwargs)
            path = "/".join(module.path)
            result = None if replay is None else replay(path)
            if result is None:
                result = call(*args, **kwargs)
            if replay is None:  # after the call: a cell is given its place in the model by its first use
                calls[path] = call_of(module, *linen_cell(module, ours, args[0]), *args, **kwargs)
            return result

        return around

    with nn.intercept_methods(intercept(None)):
        loss_fn(variables)
    path = pick(calls, name)

    def loss(run: Unrolled) -> Array:
        with nn.intercept_methods(intercept(lambda at: calls[path].result(run) if at == path else None)):
            return loss_fn(variables)

    return calls[path].tapped(loss)


def linen_cell(module: Any, ours: type, inputs: Array) -> tuple[Any, Params, bool]:
    """(cell, params, whether the module is jrnn's)."""
    if isinstance(module, ours):
        own: Any = module
        return own.cell, module.variables["params"]["cell"], True
    axes = module.cell.num_feature_axes
    cell, params = from_linen(
        module.cell.clone(parent=None), dict(module.cell.variables), input_shape=tuple(inputs.shape[-axes:])
    )
    return cell, params, False


def tap_nnx(loss_fn: Callable[[Any], Array], model: Any, *, name: str | None = None) -> Tapped:
    """The RNN inside an nnx model, `nnx.RNN` or jrnn's, with the rest of the model as its loss.

    Args:
      loss_fn: (model) -> scalar; not jitted (jit what uses the result). Where the model reads an `nnx.RNN`'s outputs
        past seq_lengths, it finds zeros.
      model: the model; it is left as it is.
      name: the RNN's path in the model, "encoder.rnn"; needed where there are several.
    Raises:
      InputError: no RNN inside, or several and no name.
    """
    nnx = require("flax.nnx")
    ours = require("jrnn.interop.nnx").RNN
    graphdef, state = nnx.split(model)
    calls: list[Call] = []
    rnns = {".".join(map(str, path)): path for path, node in nnx.iter_graph(model) if isinstance(node, nnx.RNN | ours)}
    path = rnns[pick(rnns, name)]
    if not path:
        raise InputError("model", f"{type(model).__name__}, an RNN itself", "a model with an RNN inside, or its cell")

    def with_stand_in(result: Callable[..., Any]) -> Array:
        """loss_fn of a copy whose RNN is `result(module, inputs, ...)`."""
        copy = nnx.merge(graphdef, jax.tree.map(jnp.asarray, state))
        parent = copy
        for step in path[:-1]:
            parent = vars(parent)[step] if step in vars(parent) else parent[step]
        module = vars(parent)[path[-1]] if path[-1] in vars(parent) else parent[path[-1]]
        stand_in = lambda *args, **kwargs: result(module, *args, **kwargs)  # noqa: E731
        if path[-1] in vars(parent):
            vars(parent)[path[-1]] = stand_in
        else:
            parent[path[-1]] = stand_in
        return loss_fn(copy)

    def record(module: Any, inputs: Array, **kwargs: Any) -> Any:
        own = isinstance(module, ours)
        if own:
            own_module: Any = module
            cell, params = own_module.cell, own_module.cell_params
        else:
            axes = getattr(module.cell, "num_feature_axes", 1)  # `from_nnx` refuses what is no cell of Flax
            cell, params = from_nnx(module.cell, input_shape=tuple(inputs.shape[-axes:]))
        calls.append(call_of(module, cell, params, own, inputs, **kwargs))
        return module(inputs, **kwargs)

    with_stand_in(record)
    if not calls:
        raise InputError("loss_fn", "one that does not call the RNN", "a loss that the model's RNN takes part in")
    return calls[0].tapped(lambda run: with_stand_in(lambda module, inputs, **kwargs: calls[0].result(run)))
