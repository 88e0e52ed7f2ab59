"""Flax's meaning of a call to an RNN, given by `jrnn.unroll`; what the nnx and linen modules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.interop.flax_carries import carries_of, carry_of, state_of
from jrnn.types import Array, InputError, Params
from jrnn.unrolling import unroll
from jrnn.unrolling.watching import named


def chosen(module: Any, **options: bool | None) -> list[bool]:
    """Each option of a call, or the module's own where it is None."""
    return [getattr(module, name) if given is None else given for name, given in options.items()]


def run_rnn(
    cell: Any,
    params: Params,
    inputs: Any,
    *,
    initial_carry: Any,
    reset_state: Any,
    seq_lengths: Any,
    time_major: bool,
    reverse: bool,
    keep_order: bool,
    name: str | None,
    **options: Any,
) -> tuple[Any, Any]:
    """(the final carry in Flax's order, the outputs with time where it was in `inputs`); `options` are `unroll`'s."""
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
    for which in ("resets", "mask"):
        flags, shape = options[which], (*batch[:axis], inputs.shape[axis], *batch[axis:])
        if flags is not None and jnp.shape(flags) != shape:
            needed = f"one flag a step and sequence, {shape} for inputs {inputs.shape} with time_major={time_major}"
            raise InputError(which, f"shape {jnp.shape(flags)}", needed)
    carries = {"initial_carry": initial_carry, "reset_state": reset_state}
    state, reset = (None if c is None else state_of(cell, params, c, batch, of) for of, c in carries.items())
    options |= {"initial_state": state, "reset_state": reset, "lengths": seq_lengths, "reverse": reverse}
    with named(name):
        ran = unroll(cell, params, inputs, time_axis=axis, **options)
    outputs = ran.outputs
    if reverse and not keep_order:
        outputs = jax.tree.map(lambda y: flip(y, seq_lengths, axis), outputs)
    return carry_of(ran.final_state), outputs


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
    (one, other), ways = parts_of(initial_carry, options, 2, "direction, (forward, backward)")
    carry_f, ys_f = forward(inputs, reverse=False, return_carry=True, **one, **ways)
    carry_b, ys_b = backward(inputs, reverse=True, keep_order=True, return_carry=True, **other, **ways)
    return (carry_f, carry_b), jax.tree.map(merge_fn, ys_f, ys_b)


def run_layers(layers: Sequence[Callable], inputs: Any, initial_carry: Any, **options: Any) -> tuple[Any, Any]:
    """(the layers' carries, the last one's outputs): each module reads the outputs of the one below."""
    parts, ways = parts_of(initial_carry, options, len(layers), f"of the {len(layers)} layers")
    after = []
    for layer, own in zip(layers, parts, strict=True):
        carry, inputs = layer(inputs, return_carry=True, **own, **ways)
        after.append(carry)
    return tuple(after), inputs


def parts_of(
    initial_carry: Any, options: dict[str, Any], count: int, of: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(each module's own carries, the options that all are given): only what was given, as Flax's own know fewer."""
    given = {name: value for name, value in options.items() if value is not None}
    firsts = carries_of("initial_carry", initial_carry, count, of)
    if "reset_state" not in given:
        return [{"initial_carry": first} for first in firsts], given
    resets = carries_of("reset_state", given.pop("reset_state"), count, of)
    pairs = zip(firsts, resets, strict=True)
    return [{"initial_carry": first, "reset_state": reset} for first, reset in pairs], given
