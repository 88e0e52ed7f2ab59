"""Gradient clipping that says what it did, and updates that never let a NaN in; both are Optax transformations."""

from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jrnn.types import Array, InputError, is_real_scalar, number_of


class ClipState(NamedTuple):
    """What `clip_by_global_norm` did: the last update, and counts since `init`. All are scalars."""

    norm: Array
    """n = sqrt(sum of squared entries) of the last update before clipping; float32, or float64 for float64 leaves."""
    factor: Array
    """min(1, max_norm / n), what the last update was multiplied by; the dtype of `norm`, NaN if the norm was."""
    clipped: Array
    """int32: how many updates were clipped, that is, did not have n < max_norm."""
    steps: Array
    """int32: how many updates were seen."""

    @property
    def rate(self) -> Array:
        """clipped / steps, in [0, 1]; 0 before the first update."""
        return self.clipped / jnp.maximum(self.steps, 1)


class SkipState(NamedTuple):
    """What `skip_nonfinite` carries. The counts are int32 scalars that stop at the largest int32."""

    inner_state: Any
    """The wrapped transformation's state: untouched, bit for bit, by a skipped update."""
    skipped: Array
    """How many updates were skipped since `init`."""
    consecutive: Array
    """How many were skipped in a row up to now; 0 after a good update."""
    last_finite: Array
    """bool: whether the last update was finite, and so was made."""


def global_norm(tree: Any) -> Array:
    """n = sqrt(sum over all entries of |entry|^2), accumulated in float32, in float64 for float64 leaves.

    16-bit leaves are widened first: squares and sums rounded to bfloat16 keep two to three digits, float16 overflows
    at 65,504. For float32 and float64 leaves the bits are those of `optax.tree.norm`.

    Args:
      tree: a pytree of arrays; None leaves and Optax's masked nodes are not counted.
    Returns:
      a scalar; 0 for a tree without arrays.
    """
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    wide = [leaf.astype(promoted(leaf.dtype, jnp.float32)) for leaf in leaves]
    sums = [jnp.sum((leaf.conj() * leaf).real) for leaf in wide]

    def add(a: Array, b: Array) -> Array:
        dtype = promoted(a.dtype, b.dtype)
        return a.astype(dtype) + b.astype(dtype)

    return jnp.sqrt(reduce(add, sums, jnp.zeros((), jnp.float32)))


def clip_by_global_norm(max_norm: float | Array) -> optax.GradientTransformation:
    """Scales a gradient whose global norm is not below `max_norm` down to it, and records the norm.

    With n the norm over all leaves (`global_norm`): g if n < max_norm, else (g / n) max_norm (Pascanu, Mikolov,
    Bengio 2013, section 3.2). The updates are `optax.clip_by_global_norm`'s, bit for bit, in float32 and float64:
    there is no epsilon, a NaN norm makes every entry NaN, an infinite norm makes finite entries 0 and infinite ones NaN
    (`skip_nonfinite` keeps such updates out). 16-bit gradients differ from Optax's: norm and scaling are done in
    float32 and the result is rounded once.

    Clipping bounds the step; it changes no direction, and brings back no gradient that vanished. Adding problem of 50
    steps, an IRNN of 64 units (Adam .002, 400 updates, 3 seeds): a loss of .037 to .069 with a limit of 1, of .16 to
    .19 without; with plain SGD it ends in NaN without, at rates of .01 to .1.

    Args:
      max_norm: the largest norm that passes, above 0, in the gradient's unit; infinity only records. A traced scalar
        is taken as it is: `optax.inject_hyperparams(clip_by_global_norm)(max_norm=schedule)` follows a schedule.
    Returns:
      an Optax transformation with state `ClipState`; `jrnn.cures.clip_rate(opt_state)` finds it in a chain.
    Raises:
      InputError: max_norm is no real number above 0.
    """
    max_norm = check_max_norm(max_norm)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, ClipState]:
        del params
        norm = global_norm(updates)
        limit = jnp.asarray(max_norm, norm.dtype)
        return scaled_down(updates, norm, limit, norm < limit, state)

    return optax.GradientTransformation(first_clip_state, update)


