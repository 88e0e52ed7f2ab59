"""Which steps happen: lengths, mask, resets and gradient cuts as arrays over time, checked at the boundary."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.boundary import as_array
from jrnn.types import Array, InputError, Shape


class Schedule(NamedTuple):
    """What happens at each step, every field [T, *B] of bool (or [T]) or None for 'nowhere out of the ordinary'."""

    inside: Array | None  # t < lengths
    valid: Array | None  # inside, and mask is True: the step happens
    resets: Array | None  # the state entering the step is the reset state
    cuts: Array | None  # no gradient passes into the state entering the step


def schedule(
    steps: int,
    batch_shape: Shape,
    lengths: Any,
    resets: Any,
    mask: Any,
    reverse: bool,
    truncate: int | None,
) -> Schedule:
    """Per-step decisions at original times; with `reverse` a step is entered from t + 1."""
    shape = (steps, *batch_shape)
    times = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    inside = None
    if lengths is not None:
        lengths = jnp.broadcast_to(check_lengths(lengths, steps, batch_shape)[None], shape)
        inside = times < lengths
    valid = inside
    if mask is not None:
        mask = check_flags("mask", mask, shape)
        valid = mask if valid is None else valid & mask
    if resets is not None:
        resets = check_flags("resets", resets, shape)
        resets = resets if inside is None else resets & inside
        if reverse and steps:
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    cuts = None
    if truncate is not None:
        last = (steps if lengths is None else lengths) - 1
        done = last - times if reverse else times  # steps done before this one
        cuts = (done % truncate == 0) & (done > 0)
        if inside is not None:
            cuts &= inside  # padding holds the state, and with it the gradient of final_state
        else:
            cuts = cuts.reshape(steps, -1)[:, 0] if cuts.size else jnp.zeros(steps, bool)
    return Schedule(inside, valid, resets, cuts)


def select(condition: Array, on_true: Any, on_false: Any) -> Any:
    """`jnp.where` leaf by leaf with a condition [*B] (or scalar) against leaves [*B, ...]."""

    def one(a: Array, b: Array) -> Array:
        wide = (
            condition.reshape(condition.shape + (1,) * (jnp.ndim(a) - condition.ndim)) if condition.ndim else condition
        )
        return jnp.where(wide, a, b)

    return jax.tree.map(one, on_true, on_false)


def zero_unless(condition: Array, tree: Any) -> Any:
    """Each leaf where the condition holds, zero elsewhere."""
    return select(condition, tree, jax.tree.map(jnp.zeros_like, tree))


def check_lengths(lengths: Any, steps: int, batch_shape: Shape) -> Array:
    """lengths [*B] as int32, values in 0..T where they can be seen (not under a trace)."""
    known = concrete(lengths)  # before it becomes a tracer, if this runs under a trace
    array = as_array("lengths", lengths)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError("lengths", f"dtype {array.dtype}", "integers")
    if array.shape != batch_shape:
        raise InputError("lengths", f"shape {array.shape}", f"one length a sequence, shape {batch_shape}")
    if known is not None and known.size and (known.min() < 0 or known.max() > steps):
        at = tuple(int(i) for i in np.argwhere((known < 0) | (known > steps))[0])
        raise InputError("lengths", f"{known[at]} at {at or 'the one sequence'}", f"values from 0 to T = {steps}")
    return array.astype(jnp.int32)


def check_flags(name: str, flags: Any, shape: Shape) -> Array:
    """[T, *B] of bool; integers 0 and 1 will do."""
    array = as_array(name, flags)
    if array.shape != shape:
        raise InputError(name, f"shape {array.shape}", f"one flag a step and sequence, [T, *B] = {shape}")
    if not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(name, f"dtype {array.dtype}", "flags of dtype bool")
    return array.astype(bool)


def concrete(array: Any) -> np.ndarray | None:
    """The values, or None under a trace, where there are none yet, and of what is no array."""
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError):
        return None
