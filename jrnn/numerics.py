"""Norms that neither under- nor overflow, shares of nothing, choices and the floating-point leaves of a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.types import Array, Params, widened


def share_of(part: Array, whole: Array) -> Array:
    """part / whole, 0 where both are."""
    none = part == 0
    return jnp.where(none, jnp.zeros_like(part), part / jnp.where(none, jnp.ones_like(whole), whole))


def select(condition: Array, on_true: Any, on_false: Any) -> Any:
    """`jnp.where` leaf by leaf: a condition [*B], or a scalar, against leaves [*B, ...]."""

    def leaf(a: Array, b: Array) -> Array:
        further = (1,) * (jnp.ndim(a) - condition.ndim)
        return jnp.where(condition.reshape(condition.shape + further) if condition.ndim else condition, a, b)

    return jax.tree.map(leaf, on_true, on_false)


def split_floating(params: Params) -> tuple[list[Array], Callable[..., Params]]:
    """(the floating leaves, the function that puts such leaves back: among the others, or among Nones)."""
    leaves, treedef = jax.tree.flatten(params)
    chosen = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]

    def whole(real: list[Array], others: Any = leaves) -> Params:
        own, others = iter(real), others or [None] * len(leaves)
        return treedef.unflatten([next(own) if real else other for real, other in zip(chosen, others, strict=True)])

    return [leaf for leaf, real in zip(leaves, chosen, strict=True) if real], whole


def norm(vectors: Array) -> Array:
    """||v||_2 over the last axis, without under- or overflow in the squares: a part of 1e-30 in float32 is not zero.

    Of 16-bit vectors in float32."""
    vectors = widened(vectors)
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1, keepdims=True, initial=0))
    size = jnp.where((size > 0) & jnp.isfinite(size), size, jnp.ones_like(size))
    square = jnp.sum((vectors / jnp.broadcast_to(size, vectors.shape)) ** 2, axis=-1)
    none = square == 0  # where the root has no slope
    root = jnp.sqrt(jnp.where(none, jnp.ones_like(square), square))
    return jnp.where(none, jnp.zeros_like(square), size[..., 0] * root)


def norm_of(leaves: list[Array]) -> Array:
    """||.||_2 of all arrays as one vector, in the widest of their dtypes."""
    sizes = [norm(leaf.reshape(-1)) for leaf in leaves]
    with jax.numpy_dtype_promotion("standard"):  # a head in float32 over a cell in float64
        return norm(jnp.stack(sizes)) if leaves else jnp.zeros(())
