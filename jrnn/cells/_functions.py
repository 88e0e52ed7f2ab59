"""Cells made of a user's own functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._base import static_cell
from jrnn.types import Array, InputError, Params, Shape, State, hidden_part, size_of


@static_cell
class FunctionCell:
    """See `from_functions`. Equal to another one if the functions are the same objects."""

    init_fn: Callable | None
    initial_state_fn: Callable
    step_fn: Callable
    output_fn: Callable | None
    input_ndim: int
    noise_fn: Callable | None = None

    @property
    def draws(self) -> bool:
        return self.noise_fn is not None

    def init(self, key: Array, input_size: int | None) -> Params:
        if self.init_fn is None:
            raise InputError("init", "None", "an `init` function, or parameters of your own")
        return self.init_fn(key, input_size)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        return self.initial_state_fn(params, batch_shape)

    def noise(self, params: Params, key: Array, t: Any, batch_shape: Shape) -> Any:
        return None if self.noise_fn is None else self.noise_fn(params, key, t, batch_shape)

    def step(self, params: Params, state: State, x: Any, noise: Any = None) -> State:
        return with_noise("step", self.step_fn, params, state, x, *self.drawn(noise))

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        if self.output_fn is None:
            return hidden_part(state)
        return with_noise("output", self.output_fn, params, state, x, *self.drawn(noise))

    def drawn(self, noise: Any) -> tuple[Any, ...]:
        """The further argument of functions that take noise."""
        return (noise,) if self.draws else ()


@static_cell
class StepCell:
    """See `from_step`."""

    step_fn: Callable
    init_fn: Callable | None
    initial_state_fn: Callable
    output_fn: Callable | None
    batched: bool
    input_ndim: int
    noise_fn: Callable | None = None

    @property
    def reads_previous(self) -> bool:
        return self.output_fn is None

    @property
    def draws(self) -> bool:
        return self.noise_fn is not None

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

    def noise(self, params: Params, key: Array, t: Any, batch_shape: Shape) -> Any:
        """What the step is given; one draw a sequence, each from a key of its own, if the step takes one sequence."""
        if self.noise_fn is None or self.batched:
            return None if self.noise_fn is None else self.noise_fn(params, key, t, batch_shape)
        draw = self.noise_fn
        if not batch_shape:
            return draw(params, key, t, ())
        each = jax.vmap(lambda key: draw(params, key, t, ()))(jax.random.split(key, size_of(batch_shape)))
        return jax.tree.map(lambda leaf: leaf.reshape(*batch_shape, *leaf.shape[1:]), each)

    def mapped(self, function: Callable, params: Params, state: State, x: Any, noise: Any) -> Any:
        """`function(params, state, x)`, over the batch axes if it takes one sequence only; with noise if there is."""
        further = (noise,) if self.draws else ()
        if not self.batched:
            alone = jax.tree.leaves(jax.eval_shape(self.initial_state_fn, params))[0]
            for _ in range(jax.tree.leaves(state)[0].ndim - len(alone.shape)):
                function = jax.vmap(function, in_axes=(None, 0, 0, *(0,) * len(further)))
        return with_noise("step", function, params, state, x, *further)

    def step(self, params: Params, state: State, x: Any, noise: Any = None) -> State:
        return self.mapped(lambda *given: self.step_fn(*given)[0], params, state, x, noise)

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        if self.output_fn is None:
            return self.mapped(lambda *given: self.step_fn(*given)[1], params, state, x, noise)
        return self.mapped(self.output_fn, params, state, x, noise)


def with_noise(name: str, function: Callable, *given: Any) -> Any:
    """`function(*given)`; InputError where it got None for noise, as every run is checked with, and needs noise."""
    try:
        return function(*given)
    except (TypeError, AttributeError) as error:
        if len(given) < 4 or given[3] is not None or "NoneType" not in str(error):
            raise
        found = f"{error}, where noise is None, as in runs without a key"
        raise InputError(name, found, "what does without noise too: z if noise is None else z + noise") from error


def check_functions(init: Any, initial_state: Any, step: Any, output: Any, noise: Any, input_ndim: Any) -> None:
    """InputError unless all are functions (`init`, `output` and `noise` may be None) of as many arguments as they will
    be given, and input_ndim counts axes."""
    if isinstance(input_ndim, bool) or not isinstance(input_ndim, int) or input_ndim < 0:
        raise InputError("input_ndim", repr(input_ndim), "the number of feature axes of one input, 0 or more")
    if not callable(initial_state) or not callable(step):
        name, given = ("step", step) if callable(initial_state) else ("initial_state", initial_state)
        raise InputError(name, type(given).__name__, "a function")
    for name, given in (("init", init), ("output", output), ("noise", noise)):
        if given is not None and not callable(given):
            raise InputError(name, type(given).__name__, "a function, or None")
    if noise is not None:
        check_takes("noise", noise, "(params, key, t, batch_shape)")
        for name, given in (("step", step), ("output", output)):
            if given is not None:
                check_takes(name, given, "(params, state, x, noise)")
        return
    for name, given in (("step", step), ("output", output)):
        if given is not None and takes(given, 4) and not takes(given, 3):
            needed = "one of (params, state, x); or noise=, what draws the fourth argument"
            raise InputError(name, f"a function of {inspect.signature(given)}", needed)


def takes(function: Callable, count: int) -> bool:
    """Whether the function can be called with so many arguments; built-in functions may not tell, and count as such."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def check_takes(name: str, function: Callable, arguments: str) -> None:
    """InputError unless the function can be called with these four arguments."""
    if not takes(function, 4):
        given = f"a function of {inspect.signature(function)}"
        raise InputError(name, given, f"one of {arguments}, beside `noise=`")


