"""Notation, the cell protocol, and the one error for bad input.

T time steps, B batch (any number of batch axes, or none), F input features, H hidden units, N state size when
flattened (H for Elman and GRU, 2H for LSTM), K outputs. Time is axis 0: xs [T, *B, F], ys [T, *B, K]; k earlier,
t later, lag tau = t - k; delta_t = dL/dh_t; J_t = dh_t/dh_{t-1} [*B, N, N]; growth is in nats per step.

One word a thing, here and in the C++:
  step       one application of a cell, h_t from h_{t-1} and x_t; an update of the parameters is a training step
  time       the index of a step: states have times 0..T, states[0] is the initial state
  lag        t - k, how many steps back
  sequence   one element of the batch; its length counts the steps before its padding
  mask       the steps that happened; where a step did not, the state is held: h_t = h_{t-1}
  reset      the reset state takes the place of the state that enters a step
  cut        no gradient passes into the state that enters a step (truncated backpropagation)
  segment    the steps between two resets or cuts; with `remat`, the steps that are computed again together
  tap        zeros added to h_0..h_T: the gradient with respect to them is dL/dh_t
  pull       what an output pulls on the state it reads: (dy_t/dh_t)^T dL/dy_t
  credit     the part of dL/dh_k that comes from one output
  window     the steps k+1..t between two states
  gate       one of the functions that a state is made with; a kernel saves the gates for its backward pass
  group      one of several recurrences that a kernel runs side by side: two directions, the members of an ensemble
  start      the initial state of a kernel's call, as reset_state is what its resets go to
  implementation  one way to run a recurrence; the reference is the plain scan that all others are compared with
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Array: TypeAlias = jax.Array
Params: TypeAlias = Any  # a pytree of arrays
State: TypeAlias = Any  # a pytree of arrays, every leaf starting with *B
Inputs: TypeAlias = Any  # an array or a pytree of arrays, or None for an autonomous cell
Shape: TypeAlias = tuple[int, ...]

UNKNOWN = -100
"""The class that stands for a missing one, as in PyTorch's `ignore_index`."""


class InputError(ValueError):
    """Bad input at a public boundary: names the argument, what was given and what is needed."""

    def __init__(self, argument: str, given: object, needed: str):
        super().__init__(f"{argument}: got {given}; need {needed}")
        self.argument = argument


@runtime_checkable
class Cell(Protocol):
    """An immutable, hashable description of a recurrence with pure functions; it passes through `jax.jit` as static.

    h_t = step(params, h_{t-1}, x_t) and y_t = output(params, h_t, x_t), for any batch shape, () too.

    Optional attributes, each with its default:
      input_ndim (1): number of trailing feature axes of one input x; 0 for scalar inputs or tokens.
      reads_previous (False): y_t = output(params, h_{t-1}, x_t) instead, as for a foreign step `(h, y) = f(h, x)`
        whose output cannot be told apart from its state; credit for y_t then goes to h_{t-1}.
      noise(params, key, t, batch_shape) -> noise: what `step` and `output` then accept as keyword `noise=`
        (dropout masks); drawn anew for every step, never part of the state; None without a key.
      reads, a keyword of `step` (None): a function whose result reads(h_{t-1}) the recurrent weights read in the place
        of h_{t-1}; what carries h_{t-1} itself on reads h_{t-1}. For the masks of `dropout(recurrent=)`.
      kernel(params) -> `jrnn.kernels.Weights`, or None: the step is one of the recurrences that have kernels; the
        output must then take [T, *B] as its batch. `lacks_kernel` says why it is None, for `explain`.
      prepared(params) -> params: with what every step would make of them, made once for a loop over time; `step`,
        `output`, `kernel` and `initial_state` take either.
      project(params, x) -> what the kernel reads in place of x: x [*B, F] -> [*B, F'], [T, *B] in front of it too; for
        recurrences whose gates read x alone, so that all products stand outside the loop.
      parts(params) -> {name: (cell, params)}: the cells it is made of (a stack's layers), which choose their kernels.
      gates: `jrnn.cells.Gates`, the names of the blocks in the parameters' last axis and which of them keeps the state.
      jacobian(params, state, x) -> (J [*B, N, N], dh_t/dx_t [*B, N, F]): the closed form of the step's derivatives.
      factors(params, state, x) -> [*B, H]: J where it is diagonal; complex numbers where the state is (re, im) of H of
        them. Products of Jacobians are then products of these, which `jrnn.gradient_flow` uses.
    """

    def init(self, key: Array, input_size: int | None) -> Params: ...

    def initial_state(self, params: Params, batch_shape: Shape) -> State: ...

    def step(self, params: Params, state: State, x: Inputs) -> State: ...

    def output(self, params: Params, state: State, x: Inputs) -> Any: ...


