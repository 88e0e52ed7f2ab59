"""Derivatives of the primitives: reverse mode by the implementation's backward pass, all others by the spec.

The jvp of `recur_p` hands the tangents to `push_p`, which is linear in them. Evaluated (`jax.jvp`, `jacfwd`), that is
the jvp of the spec; transposed (`jax.grad`), it is `pull_p`, the implementation's own backward pass. The derivatives of
`push_p` and `pull_p` are those of the spec, which computes the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import ad

from jrnn.kernels.calls import Call, bind, flat_function, pull_p, push_p, recur_p
from jrnn.kernels.operands import RecurrenceResult
from jrnn.kernels.sharding import aligned
from jrnn.types import Array


def recur_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, call: Call) -> tuple[list, list]:
    """The recurrence with all states and the gates, and its tangents by `push_p`."""
    operands, events = jax.tree.unflatten(call.tree, primals)
    of_operands = tangents[: len(jax.tree.leaves(operands))]
    moves = tuple(type(t) is not ad.Zero for t in of_operands)
    full = replace(call, all_states=True, returns_gates=call.save_gates)
    result = bind(recur_p, full, operands, events)
    push = replace(full, returns_gates=False, needs_gradient=moves)
    moving = [t for t, moved in zip(of_operands, moves, strict=True) if moved]
    pushed = bind(push_p, push, operands, events, result._replace(last=()), moving)
    if not call.all_states:
        result, pushed = (each._replace(states=each.states[:1]) for each in (result, pushed))
    if not call.returns_gates:
        return jax.tree.leaves(result._replace(gates=None)), jax.tree.leaves(pushed)
    # the gates are for the backward pass alone: nothing is differentiated through them
    still = [ad.Zero(jax.typeof(gate).to_tangent_aval()) for gate in jax.tree.leaves(result.gates)]
    return jax.tree.leaves(result), [*jax.tree.leaves(pushed), *still]


def push_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, call: Call) -> tuple[list, list]:
    return flat_jvp(flat_function(Call.push, call), primals, tangents)


def pull_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, call: Call) -> tuple[list, list]:
    return flat_jvp(flat_function(Call.spec_pull, call), primals, tangents)


def flat_jvp(function: Any, primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[list, list]:
    """`jax.jvp` of a function of flat arrays, some of which (flags) have no tangents."""
    moves = [jnp.issubdtype(p.dtype, jnp.inexact) for p in primals]

    def of_moving(*moving: Array) -> list[Array]:
        remaining = iter(moving)
        full = [next(remaining) if moved else p for p, moved in zip(primals, moves, strict=True)]
        return jax.tree.leaves(function(*full))

    def only_moving(leaves: Sequence[Any]) -> tuple:
        return tuple(leaf for leaf, moved in zip(leaves, moves, strict=True) if moved)

    return jax.jvp(of_moving, only_moving(primals), tuple(map(ad.instantiate_zeros, only_moving(tangents))))


def push_transpose(cotangents: Sequence[Any], *leaves: Any, call: Call) -> list[Any]:
    """The cotangents of the tangents: the gradients, by `pull_p`."""
    operands, events, saved, tangents = jax.tree.unflatten(call.tree, leaves)
    known = len(leaves) - len(tangents)
    if any(map(ad.is_undefined_primal, leaves[:known])):
        raise NotImplementedError("a recurrence's tangents, transposed with respect to the point they are taken at")
    parts: list[Any] = [None if type(c) is ad.Zero else c for c in cotangents]
    half = len(parts) // 2  # of the states and of the last one; both have h, or h and c
    of_result = RecurrenceResult(tuple(parts[:half]), tuple(parts[half:]))
    gradients = bind(pull_p, call, *aligned((operands, events, saved, of_result)))
    return [None] * known + [summed_if_shared(t.aval, g) for t, g in zip(tangents, gradients, strict=True)]


def pull_transpose(cotangents: Sequence[Any], *leaves: Any, call: Call) -> list[Any]:
    """The cotangents of the gradients: the tangents of those results whose cotangents `pull_p` was given."""
    operands, events, saved, of_result = jax.tree.unflatten(call.tree, leaves)
    parts = jax.tree.leaves(
        (of_result.states, of_result.last), is_leaf=lambda leaf: leaf is None or ad.is_undefined_primal(leaf)
    )
    count = sum(leaf is not None for leaf in parts)
    if any(map(ad.is_undefined_primal, leaves[: len(leaves) - count])):
        raise NotImplementedError("a recurrence's gradients, transposed with respect to the point they are taken at")
    tangents = [ad.instantiate_zeros(c) for c in cotangents]
    inputs = aligned((operands, events, saved._replace(gates=None, last=()), tangents))
    pushed = jax.tree.leaves(bind(push_p, call, *inputs))
    pairs = zip(parts, pushed, strict=True)
    of_parts = [summed_if_shared(leaf.aval, tangent) for leaf, tangent in pairs if leaf is not None]
    return [None] * (len(leaves) - count) + of_parts


def summed_if_shared(aval: Any, array: Array) -> Array:
    """An array [E, ...], summed over the groups where what it belongs to is shared by them."""
    return jnp.sum(array, axis=0, keepdims=True) if aval.shape[0] < array.shape[0] else array


def pull_dce(used: Sequence[bool], *rest: Any) -> tuple[list[bool], Any]:
    """Dead code elimination: gradients that nobody reads are not computed (JAX 0.12 also says which inputs live)."""
    eqn = rest[-1]
    if not any(used):
        return [False] * len(eqn.invars), None
    call, still_read = eqn.params["call"], iter(used)
    call = replace(call, needs_gradient=tuple(needed and next(still_read) for needed in call.needs_gradient))
    outvars = [var for var, read in zip(eqn.outvars, used, strict=True) if read]
    return [True] * len(eqn.invars), eqn.replace(outvars=outvars, params={"call": call})