def from_functions(
    *,
    init: Callable | None = None,
    initial_state: Callable,
    step: Callable,
    output: Callable | None = None,
    input_ndim: int = 1,
    noise: Callable | None = None,
) -> FunctionCell:
    """A cell of your own functions; every instrument works on it.

    With `noise`, the step is (and `output`, if there is one) a function (params, state, x, noise): noise is what the
    function drew for time t, the same in both, and None in a run without a key. For example noise in the units, of
    deviation sigma:

        def noise(params, key, t, batch_shape):
            return sigma * jax.random.normal(jax.random.fold_in(key, t), (*batch_shape, hidden))

        def step(params, h, x, noise):
            z = h @ params["w"] + x @ params["u"]
            return jnp.tanh(z if noise is None else z + noise)

    Args:
      init: (key, input_size) -> params; may be left out if you bring parameters of your own.
      initial_state: (params, batch_shape) -> state, a pytree whose leaves start with the batch axes.
      step: (params, state, x) -> state, for any batch shape, () too: h_t = step(params, h_{t-1}, x_t).
      output: (params, state, x) -> y_t from h_t; by default the hidden part of h_t (`state.h`, or the one array).
      input_ndim: trailing feature axes of one input: 1 for vectors, 0 for scalars or tokens, 3 for images.
      noise: (params, key, t, batch_shape) -> a pytree of arrays. The key is that of the whole run, `unroll(key=...)`
        (`fit` makes one a training step): fold in t to draw anew for every step, or do not, to draw once a sequence.
        A cell without it refuses a key.
    Returns:
      A hashable cell, equal to another made of the same function objects (so define them once, at module level).
    Raises:
      InputError: one of them is no function, or with `noise` does not take the arguments named here.
    """
    check_functions(init, initial_state, step, output, noise, input_ndim)
    return FunctionCell(init, initial_state, step, output, input_ndim, noise)


def from_step(
    step: Callable,
    *,
    init: Callable | None = None,
    initial_state: Callable,
    output: Callable | None = None,
    batched: bool = True,
    input_ndim: int = 1,
    noise: Callable | None = None,
) -> StepCell:
    """A cell from a foreign step `(params, state, x) -> (state, y)`, as the bodies of `jax.lax.scan` are written.

    Where such a step hides how y_t depends on h_t, its output is attributed to h_{t-1}: y_t = f(h_{t-1}, x_t)[1], and
    `cell.reads_previous` says so. Give `output` to attribute it to h_t.

    Args:
      step: (params, state, x) -> (state, y); with `noise` (params, state, x, noise) -> (state, y).
      init: (key, input_size) -> params; may be left out.
      initial_state: (params, batch_shape) -> state, or with batched=False: (params) -> state of one sequence.
      output: (params, state, x) -> y_t from h_t; with `noise` it takes that too.
      batched: False if `step` takes one sequence only ([F] inputs); it is then mapped over the batch axes.
      input_ndim: trailing feature axes of one input.
      noise: (params, key, t, batch_shape) -> a pytree of arrays, as in `from_functions`; with batched=False it is asked
        for one sequence at a time, batch_shape = (), each with a key of its own.
    Raises:
      InputError: one of them is no function, or with `noise` does not take the arguments named here.
    """
    check_functions(init, initial_state, step, output, noise, input_ndim)
    if not isinstance(batched, bool):
        raise InputError("batched", repr(batched), "True or False")
    return StepCell(step, init, initial_state, output, batched, input_ndim, noise)