def first_clip_state(params: Any) -> ClipState:
    """Nothing seen yet."""
    norm = jnp.zeros((), jax.eval_shape(global_norm, params).dtype)
    return ClipState(norm, jnp.ones_like(norm), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def scaled_down(updates: Any, norm: Array, limit: Array, passes: Array, state: ClipState) -> tuple[Any, ClipState]:
    """(the updates, with their norm brought to the limit unless they pass; what was done)."""

    def clip(leaf: Array) -> Array:
        dtype = promoted(leaf.dtype, jnp.float32)
        scaled = leaf.astype(dtype) / norm.astype(dtype) * limit.astype(dtype)
        return jnp.where(passes, leaf, scaled.astype(leaf.dtype))

    factor = jnp.where(passes, jnp.ones_like(norm), limit / norm)
    counted = ClipState(
        norm.astype(state.norm.dtype),
        factor.astype(state.factor.dtype),
        jnp.where(passes, state.clipped, optax.safe_increment(state.clipped)),
        jnp.asarray(optax.safe_increment(state.steps)),
    )
    return jax.tree.map(clip, updates), counted


def skip_nonfinite(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Makes no update that is not finite: parameters and the state of `inner` then keep every bit.

    An update is skipped if a NaN or Inf is in the incoming gradient, in the update that `inner` makes of it, or in an
    entry of `inner`'s new state that was finite before (a gradient of 1e30 leaves Adam's update finite, but its
    second moment infinite for ever). The update returned then is -0.0, the neutral element of addition: p + (-0.0)
    has the bits of p, also for p = -0.0. However many are skipped in a row, the next bad one is skipped too;
    `optax.apply_if_finite` accepts it after `max_consecutive_errors`. Put it outermost: what is chained after it sees
    the -0.0.

    Args:
      inner: an Optax transformation, with or without extra arguments; integer leaves and None leaves pass through.
    Returns:
      an Optax transformation with state `SkipState`.
    Raises:
      InputError: inner is no Optax transformation.
    """
    if not (hasattr(inner, "init") and hasattr(inner, "update")):
        raise InputError("inner", repr(inner), "an Optax transformation (with `init` and `update`)")
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> SkipState:
        zero, finite = jax.device_put((np.zeros((), np.int32), np.ones((), bool)))  # compiles nothing
        return SkipState(inner.init(params), zero, zero, finite)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, SkipState]:
        new_updates, inner_state = inner.update(updates, state.inner_state, params, **extra_args)
        broke = jax.tree.map(lambda new, old: finite(old) & ~finite(new), inner_state, state.inner_state)
        good = jnp.stack(
            [jnp.ones((), bool)]
            + [jnp.all(finite(leaf)) for leaf in jax.tree.leaves((updates, new_updates))]
            + [~jnp.any(leaf) for leaf in jax.tree.leaves(broke)]
        ).all()
        new_updates = jax.tree.map(lambda leaf: jnp.where(good, leaf, jnp.full_like(leaf, -0.0)), new_updates)
        inner_state = jax.tree.map(lambda new, old: jnp.where(good, new, old), inner_state, state.inner_state)
        zero = jnp.zeros((), jnp.int32)
        return new_updates, SkipState(
            inner_state,
            jnp.where(good, state.skipped, optax.safe_increment(state.skipped)),
            jnp.where(good, zero, optax.safe_increment(state.consecutive)),
            good,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def clip_rate(opt_state: Any) -> Array:
    """The share of updates that were clipped, from any Optax state that holds a `ClipState`: sum clipped / sum steps.

    Args:
      opt_state: the state of `clip_by_global_norm`, `auto_clip` or `z_clip`, or of a chain, mask or wrapper around it.
    Returns:
      a scalar in [0, 1]; 0 before the first update.
    Raises:
      InputError: there is no `ClipState` in it.
    """
    states = clip_states(opt_state)
    if not states:
        raise InputError(
            "opt_state",
            f"a {type(opt_state).__name__} without clipping",
            "the state of a chain with `clip_by_global_norm`",
        )
    return sum(state.clipped for state in states) / jnp.maximum(sum(state.steps for state in states), 1)


def check_max_norm(max_norm: Any, argument: str = "max_norm") -> Any:
    """`max_norm` as a float above 0, or as it is where it is a traced scalar; else InputError."""
    if isinstance(max_norm, Tracer) and is_real_scalar(max_norm):
        return max_norm
    number = number_of(max_norm)
    if not number > 0:
        raise InputError(argument, f"{max_norm!r:.80}", "a number above 0")
    return number


def promoted(a: Any, b: Any) -> Any:
    """The dtype that holds both, also under strict promotion, where widening has to be asked for."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(a, b)


def clip_states(opt_state: Any) -> list[ClipState]:
    """Every `ClipState` in an Optax state, in its order."""
    return [leaf for leaf in jax.tree.leaves(opt_state, is_leaf=is_clip_state) if is_clip_state(leaf)]


def is_clip_state(node: Any) -> bool:
    """Whether a node of a state is a `ClipState`."""
    return isinstance(node, ClipState)


def finite(leaf: Any) -> Array:
    """Elementwise finiteness; everything that is no floating-point or complex number counts as finite."""
    leaf = jnp.asarray(leaf)
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return jnp.ones(leaf.shape, bool)
    return jnp.isfinite(leaf)
