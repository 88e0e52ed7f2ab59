"""Cells made of a user's own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._base import static_cell
from jrnn.types import Array, InputError, Params, Shape, State, hidden_part


@static_cell
class FunctionCell:
    """See `from_functions`. Equal to another one if the functions are the same objects."""

    init_fn: Callable | None
    initial_state_fn: Callable
    step_fn: Callable
    output_fn: Callable | None
    input_ndim: int

    def init(self, key: Array, input_size: int | None) -> Params:
        if self.init_fn is None:
            raise InputError("init", "None", "an `init` function, or parameters of your own")
        return self.init_fn(key, input_size)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        return self.initial_state_fn(params, batch_shape)

    def step(self, params: Params, state: State, x: Any) -> State:
        return self.step_fn(params, state, x)

    def output(self, params: Params, state: State, x: Any) -> Any:
        return hidden_part(state) if self.output_fn is None else self.output_fn(params, state, x)


@static_cell
class StepCell:
    """See `from_step`."""

    step_fn: Callable
    init_fn: Callable | None
    initial_state_fn: Callable
    output_fn: Callable | None
    batched: bool
    input_ndim: int

    @property
    def reads_previous(self) -> bool:
        return self.output_fn is None

    def init(self, key: Array, input_size: int | None) -> Params:
        if self.init_fn is None:
            raise InputError("init", "None", "an `init` function, or parameters of your own")
        return self.init_fn(key, input_size)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        if self.batched:
            return self.initial_state_fn(params, batch_shape)
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (*batch_shape, *jnp.shape(leaf))), self.initial_state_fn(params)
        )

    def mapped(self, function: Callable, params: Params, state: State, x: Any) -> Any:
        """`function(params, state, x)`, over the batch axes if it takes one sequence only."""
        if not self.batched:
            alone = jax.tree.leaves(jax.eval_shape(self.initial_state_fn, params))[0]
            for _ in range(jax.tree.leaves(state)[0].ndim - len(alone.shape)):
                function = jax.vmap(function, in_axes=(None, 0, 0))
        return function(params, state, x)

    def step(self, params: Params, state: State, x: Any) -> State:
        return self.mapped(lambda p, s, x: self.step_fn(p, s, x)[0], params, state, x)

    def output(self, params: Params, state: State, x: Any) -> Any:
        if self.output_fn is None:
            return self.mapped(lambda p, s, x: self.step_fn(p, s, x)[1], params, state, x)
        return self.mapped(self.output_fn, params, state, x)


def check_functions(init: Any, initial_state: Any, step: Any, output: Any, input_ndim: Any) -> None:
    """InputError unless all are functions (`init` and `output` may be None), and input_ndim counts axes."""
    if isinstance(input_ndim, bool) or not isinstance(input_ndim, int) or input_ndim < 0:
        raise InputError("input_ndim", repr(input_ndim), "the number of feature axes of one input, 0 or more")
    if not callable(initial_state) or not callable(step):
        name, given = ("step", step) if callable(initial_state) else ("initial_state", initial_state)
        raise InputError(name, type(given).__name__, "a function")
    for name, given in (("init", init), ("output", output)):
        if given is not None and not callable(given):
            raise InputError(name, type(given).__name__, "a function, or None")


def from_functions(
    *,
    init: Callable | None = None,
    initial_state: Callable,
    step: Callable,
    output: Callable | None = None,
    input_ndim: int = 1,
) -> FunctionCell:
    """A cell of your own functions; every instrument works on it.

    Args:
      init: (key, input_size) -> params; may be left out if you bring parameters of your own.
      initial_state: (params, batch_shape) -> state, a pytree whose leaves start with the batch axes.
      step: (params, state, x) -> state, for any batch shape, () too: h_t = step(params, h_{t-1}, x_t).
      output: (params, state, x) -> y_t from h_t; by default the hidden part of h_t (`state.h`, or the one array).
      input_ndim: trailing feature axes of one input: 1 for vectors, 0 for scalars or tokens, 3 for images.
    Returns:
      A hashable cell, equal to another made of the same function objects (so define them once, at module level).
    """
    check_functions(init, initial_state, step, output, input_ndim)
    return FunctionCell(init, initial_state, step, output, input_ndim)


def from_step(
    step: Callable,
    *,
    init: Callable | None = None,
    initial_state: Callable,
    output: Callable | None = None,
    batched: bool = True,
    input_ndim: int = 1,
) -> StepCell:
    """A cell from a foreign step `(params, state, x) -> (state, y)`, as the bodies of `jax.lax.scan` are written.

    Where such a step hides how y_t depends on h_t, its output is attributed to h_{t-1}: y_t = f(h_{t-1}, x_t)[1], and
    `cell.reads_previous` says so. Give `output` to attribute it to h_t.

    Args:
      step: (params, state, x) -> (state, y).
      init: (key, input_size) -> params; may be left out.
      initial_state: (params, batch_shape) -> state, or with batched=False: (params) -> state of one sequence.
      output: (params, state, x) -> y_t from h_t.
      batched: False if `step` takes one sequence only ([F] inputs); it is then mapped over the batch axes.
      input_ndim: trailing feature axes of one input.
    """
    check_functions(init, initial_state, step, output, input_ndim)
    if not isinstance(batched, bool):
        raise InputError("batched", repr(batched), "True or False")
    return StepCell(step, init, initial_state, output, batched, input_ndim)
