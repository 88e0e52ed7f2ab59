"""The spec: one step of each kind of recurrence, and the plain scan of it over time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.problem import Events, Operands, Outcome, Recurrence
from jrnn.types import Array, wide_dtype

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "identity": lambda z: z}


def matmul(x: Array, w: Array) -> Array:
    """x @ w, accumulated and returned in float32 for 16-bit operands."""
    return jnp.matmul(x, w, preferred_element_type=wide_dtype(w.dtype))


def add_bias(z: Array, bias: Array) -> Array:
    """z [*B, G] + bias [G], in z's dtype; the broadcast is explicit so that strict rank promotion passes."""
    return z + jnp.broadcast_to(bias.astype(z.dtype), z.shape)


def elman(activation: str, from_x: Array, h: Array, w_rec: Array) -> Array:
    """h' = phi(from_x + h W_rec), with from_x = x W_in + b [*B, H]."""
    return ACTIVATIONS[activation](from_x + matmul(h, w_rec)).astype(h.dtype)


def linear(from_x: Array, h: Array, w_rec: Array) -> Array:
    """h' = from_x + w_rec h, elementwise, w_rec [H]."""
    kept = jnp.broadcast_to(w_rec.astype(from_x.dtype), from_x.shape) * h.astype(from_x.dtype)
    return (kept + from_x).astype(h.dtype)


def lstm(from_x: Array, h: Array, c: Array, w_rec: Array) -> tuple[Array, Array]:
    """(h', c'): i, f, g, o from from_x + h W_rec [*B, 4H]; c' = f c + i g, h' = o tanh(c')."""
    z = from_x + matmul(h, w_rec)
    i, f, g, o = jnp.split(z, 4, axis=-1)
    after = jax.nn.sigmoid(f) * c.astype(z.dtype) + jax.nn.sigmoid(i) * jnp.tanh(g)
    return (jax.nn.sigmoid(o) * jnp.tanh(after)).astype(h.dtype), after.astype(c.dtype)


def gru(from_x: Array, h: Array, w_rec: Array, bias_rec: Array | None) -> Array:
    """h' = (1 - z) n + z h; n = tanh(x_n + r (h U_n + bias_rec)), or without bias_rec tanh(x_n + (r h) U_n)."""
    rz = 2 * h.shape[-1]
    if bias_rec is not None:
        from_h = matmul(h, w_rec)
        r, z = jnp.split(jax.nn.sigmoid(from_x[..., :rz] + from_h[..., :rz]), 2, axis=-1)
        candidate = r * add_bias(from_h[..., rz:], bias_rec)
    else:
        r, z = jnp.split(jax.nn.sigmoid(from_x[..., :rz] + matmul(h, w_rec[:, :rz])), 2, axis=-1)
        candidate = matmul((r * h.astype(r.dtype)).astype(h.dtype), w_rec[:, rz:])
    n = jnp.tanh(from_x[..., rz:] + candidate)
    return ((1 - z) * n + z * h.astype(z.dtype)).astype(h.dtype)


def advance(kind: str, one: Operands, state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
    """The state after one step of one group: x [B, F], leaves [B, H]."""
    from_x = add_bias(matmul(x.astype(one.w_in.dtype), one.w_in), one.bias)
    if kind == "lstm":
        return lstm(from_x, state[0], state[1], one.w_rec)
    if kind == "linear":
        return (linear(from_x, state[0], one.w_rec),)
    if kind in ("gru", "gru_reset_before"):
        return (gru(from_x, state[0], one.w_rec, one.bias_rec),)
    return (elman(kind, from_x, state[0], one.w_rec),)


def run(what: Recurrence, operands: Operands, events: Events) -> Outcome:
    """The whole recurrence, all states: group after group, `lax.scan` over time."""
    return grouped(partial(run_group, what.kind), what, (operands, events))


def grouped(body: Callable, what: Recurrence, args: tuple) -> Any:
    """`body(reverse, *args)` for every group, results stacked; arrays with a leading axis of 1 are shared.

    All groups of one direction are one program, however many there are.
    """
    groups = len(what.reverse)
    if len(set(what.reverse)) == 1:
        return together(body, what.reverse[0], groups, args)
    order = [[g for g, way in enumerate(what.reverse) if way == each] for each in (False, True)]
    if what.reverse == (False, True) * (groups // 2):  # by reshaping: XLA splits that over devices, but no gather

        def own(a: Array, way: int) -> Array:
            return a.reshape(groups // 2, 2, *a.shape[1:])[:, way]

        def joined(*leaves: Array) -> Array:
            return jnp.stack(leaves, axis=1).reshape(groups, *leaves[0].shape[1:])
    else:

        def own(a: Array, way: int) -> Array:
            return a[np.array(order[way])]

        def joined(*leaves: Array) -> Array:
            return jnp.concatenate(leaves)[np.argsort(order[0] + order[1])]

    def of(way: int) -> Any:
        mine = jax.tree.map(lambda a: a if a.shape[0] == 1 else own(a, way), args)
        return together(body, bool(way), len(order[way]), mine)

    return jax.tree.map(joined, of(0), of(1))


def together(body: Callable, reverse: bool, groups: int, args: tuple) -> Any:
    """Groups of one direction."""
    if groups == 1:
        return jax.tree.map(lambda a: a[None], body(reverse, *jax.tree.map(lambda a: a[0], args)))
    mapped = jax.tree.map(lambda a: 0 if a.shape[0] > 1 else None, args)
    own = jax.tree.map(lambda a: a if a.shape[0] > 1 else a[0], args)
    return jax.vmap(partial(body, reverse), in_axes=mapped, axis_size=groups)(*own)


def run_group(kind: str, reverse: bool, one: Operands, events: Events) -> Outcome:
    """One group: arrays without the leading axis."""

    def body(state: tuple[Array, ...], inputs: tuple) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        x, now, pull = inputs
        if now.cuts is not None:
            state = select(now.cuts, jax.lax.stop_gradient(state), state)
        if now.resets is not None:
            state = select(now.resets, one.restart, state)
        if now.valid is not None:
            x = select(now.valid, x, jnp.zeros_like(x))
        after = advance(kind, one, state, x)
        if now.valid is not None:
            after = select(now.valid, after, state)
        if pull is not None:
            if now.inside is not None:
                pull = select(now.inside, pull, jax.tree.map(jnp.zeros_like, pull))
            after = jax.tree.map(jnp.add, after, pull)
        return after, after

    last, states = jax.lax.scan(body, one.start, (one.xs, events, one.tap), reverse=reverse)
    return Outcome(states, last)


def select(condition: Array, on_true: Any, on_false: Any) -> Any:
    """Leaf by leaf, [B] against [B, n]."""
    return jax.tree.map(lambda a, b: jnp.where(jnp.broadcast_to(condition[:, None], a.shape), a, b), on_true, on_false)
