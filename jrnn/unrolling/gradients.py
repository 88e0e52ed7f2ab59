"""Through time: one backward pass gives the training gradient and dL/dh_t for every t."""

from collections.abc import Callable
from dataclasses import replace
from numbers import Number
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells._advance import state_shapes
from jrnn.types import Array, InputError, Inputs, Params, State
from jrnn.unrolling.checks import check_leaves
from jrnn.unrolling.layers import run
from jrnn.unrolling.reading import read
from jrnn.unrolling.records import Unrolled
from jrnn.unrolling.sequences import laid_out
from jrnn.unrolling.states import filled, move_axis, own_state
from jrnn.wording import arrays, brief


class Gradients(NamedTuple):
    """Gradients of a scalar loss L by backpropagation through time."""

    params: Params
    """dL/dparams, a pytree like the cell's parameters."""
    loss_params: Params
    """dL/dloss_params; None if there are none."""
    xs: Inputs
    """dL/dx_t [T, *B, F]; None for integer inputs."""
    initial_state: State
    """dL/dh_0 as an argument of `unroll` [*B, ...]: what the segment read first makes of it."""
    states: State
    """delta_t = dL/dh_t [T+1, *B, ...], for t = 0..T: all ways from h_t to the loss,
    delta_{t-1} = J_t^T delta_t + g_{t-1}. Zero on padding; laid out like `Unrolled.states`."""

    def __repr__(self) -> str:
        named = {name: getattr(self, name) for name in self._fields}
        return brief(self, *(f"{name} {arrays(tree)}" for name, tree in named.items() if tree is not None))


def value_and_grads(
    cell: Any,
    params: Params,
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    loss_params: Params = None,
    initial_state: State | None = None,
    **options: Any,
) -> tuple[Array, Gradients]:
    """The loss and all its gradients, dL/dh_t included, from one backward pass.

    Wrap the call in `jax.jit` in a training loop: called eagerly, a loss is traced anew each time.

    Args:
      cell, params, xs, initial_state: as for `unroll`.
      loss: `loss(unrolled) -> scalar`, or `loss(loss_params, unrolled)` if loss_params are given.
      loss_params: a pytree of further parameters, for example a readout's.
      options: any other option of `unroll` but `state_tap`: lengths, resets, mask, truncate, remat, ...
    Returns:
      (value, Gradients). With `truncate` they are the truncated ones: delta_t counts the paths that are left.
    Raises:
      InputError: the loss is not a real scalar, or as `unroll`.
    """
    check_leaves("loss_params", loss_params)
    check_loss(loss)
    if "state_tap" in options:
        raise InputError("state_tap", "one", "none: dL/dh_t is in the `states` that are returned")
    xs, read_once = read(cell, params, xs, initial_state=initial_state, **options)
    batch_shape, axis = read_once.batch_shape, read_once.time_axis
    tap, offset = (
        jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state_shapes(cell, params, lead))
        for lead in ((read_once.steps + 1, *batch_shape), batch_shape)
    )

    def of(params: Params, loss_params: Params, xs: Inputs, offset: State, tap: State) -> Array:
        start = jax.tree.map(jnp.add, filled(read_once.initial_state, own_state(cell, params, batch_shape)), offset)
        tapped = replace(read_once, initial_state=start, state_tap=tap, tap_is_zero=True)
        return loss_value(loss, loss_params, laid_out(run(cell, params, xs, tapped), tapped))

    value, grads = jax.value_and_grad(of, argnums=(0, 1, 2, 3, 4), allow_int=True)(params, loss_params, xs, offset, tap)
    of_xs = jax.tree.map(lambda g: None if g.dtype == jax.dtypes.float0 else move_axis(g, 0, axis), grads[2])
    return value, Gradients(grads[0], grads[1], of_xs, grads[3], move_axis(grads[4], 0, axis))


def state_gradients(cell: Any, params: Params, xs: Inputs, loss: Callable[..., Array], **options: Any) -> State:
    """delta_t = dL/dh_t for t = 0..T, [T+1, *B, ...]: the `states` of `value_and_grads`, with the same arguments."""
    return value_and_grads(cell, params, xs, loss, **options)[1].states


def check_loss(loss: Any) -> None:
    """InputError unless it can be called."""
    if not callable(loss):
        raise InputError("loss", f"a {type(loss).__name__}", "a function that returns one real number")


def loss_value(loss: Callable[..., Array], loss_params: Params, unrolled: Unrolled) -> Array:
    """`loss(unrolled)` or `loss(loss_params, unrolled)`, refused unless it is one real number."""
    check_loss(loss)
    value = loss(unrolled) if loss_params is None else loss(loss_params, unrolled)
    needed = "a function that returns one real number"
    if not (hasattr(value, "dtype") or isinstance(value, Number)):
        raise InputError("loss", f"a function that returns {type(value).__name__}", needed)
    if jnp.ndim(value) != 0 or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        given = f"{jnp.result_type(value)}{list(jnp.shape(value))}"
        raise InputError("loss", f"a function that returns {given}", needed)
    return value
