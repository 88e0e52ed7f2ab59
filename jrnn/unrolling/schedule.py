"""Which steps happen: lengths, mask, resets and gradient cuts as arrays over time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.numerics import select
from jrnn.types import Array
from jrnn.unrolling.records import Options


class Schedule(NamedTuple):
    """What happens at each step, every field [T, *B] of bool (or [T]) or None for 'nowhere out of the ordinary'."""

    inside: Array | None = None
    """t < lengths."""
    valid: Array | None = None
    """Inside, and mask is True: the step happens."""
    resets: Array | None = None
    """The state entering the step is the reset state."""
    cuts: Array | None = None
    """No gradient passes into the state entering the step."""


def schedule_of(options: Options) -> Schedule:
    """Per-step decisions at original times; with `reverse` a step is entered from t + 1."""
    steps, lengths, resets = options.steps, options.lengths, options.resets
    shape = (steps, *options.batch_shape)
    times = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    inside = None
    if lengths is not None:
        lengths = jnp.broadcast_to(lengths[None], shape)
        inside = times < lengths
    valid = inside
    if options.mask is not None:
        valid = options.mask if valid is None else valid & options.mask
    if resets is not None:
        resets = resets if inside is None else resets & inside
        if options.reverse and steps:
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    cuts = None
    if options.truncate is not None:
        last = (steps if lengths is None else lengths) - 1
        done = last - times if options.reverse else times  # steps done before this one
        cuts = (done % options.truncate == 0) & (done > 0)
        if inside is not None:
            cuts &= inside  # padding holds the state, and with it the gradient of final_state
        else:
            cuts = cuts.reshape(steps, -1)[:, 0] if cuts.size else jnp.zeros(steps, bool)
    return Schedule(inside, valid, resets, cuts)


def zero_unless(condition: Array, tree: Any) -> Any:
    """Each leaf where the condition holds, zero elsewhere."""
    return select(condition, tree, jax.tree.map(jnp.zeros_like, tree))
