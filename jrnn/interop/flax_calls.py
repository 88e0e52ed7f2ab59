"""Flax's meaning of a call to an RNN, given by `jrnn.unroll`; what the nnx and linen modules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import BidirectionalState, LSTMState
from jrnn.cells._advance import state_shapes
from jrnn.types import Array, InputError, Params, State
from jrnn.unrolling import unroll
from jrnn.unrolling.checks import as_arrays
from jrnn.unrolling.states import describe


def chosen(module: Any, **options: bool | None) -> list[bool]:
    """Each option of a call, or the module's own where it is None."""
    return [getattr(module, name) if given is None else given for name, given in options.items()]


def run_rnn(
    cell: Any,
    params: Params,
    inputs: Any,
    *,
    initial_carry: Any,
    seq_lengths: Any,
    time_major: bool,
    reverse: bool,
    keep_order: bool,
    unroll_steps: int,
    implementation: str | Sequence[str] | None,
    key: Array | None,
) -> tuple[Any, Any]:
    """(the final carry in Flax's order, the outputs with time where it was in `inputs`)."""
    inputs = jnp.asarray(inputs)
    features = getattr(cell, "input_ndim", 1)
    axis = 0 if time_major else inputs.ndim - features - 1
    if inputs.ndim < features + 1:
        layout = "[time, *batch, features]" if time_major else "[*batch, time, features]"
        raise InputError("inputs", f"shape {inputs.shape}", f"{layout} with {features} feature axes")
    batch = inputs.shape[1 : inputs.ndim - features] if time_major else inputs.shape[:axis]
    if seq_lengths is not None and jnp.shape(seq_lengths) != batch:
        needed = f"one length a sequence, {batch} for inputs {inputs.shape} with time_major={time_major}"
        raise InputError("seq_lengths", f"shape {jnp.shape(seq_lengths)}", needed)
    state = None if initial_carry is None else state_of(cell, params, initial_carry, batch)
    ran = unroll(
        cell,
        params,
        inputs,
        initial_state=state,
        lengths=seq_lengths,
        reverse=reverse,
        unroll=unroll_steps,
        time_axis=axis,
        key=key,
        implementation=implementation,
    )
    outputs = ran.outputs
    if reverse and not keep_order:
        outputs = jax.tree.map(lambda y: flip(y, seq_lengths, axis), outputs)
    return carry_of(ran.final_state), outputs


def carry_of(state: State) -> Any:
    """A state in Flax's order and types: (c, h) for an LSTM, the array itself where there is one."""
    if isinstance(state, LSTMState):
        return state.c, state.h
    if isinstance(state, BidirectionalState) or type(state) is tuple:
        return tuple(carry_of(part) for part in state)
    if isinstance(state, tuple) and len(state) == 1:
        return state[0]
    return state


def state_of(cell: Any, params: Params, carry: Any, batch: tuple[int, ...]) -> State:
    """The inverse of `carry_of` for a state of this cell."""
    like = state_shapes(cell, params, batch)
    shapes, carry = carry_of(like), as_arrays("initial_carry", carry)
    if jax.tree.structure(carry) != jax.tree.structure(shapes) or any(
        jnp.shape(a) != b.shape for a, b in zip(jax.tree.leaves(carry), jax.tree.leaves(shapes), strict=True)
    ):
        parts = jax.tree.leaves(like, is_leaf=lambda node: isinstance(node, LSTMState))
        order = ", in Flax's order (c, h)" if any(isinstance(part, LSTMState) for part in parts) else ""
        raise InputError("initial_carry", describe(carry), f"{describe(shapes)}{order}")
    return restored(carry, like)


def restored(carry: Any, like: State) -> State:
    """The parts of a carry in the types of `like`."""
    if isinstance(like, LSTMState):
        return LSTMState(h=carry[1], c=carry[0])
    if isinstance(like, BidirectionalState):
        return BidirectionalState(*map(restored, carry, like))
    if type(like) is tuple:
        return tuple(map(restored, carry, like))
    if isinstance(like, tuple) and len(like) == 1:
        return type(like)(carry)  # pyright: ignore
    return carry


def flip(ys: Array, lengths: Any, axis: int) -> Array:
    """The valid prefix of ys [..., T (at `axis`), ...] from its end to its start; padding stays."""
    if lengths is None:
        return jnp.flip(ys, axis)
    front = jnp.moveaxis(ys, axis, 0)
    lengths = jnp.asarray(lengths, jnp.int32)
    times = jax.lax.broadcasted_iota(jnp.int32, (len(front), *lengths.shape), 0)
    mirrored = jnp.broadcast_to(lengths[None], times.shape) - 1 - times
    order = jnp.where(mirrored >= 0, mirrored, times)
    order = order.reshape(*order.shape, *(1,) * (front.ndim - order.ndim))
    return jnp.moveaxis(jnp.take_along_axis(front, order, axis=0), 0, axis)


def concatenate(forward: Array, backward: Array) -> Array:
    """Both directions side by side on the last axis."""
    return jnp.concatenate([forward, backward], axis=-1)


def run_both(
    forward: Callable, backward: Callable, merge_fn: Callable, inputs: Any, initial_carry: Any, **options: Any
) -> tuple[Any, Any]:
    """((forward carry, backward carry), merged outputs) of two RNN modules, both at the original times."""
    first, second = carries_of(initial_carry, 2, "direction, (forward, backward)")
    ways = dict(return_carry=True, **options)
    carry_f, ys_f = forward(inputs, initial_carry=first, reverse=False, **ways)
    carry_b, ys_b = backward(inputs, initial_carry=second, reverse=True, keep_order=True, **ways)
    return (carry_f, carry_b), jax.tree.map(merge_fn, ys_f, ys_b)


def run_layers(layers: Sequence[Callable], inputs: Any, initial_carry: Any, **options: Any) -> tuple[Any, Any]:
    """(the layers' carries, the last one's outputs): each module reads the outputs of the one below."""
    carries = carries_of(initial_carry, len(layers), f"of the {len(layers)} layers")
    after = []
    for layer, carry in zip(layers, carries, strict=True):
        carry, inputs = layer(inputs, initial_carry=carry, return_carry=True, **options)
        after.append(carry)
    return tuple(after), inputs


def carries_of(given: Any, count: int, of: str) -> Sequence[Any]:
    """The initial carries of several modules, or None for each."""
    if given is None:
        return [None] * count
    if not isinstance(given, tuple | list) or len(given) != count:
        what = f"{len(given)} carries" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
        raise InputError("initial_carry", what, f"one for each {of}, in a tuple")
    return given
