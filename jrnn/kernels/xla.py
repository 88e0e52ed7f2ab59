"""The recurrences in XLA's own operations, for every platform, with a backward pass that waits for little.

Forwards it is the plain scan: x W_in taken for all steps ahead is slower on CPUs, where XLA does not vectorise the
gates of a slice of it. Backwards, a scan finds dz_t, the gradient of the pre-activations, alone; the gradients of the
weights and of the inputs are one product each over all steps, where autodiff adds a product to the weights' gradient
at every step. With many sequences that is the better way on a CPU, and `defers` says so.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels import slopes
from jrnn.kernels.checks import check_real, check_shape, check_states, check_weights
from jrnn.kernels.common import before, heard, inside, of_weights, read, with_states
from jrnn.kernels.problem import Events, Operands, Outcome, Recurrence, Weights, aligned
from jrnn.kernels.reference import ACTIVATIONS, add_bias, grouped, matmul, select
from jrnn.types import Array, wide_dtype

WIDE = 128
"""Features from which on the inputs and the state have a product each."""


def refuses(kind: str, dtype: Any) -> str | None:
    """It takes every recurrence but the linear one, whose backward pass autodiff finds as well."""
    return "a linear recurrence is as fast by the scan of its own step" if kind == "linear" else None


def forward(what: Recurrence, operands: Operands, events: Events, all_states: bool, keep: bool) -> Outcome:
    """The recurrence; with `keep`, what the gates are made of, for the backward pass, too: [E, T, B, H] each."""
    return grouped(partial(forward_group, what, all_states, keep), what, (operands, events))


def backward(
    what: Recurrence, wanted: Any, operands: Operands, events: Events, saved: Outcome, cotangents: Outcome
) -> Operands:
    """The gradients of the operands, None for those that are not `wanted` (a pytree of bool)."""
    body = partial(backward_group, what, wanted)
    return grouped(body, what, (operands, events, saved, cotangents))


def forward_group(
    what: Recurrence, all_states: bool, keep: bool, reverse: bool, one: Operands, events: Events
) -> Outcome:
    """One group: arrays without the leading axis."""

    def body(state: tuple[Array, ...], inputs: tuple) -> tuple[tuple[Array, ...], tuple]:
        x, now, pull = inputs
        if now.resets is not None:
            state = select(now.resets, one.restart, state)
        sums = sums_of(what.kind, one, x, state[0])
        after = advance(what.kind, gates_of(what.kind, one, sums, state[0]), state)
        if now.valid is not None:
            after = select(now.valid, after, state)
        if pull is not None:
            after = jax.tree.map(jnp.add, after, pull)
        return after, (after if all_states else after[:1], sums if keep else None)

    keep = keep and not is_its_gate(what, one)
    inputs = read(one, events), events, heard(what, one, events)
    last, (states, sums) = jax.lax.scan(body, one.start, inputs, reverse=reverse)
    return Outcome(states, last, sums)


def is_its_gate(what: Recurrence, one: Operands) -> bool:
    """Whether h is all that an Elman network's slope needs: it was not rounded and nothing was added."""
    exact = wide_dtype(one.w_rec.dtype) == one.w_rec.dtype
    return what.kind in ACTIVATIONS and exact and (one.tap is None or what.silent)