def hidden_part(state: State) -> Any:
    """The hidden part of a state, what a cell outputs by default: `state.h`, or the state itself if it is an array."""
    if hasattr(state, "h"):
        return state.h
    if len(jax.tree.leaves(state)) == 1:
        return jax.tree.leaves(state)[0]
    raise InputError(
        "output",
        f"none, and a state of type {type(state).__name__}",
        "an `output` function, or a state with a field `h`",
    )


def with_hidden(state: State, h: Any) -> State:
    """`state` with its hidden part replaced."""
    return state._replace(h=h) if hasattr(state, "h") else jax.tree.unflatten(jax.tree.structure(state), [h])


def ravel_state(state: State, batch_ndim: int | None = None) -> Array:
    """Flattens a state to one vector per batch element: leaves [*B, n_i] (or [*B, ...]) -> [*B, N].

    Args:
      state: a pytree of arrays, for example an `LSTMState` or stacked states [T+1, *B, ...].
      batch_ndim: how many leading axes to keep; by default all but each leaf's last.
    Returns:
      [*B, N], the leaves side by side in pytree order: (h, c) for an LSTM, layer by layer for a stack.
    Raises:
      InputError: a leaf has too few axes, or the leading axes differ.
    """
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(state)]
    if not leaves:
        raise InputError("state", "a pytree without arrays", "at least one array")
    keep = leaves[0].ndim - 1 if batch_ndim is None else batch_ndim
    lead = leaves[0].shape[: max(keep, 0)]
    for leaf in leaves:
        if keep < 0 or leaf.ndim < keep or leaf.shape[:keep] != lead:
            raise InputError(
                "state",
                f"leaves of shapes {[x.shape for x in leaves]}",
                f"the same {max(keep, 1)} leading axes in each",
            )
    dtype = jnp.result_type(*leaves)
    flat = [leaf.reshape(*lead, size_of(leaf.shape[keep:])).astype(dtype) for leaf in leaves]
    return flat[0] if len(flat) == 1 else jnp.concatenate(flat, axis=-1)


def unravel_state(vector: Array, like: State) -> State:
    """The inverse of `ravel_state` for one batch element: [N] -> a state with the shapes and dtypes of `like`."""
    leaves, treedef = jax.tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        stop = start + size_of(leaf.shape)
        parts.append(vector[start:stop].reshape(leaf.shape).astype(leaf.dtype))
        start = stop
    return jax.tree.unflatten(treedef, parts)


def size_of(shape: Shape) -> int:
    """The number of elements of an array of this shape."""
    size = 1
    for n in shape:
        size *= n
    return size


def number_of(value: Any) -> float:
    """A real number, Python's, NumPy's or a JAX scalar, as a float; NaN for what is none, or is traced."""
    if isinstance(value, bool | np.bool_ | Tracer):
        return math.nan
    if not isinstance(value, Real) and not is_real_scalar(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def is_real_scalar(value: Any) -> bool:
    """Whether it is an array or a tracer of shape () and a real dtype."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or getattr(value, "shape", None) != ():
        return False
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def wide_dtype(dtype: Any) -> Any:
    """float32 for 16-bit floats, else the dtype itself: what sums, gates and random draws are computed in."""
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def widened(array: Array) -> Array:
    """16-bit floats as float32, for sums, products of many factors and norms; all else as it is."""
    narrow = jnp.issubdtype(array.dtype, jnp.floating) and jnp.finfo(array.dtype).bits < 32
    return array.astype(jnp.float32) if narrow else array
