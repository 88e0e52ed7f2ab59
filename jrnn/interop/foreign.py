"""What foreign cells share: a step that returns (h_t, y_t), with y_t read off h_t."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from jrnn.types import Array, InputError, Params, Shape, State


class ForeignCell:
    """A cell around `call(params, h_{t-1}, x_t) -> (h_t, y_t)`; subclasses give `call` and `initial_state`."""

    output_fn: Callable | None
    reads_previous: bool
    batched: bool = True  # False: `call` and `alone` are of one sequence, and are mapped over the batch axes

    def init(self, key: Array, input_size: int | None) -> Params:
        raise InputError("init", type(self).__name__, "the parameters that came with the cell")

    def call(self, params: Params, state: State, x: Any) -> tuple[State, Any]:
        raise NotImplementedError

    def alone(self, params: Params) -> State:
        """The initial state of one sequence."""
        raise NotImplementedError

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        return jax.tree.map(lambda h: jax.numpy.broadcast_to(h, (*batch_shape, *h.shape)), self.alone(params))

    def step(self, params: Params, state: State, x: Any) -> State:
        return self.mapped(lambda p, h, x: self.call(p, h, x)[0], params, state, x)

    def output(self, params: Params, state: State, x: Any) -> Any:
        if self.output_fn is not None:
            return self.output_fn(params, state, x)
        if self.reads_previous:
            return self.mapped(lambda p, h, x: self.call(p, h, x)[1], params, state, x)
        return self.mapped(lambda p, h, x: output_of(self.call, p, h, x), params, state, x)

    def mapped(self, function: Callable, params: Params, state: State, x: Any) -> Any:
        """`function(params, state, x)`, over the batch axes if it takes one sequence only."""
        if not self.batched:
            state_alone = jax.tree.leaves(jax.eval_shape(self.alone, params))[0]
            for _ in range(jax.tree.leaves(state)[0].ndim - state_alone.ndim):
                function = jax.vmap(function, in_axes=(None, 0, 0))
        return function(params, state, x)


def output_of(call: Callable, params: Params, state: State, x: Any) -> Any:
    """y_t from h_t = state: those operations of `call` that lie between the state it returns and y_t.

    Raises:
      InputError: y_t needs more of h_{t-1} than h_t has kept.
    """
    closed, (after, y) = jax.make_jaxpr(call, return_shape=True)(params, state, x)
    jaxpr = closed.jaxpr
    after_leaves, given = jax.tree.leaves(after), jax.tree.leaves(state)
    if len(after_leaves) != len(given):
        raise InputError(
            "cell", f"a step from {len(given)} arrays to {len(after_leaves)}", "a step that keeps its state's type"
        )
    of_params = len(jax.tree.leaves(params))
    inputs = [*jaxpr.invars[:of_params], *jaxpr.invars[of_params + len(given) :]]
    values = [*jax.tree.leaves(params), *jax.tree.leaves(x)]
    known = dict(zip([*inputs, *jaxpr.constvars], [*values, *closed.consts], strict=True))
    for var, value in zip(jaxpr.outvars[: len(after_leaves)], given, strict=True):
        if not isinstance(var, Literal):
            known.setdefault(var, value)
    targets = jaxpr.outvars[len(after_leaves) :]

    def unknown(variables: Any) -> set:
        return {v for v in variables if not isinstance(v, Literal) and v not in known}

    needed, equations = unknown(targets), []
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            equations.append(equation)
            needed = (needed - set(equation.outvars)) | unknown(equation.invars)
    if needed:
        raise InputError(
            "output",
            "none, and an output y_t that is no function of the new state h_t and x_t",
            "`output=`, a function (params, state, x) -> y_t; or `reads_previous=True`, which credits y_t to h_{t-1}",
        )
    names = list(known)
    rest = jaxpr.replace(constvars=[], invars=names, outvars=targets, eqns=equations[::-1])
    outputs = jaxpr_as_fun(ClosedJaxpr(rest, []))(*(known[name] for name in names))
    return jax.tree.unflatten(jax.tree.structure(y), outputs)


def check_output(output: Any) -> None:
    """InputError unless `output` is a function or None."""
    if output is not None and not callable(output):
        raise InputError("output", type(output).__name__, "a function (params, state, x) -> y_t, or None")


def check_hashable(argument: str, value: Any) -> None:
    """InputError for a cell that cannot be static under `jax.jit`."""
    try:
        hash(value)
    except TypeError as error:
        raise InputError(argument, f"{type(value).__name__}: {error}", "a cell whose settings are hashable") from error