def step(weights: Weights, state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
    """The state after one step: x [*B, F], h or (h, c) [*B, H]."""
    check_weights(weights)
    check_real("x", x)
    kind, w_in, w_rec, bias, bias_rec = weights
    check_shape("x", x, (*x.shape[:-1], w_in.shape[0]))
    check_states(kind, "state", state, (*x.shape[:-1], w_rec.shape[0]))
    one = Operands(x, w_in, w_rec, bias, bias_rec, state, None, None)
    return advance(kind, gates_of(kind, one, sums_of(kind, one, x.astype(w_in.dtype), state[0]), state[0]), state)


def sums_of(kind: str, one: Operands, x: Array, h: Array) -> tuple[Array, ...]:
    """What the gates are made of, [..., H] each, for steps that read x and that h enters; any leading axes.

    Elman and LSTM: the pre-activations. GRU: those of r and z, then what r multiplies (with the reset after the
    product), then x W_n + b_n. Kept side by side in one array, XLA would not vectorise what reads its parts.
    """
    units = h.shape[-1]

    def joint(gates: slice) -> Array:
        """One product for x and h, whose weights XLA joins once, before the loop; wide inputs cost more to copy."""
        if x.shape[-1] >= WIDE:
            return add_bias(matmul(x, one.w_in[:, gates]), one.bias[gates]) + matmul(h, one.w_rec[:, gates])
        both = jnp.concatenate([x.astype(h.dtype), h], axis=-1)
        return add_bias(matmul(both, jnp.concatenate([one.w_in[:, gates], one.w_rec[:, gates]])), one.bias[gates])

    if kind in ACTIVATIONS and x.shape[-1] == 1:  # the product with x is part of the loop of the only gate
        return (add_bias(matmul(x, one.w_in), one.bias) + matmul(h, one.w_rec),)
    if not kind.startswith("gru"):
        return parts_of(joint(slice(None)), units)
    rz, n = slice(2 * units), slice(2 * units, None)
    if one.bias_rec is not None and x.shape[-1] != 1:
        from_x, from_h = add_bias(matmul(x, one.w_in), one.bias), matmul(h, one.w_rec)
        both = from_x[..., rz] + from_h[..., rz]
        return *parts_of(both, units), add_bias(from_h[..., n], one.bias_rec), from_x[..., n]
    # of one feature XLA would make the product with x part of several gates' loops, which it then does not vectorise
    from_x = add_bias(matmul(x, one.w_in[:, n]), one.bias[n])
    inner = () if one.bias_rec is None else (add_bias(matmul(h, one.w_rec[:, n]), one.bias_rec),)
    return *parts_of(joint(rz), units), *inner, from_x


def parts_of(array: Array, units: int) -> tuple[Array, ...]:
    """[..., H] each of an array [..., n H]."""
    return tuple(array[..., i : i + units] for i in range(0, array.shape[-1], units))


def gates_of(kind: str, one: Operands, sums: tuple[Array, ...], h: Array) -> tuple[Array, ...]:
    """The gates [..., H] each: LSTM i, f, g, o; GRU r, z, n, and with the reset after, what r multiplies."""
    if kind == "lstm":
        i, f, g, o = sums
        return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    if not kind.startswith("gru"):
        return (ACTIVATIONS[kind](sums[0]),)
    r, z = jax.nn.sigmoid(sums[0]), jax.nn.sigmoid(sums[1])
    if one.bias_rec is None:
        inner = matmul((r * h.astype(r.dtype)).astype(h.dtype), one.w_rec[:, 2 * h.shape[-1] :])
        return r, z, jnp.tanh(sums[2] + inner)
    return r, z, jnp.tanh(sums[3] + r * sums[2]), sums[2]


def advance(kind: str, gates: tuple[Array, ...], state: tuple[Array, ...]) -> tuple[Array, ...]:
    """The state after a step, from its gates."""
    h = state[0]
    if kind == "lstm":
        i, f, g, o = gates
        c = f * state[1].astype(f.dtype) + i * g
        return (o * jnp.tanh(c)).astype(h.dtype), c.astype(state[1].dtype)
    if kind.startswith("gru"):
        _, z, n = gates[:3]
        return (((1 - z) * n + z * h.astype(z.dtype)).astype(h.dtype),)
    return (gates[0].astype(h.dtype),)


def backward_group(
    what: Recurrence,
    wanted: Any,
    reverse: bool,
    one: Operands,
    events: Events,
    saved: Outcome,
    cotangents: Outcome,
) -> Operands:
    """One group: arrays without the leading axis."""
    entered = tuple(map(partial(before, events, reverse), saved.states, one.start, one.restart or one.start))
    direct, wide = is_its_gate(what, one), wide_dtype(one.w_rec.dtype)
    sums = saved.states[:1] if direct else saved.gates  # None: made again, step by step, to need no memory
    deferred = defers(one)
    back = one.w_rec.T

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        (deltas, restarts, weights), (x, entered, sums, now, pulls) = carry, inputs
        if sums is None:
            sums = sums_of(what.kind, one, read(one._replace(xs=x), now), entered[0])
        gates = sums if direct else gates_of(what.kind, one, sums, entered[0])
        deltas = tuple(d if g is None else d + g.astype(d.dtype) for d, g in zip(deltas, pulls, strict=True))
        moved = deltas if now.valid is None else select(now.valid, deltas, zeros(deltas))
        dz, reached = slope(what.kind, gates, entered, moved, back)
        if now.valid is not None:
            reached = tuple(jnp.where(now.valid[:, None], a, d) for a, d in zip(reached, deltas, strict=True))
        if now.resets is not None:
            gone = select(now.resets, reached, zeros(reached))
            restarts, reached = jax.tree.map(jnp.add, restarts, gone), select(now.resets, zeros(reached), reached)
        if now.cuts is not None:
            reached = select(now.cuts, zeros(reached), reached)
        found = dz, (gates[0] if what.kind.startswith("gru") else None)
        if not deferred:
            here, h, reset, dz = jax.tree.map(lambda a: a[None], (now, entered[0], *reversed(found)))
            part = of_weights(what, wanted, one._replace(xs=x[None]), here, h, reset, dz)
            weights, found = jax.tree.map(jnp.add, weights, part._replace(xs=None)), part.xs
        return (reached, restarts, weights), (found, deltas if any(wanted.tap or ()) else None)

    none = {name: None for name in ("xs", "start", "restart", "tap")}
    empty = jax.tree.map(
        lambda a, flag: jnp.zeros_like(a) if flag else None, one._replace(**none), wanted._replace(**none)
    )
    nothing, empty, _ = aligned((tuple(jnp.zeros_like(h, dtype=wide) for h in one.start), empty, entered))
    ends = tuple(n if g is None else g.astype(wide) for n, g in zip(nothing, cotangents.last, strict=True))
    pulls = (*cotangents.states, *(None,) * (len(nothing) - len(cotangents.states)))
    inputs = None if deferred and sums is not None else one.xs, entered, sums, events, pulls
    (starts, restarts, weights), (found, taps) = jax.lax.scan(
        body, (ends, nothing, None if deferred else empty), inputs, reverse=not reverse
    )
    if weights is None:
        weights = of_weights(what, wanted, one, events, entered[0], found[1], found[0])
    else:
        weights = weights._replace(xs=None if found is None else found[:, 0])
    return with_states(weights, wanted, one, starts, restarts, taps if taps is None else inside(events, taps))


def defers(one: Operands) -> bool:
    """Whether the gradients of the weights wait for dz of all steps, one product each.

    On a CPU, where a step has at least H sequences, its own product is as fast and dz [T, B, G H] is not kept.
    """
    rows, units = one.start[0].shape
    exact = wide_dtype(one.w_rec.dtype) == one.w_rec.dtype  # a sum of rounded parts would be worse
    few = not isinstance(rows, int) or rows < units  # an exported program's number may not be known
    return few or not exact or jax.default_backend() != "cpu"


def zeros(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)


def slope(
    kind: str, gates: tuple[Array, ...], entered: tuple[Array, ...], deltas: tuple[Array, ...], back: Array
) -> tuple[Array, tuple[Array, ...]]:
    """(dz_t [B, G H], what reaches the state before), from delta of h_t (and of c_t); `back` is W_rec^T [G H, H]."""
    dh, h = deltas[0], entered[0].astype(gates[0].dtype)
    size = h.shape[-1]
    if kind == "lstm":
        of_c, of_o, to_h = slopes.of_lstm(gates, entered[1].astype(h.dtype))
        dc = deltas[1] + dh * to_h
        dz = jnp.concatenate([*(dc * each for each in of_c), dh * of_o], axis=-1).astype(back.dtype)
        return dz, (matmul(dz, back), dc * gates[1])
    if kind == "gru":
        r, z, n, inner = gates
        of_r, of_z, of_n = slopes.of_gru(r, z, n, h, inner)
        dn = dh * of_n
        dz = jnp.concatenate([dn * of_r, dh * of_z, dn], axis=-1)
        from_h = jnp.concatenate([dz[..., : 2 * size], dn * r], axis=-1).astype(back.dtype)
        return dz.astype(back.dtype), (matmul(from_h, back) + dh * z,)
    if kind == "gru_reset_before":
        r, z, n = gates
        of_r, of_z, of_n = slopes.of_gru(r, z, n, h, h)
        dn = (dh * of_n).astype(back.dtype)
        inner = matmul(dn, back[2 * size :])
        rz = [inner * of_r, dh * of_z]
        dz = jnp.concatenate([*(each.astype(back.dtype) for each in rz), dn], axis=-1)
        return dz, (matmul(dz[..., : 2 * size], back[: 2 * size]) + dh * z + inner * r,)
    if kind == "tanh":
        dh = dh * slopes.OF_ACTIVATION[kind](gates[0])
    if kind == "relu":
        dh = jnp.where(gates[0] > 0, dh, jnp.zeros_like(dh))
    dz = dh.astype(back.dtype)
    return dz, (matmul(dz, back),)
