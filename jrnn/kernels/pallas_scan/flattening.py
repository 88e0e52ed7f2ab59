"""The body of a scan as a function of flat lists of the arrays that it reads: what it does not read needs no memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.operands import Events
from jrnn.types import Array


class Step(NamedTuple):
    """The body of a scan."""

    run: Callable
    """(whole, still, streams at one step, carry) -> (carry, ys): lists of arrays, vectors as matrices of one row."""
    whole: list[Array]
    """The weights that are read."""
    still: list[Array]
    """What is read of `rows`, [B, n]."""
    streams: list[Array]
    """What is read of xs, [T, B, n]; last the flags, if there are any, as bits of [T, B, 1]."""
    outputs: list[Any]
    """The shapes and dtypes of ys at one step, [B, n]."""
    structure: Any
    """The pytree of ys."""


def flat_step(body: Callable, weights: Any, rows: Any, carry: Any, xs: Any, events: Events) -> Step:
    """`body(weights, rows, carry, x, now) -> (carry, y)` as lists; the flags of `now` get the shape of the carry."""
    given, inner = jax.tree.flatten((weights, rows, xs))
    kinds = [kind for kind, each in enumerate((weights, rows, xs)) for _ in jax.tree.leaves(each)]
    states, state_tree = jax.tree.flatten(carry)
    names = [name for name, flag in events._asdict().items() if flag is not None]
    if names:
        given, kinds = [*given, packed([getattr(events, name) for name in names])], [*kinds, 2]

    def run(given: Sequence[Any], states: Sequence[Array]) -> tuple[list[Array], Any]:
        leaves, now = given, Events()
        if names:
            *leaves, bits = given
            now = Events(**dict(zip(names, unpacked(bits, states[0].shape, len(names)), strict=True)))
        weights, rows, x = inner.unflatten(leaves)
        states, y = body(weights, rows, state_tree.unflatten(states), x, now)
        return jax.tree.leaves(states), y

    avals = [jax.ShapeDtypeStruct(a.shape[kind == 2 :], a.dtype) for a, kind in zip(given, kinds)]
    read, (_, y) = reads(run, avals, [jax.ShapeDtypeStruct(h.shape, h.dtype) for h in states])
    outputs, structure = jax.tree.flatten(y)
    pairs = [(a, kind) for a, kind, is_read in zip(given, kinds, read) if is_read]
    whole, still, streams = ([a for a, of in pairs if of == kind] for kind in range(3))

    def run_flat(whole: list, still: list, x: list, states: list) -> tuple[list[Array], list[Array]]:
        remaining = iter((*whole, *still, *x))
        filled: list[Any] = [next(remaining) if is_read else aval for aval, is_read in zip(avals, read)]
        filled = [a[0] if a.ndim > aval.ndim else a for a, aval in zip(filled, avals)]
        states, y = run(filled, states)
        return states, jax.tree.leaves(y)

    return Step(run_flat, whole, still, streams, outputs, structure)


def reads(function: Callable, given: list, states: list) -> tuple[list[bool], Any]:
    """(whether the function reads each array of `given`, the shapes of what it returns)."""
    jaxpr, result = jax.make_jaxpr(function, return_shape=True)(given, states)
    read = {id(var) for eqn in jaxpr.eqns for var in eqn.invars} | {id(var) for var in jaxpr.jaxpr.outvars}
    return [id(var) in read for var in jaxpr.jaxpr.invars[: len(given)]], result


def packed(flags: list[Array]) -> Array:
    """Flags [T, B] as bits of one number each, [T, B, 1]."""
    bits: Any = sum(jnp.where(flag, jnp.int32(1 << i), jnp.int32(0)) for i, flag in enumerate(flags))
    return bits[..., None]


def unpacked(bits: Array, shape: tuple[int, ...], count: int) -> list[Array]:
    """The flags [B, H] of bits [B, 1]."""
    wide = jnp.broadcast_to(bits, shape)
    return [(wide & jnp.int32(1 << i)) != jnp.int32(0) for i in range(count)]
