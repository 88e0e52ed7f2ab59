"""One rule for every implementation: reverse mode takes the kernel, all other derivatives the spec.

Three primitives. `recur_p` is the recurrence. Its jvp hands the tangents to `push_p`, linear in them: evaluated
(`jax.jvp`, `jacfwd`), it is the jvp of `reference.run`; transposed (`jax.grad`), it is `pull_p`, the implementation's
own backward pass. Derivatives of `push_p` and `pull_p` are those of the spec, the same functions. `jax.vmap` merges the
new axis into the sequences or the groups.

(`jax.experimental.hijax` would say this in one class. Under jax 0.10 a program that holds such a primitive is
dispatched by Python at every call, 0.3 ms; under 0.12 the class has another name.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters.partial_eval import dce_rules

from jrnn.kernels import associative, native, reference, xla
from jrnn.kernels.batching import into_groups, into_rows, rows_axes
from jrnn.kernels.partition import ask_for_devices, on_several_devices, over_devices
from jrnn.kernels.problem import Events, Operands, Outcome, Scan, aligned
from jrnn.types import Array

IMPLEMENTATIONS: dict[str, Any] = {"native": native, "associative": associative, "xla": xla}


@dataclass(frozen=True)
class Call:
    """The static part of a call of one of the primitives; hashable."""

    scan: Scan
    name: str
    """The implementation."""
    keep: bool
    """Whether the backward pass starts from the gates, or computes them again from the states."""
    tree: Any
    """The structure of the arguments."""
    all_states: bool = True
    """Every c is returned, too."""
    kept: bool = False
    """The gates are returned, too."""
    wanted: tuple[bool, ...] = ()
    """Of each operand, in order: whether it moves (push) or its gradient is asked for (pull)."""

    def recur(self, operands: Operands, events: Events) -> Outcome:
        return IMPLEMENTATIONS[self.name].forward(self.scan, operands, events, self.all_states, self.kept)

    def push(self, operands: Operands, events: Events, saved: Outcome, moves: list[Array]) -> Outcome:
        """Tangents of what `recur` returns but the gates; `saved` is a function of the operands and not read."""
        given = iter(moves)
        leaves, tree = jax.tree.flatten(operands)
        tangents = [next(given) if moved else jnp.zeros_like(a) for a, moved in zip(leaves, self.wanted, strict=True)]
        # groups that share an operand may move it differently, and different operands alike
        both = [jnp.broadcast_arrays(a, t) for a, t in zip(leaves, tangents, strict=True)]
        leaves, tangents = [a for a, _ in both], [t for _, t in both]
        _, out = jax.jvp(lambda o: self.spec(o, events), (tree.unflatten(leaves),), (tree.unflatten(tangents),))
        return out

    def pull(self, operands: Operands, events: Events, saved: Outcome, cotangents: Outcome) -> list[Array]:
        """The gradients of the operands that are wanted, of every group [E, ...] where they share one, too."""
        wanted = jax.tree.unflatten(jax.tree.structure(operands), self.wanted)
        found = IMPLEMENTATIONS[self.name].backward(self.scan, wanted, operands, events, saved, cotangents)
        leaves = jax.tree.structure(operands).flatten_up_to(found)
        return [leaf for leaf, moved in zip(leaves, self.wanted, strict=True) if moved]

    def spec(self, operands: Operands, events: Events) -> Outcome:
        found = reference.run(self.scan, operands, events)
        return found if self.all_states else found._replace(states=found.states[:1])

    def spec_pull(self, operands: Operands, events: Events, saved: Outcome, cotangents: Outcome) -> list[Array]:
        """`pull` as a function of the operands and cotangents alone: what was saved follows from the operands."""
        groups = len(self.scan.reverse)
        own = jax.tree.map(lambda a: jnp.broadcast_to(a, (groups, *a.shape[1:])), operands)
        found, back = jax.vjp(lambda o: reference.run(self.scan, o, events), own)
        given = [
            jnp.zeros_like(leaf) if c is None else jnp.broadcast_to(c, leaf.shape)
            for leaf, c in zip(*(jax.tree.leaves(t, is_leaf=is_none) for t in (found, cotangents)), strict=True)
            if leaf is not None
        ]
        (grads,) = back(jax.tree.unflatten(jax.tree.structure(found), given))
        return [leaf for leaf, moved in zip(jax.tree.leaves(grads), self.wanted, strict=True) if moved]


recur_p, push_p, pull_p = Primitive("jrnn_recur"), Primitive("jrnn_push"), Primitive("jrnn_pull")
METHODS = {recur_p: Call.recur, push_p: Call.push, pull_p: Call.pull}


def bind(primitive: Any, call: Call, *args: Any) -> Any:
    """The primitive applied to pytrees."""
    leaves, tree = jax.tree.flatten(args)
    call = replace(call, tree=tree)
    flat = primitive.bind(*leaves, call=call)
    return jax.tree.unflatten(shapes(primitive, call, tuple(map(jax.typeof, leaves)))[1], flat)


def run(primitive: Any, call: Call) -> Any:
    """The function of flat arrays that a primitive stands for."""
    return lambda *leaves: METHODS[primitive](call, *jax.tree.unflatten(call.tree, leaves))


@lru_cache(maxsize=1024)
def shapes(primitive: Any, call: Call, avals: tuple) -> tuple[list[Any], Any]:
    """(abstract values, structure) of what it returns."""
    jaxpr, found = jax.make_jaxpr(run(primitive, call), return_shape=True)(*avals)
    return jaxpr.out_avals, jax.tree.structure(found)


@lru_cache(maxsize=1024)
def compiled(primitive: Any, call: Call) -> Any:
    """For a call outside `jax.jit`."""
    return jax.jit(lambda *leaves: jax.tree.leaves(run(primitive, call)(*leaves)))


def forward(
    scan: Scan, operands: Operands, events: Events, name: str, all_states: bool = True, keep: bool = True
) -> Outcome:
    """The recurrence by an implementation; `keep`: its backward pass starts from the gates, not from states alone."""
    return bind(recur_p, Call(scan, name, keep, None, all_states), *aligned((operands, events)))


def recur_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, call: Call) -> tuple[list, list]:
    operands, events = jax.tree.unflatten(call.tree, primals)
    moving = tangents[: len(jax.tree.leaves(operands))]
    wanted = tuple(type(t) is not ad.Zero for t in moving)
    full = replace(call, all_states=True, kept=call.keep)
    found = bind(recur_p, full, operands, events)
    moves = [t for t, moved in zip(moving, wanted, strict=True) if moved]
    pushed = bind(push_p, replace(full, kept=False, wanted=wanted), operands, events, found._replace(last=()), moves)
    out = found if call.all_states else found._replace(states=found.states[:1])
    out_moved = pushed if call.all_states else pushed._replace(states=pushed.states[:1])
    if not call.kept:
        return jax.tree.leaves(out._replace(gates=None)), jax.tree.leaves(out_moved)
    # the gates are for the backward pass alone: nothing is differentiated through them
    still = [ad.Zero(jax.typeof(gate).to_tangent_aval()) for gate in jax.tree.leaves(out.gates)]
    return jax.tree.leaves(out), [*jax.tree.leaves(out_moved), *still]


def push_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, call: Call) -> tuple[list, list]:
    return spec_jvp(run(push_p, call), primals, tangents)


def pull_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, call: Call) -> tuple[list, list]:
    return spec_jvp(lambda *leaves: call.spec_pull(*jax.tree.unflatten(call.tree, leaves)), primals, tangents)


def spec_jvp(function: Any, primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[list, list]:
    """jax.jvp of a function of flat arrays, some of which (flags) have no tangents."""
    moves = [jnp.issubdtype(p.dtype, jnp.inexact) for p in primals]

    def of(*moving: Array) -> list[Array]:
        given = iter(moving)
        full = [next(given) if moved else p for p, moved in zip(primals, moves, strict=True)]
        return jax.tree.leaves(function(*full))

    def only(leaves: Sequence[Any]) -> tuple:
        return tuple(leaf for leaf, moved in zip(leaves, moves, strict=True) if moved)

    return jax.jvp(of, only(primals), tuple(map(ad.instantiate_zeros, only(tangents))))


def push_transpose(cotangents: Sequence[Any], *leaves: Any, call: Call) -> list[Any]:
    """Cotangents of the tangents: the gradients."""
    operands, events, saved, moves = jax.tree.unflatten(call.tree, leaves)
    known = len(leaves) - len(moves)
    if any(map(ad.is_undefined_primal, leaves[:known])):
        raise NotImplementedError("a recurrence's tangents, transposed with respect to the point they are taken at")
    given = Outcome(*outcome_of(call, [None if type(c) is ad.Zero else c for c in cotangents]))
    inputs = aligned((operands, events, saved, given))
    grads = bind(pull_p, call, *inputs)
    shared = [move.aval.shape[0] < grad.shape[0] for move, grad in zip(moves, grads, strict=True)]
    summed = [jnp.sum(g, axis=0, keepdims=True) if sums else g for g, sums in zip(grads, shared, strict=True)]
    return [None] * known + summed


def pull_transpose(cotangents: Sequence[Any], *leaves: Any, call: Call) -> list[Any]:
    """Cotangents of the gradients: the tangents, of what the cotangents of the recurrence belonged to."""
    operands, events, saved, given = jax.tree.unflatten(call.tree, leaves)
    asked = jax.tree.leaves(
        (given.states, given.last), is_leaf=lambda leaf: leaf is None or ad.is_undefined_primal(leaf)
    )
    count = sum(leaf is not None for leaf in asked)
    if any(map(ad.is_undefined_primal, leaves[: len(leaves) - count])):
        raise NotImplementedError("a recurrence's gradients, transposed with respect to the point they are taken at")
    moves = [ad.instantiate_zeros(c) for c in cotangents]
    inputs = aligned((operands, events, saved._replace(gates=None, last=()), moves))
    pushed = jax.tree.leaves(bind(push_p, call, *inputs))
    found = []
    for leaf, move in zip(asked, pushed, strict=True):
        if leaf is not None:
            shared = leaf.aval.shape[0] < move.shape[0]
            found.append(jnp.sum(move, axis=0, keepdims=True) if shared else move)
    return [None] * (len(leaves) - count) + found


def outcome_of(call: Call, leaves: list[Any]) -> tuple[tuple, tuple]:
    """(states, last) from their leaves; both have h, or h and c."""
    half = len(leaves) // 2
    return tuple(leaves[:half]), tuple(leaves[half:])


def batch(primitive: Any, args: Sequence[Array], dims: Sequence[Any], *, call: Call) -> tuple[list, list]:
    """The new axis joins the sequences where the weights have none and nothing is summed over sequences; else the
    groups. So it does for gradients at one point, whose operands need no copies then."""

    def joined(scan: Scan, *args: Array) -> list[Array]:
        return primitive.bind(*args, call=replace(call, scan=scan))

    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    one = [a.shape if d is None else (*a.shape[:d], *a.shape[d + 1 :]) for a, d in zip(args, dims, strict=True)]
    avals = tuple(ShapedArray(shape, a.dtype) for shape, a in zip(one, args, strict=True))
    if not size:
        found = shapes(primitive, call, avals)[0]
        return [jnp.zeros((0, *aval.shape), aval.dtype) for aval in found], [0] * len(found)
    if primitive is not push_p:
        takes, gives = sequences(primitive, call, avals)
        same_weights = all(d is None for d, axis in zip(dims, takes, strict=True) if axis is None)
        one_point = primitive is pull_p and jax.tree.unflatten(call.tree, dims)[0].xs is None
        if same_weights and None not in gives and not one_point:
            return into_rows(joined, call.scan, size, args, dims, takes, gives)
    return into_groups(joined, call.scan, size, args, dims)


def sequences(primitive: Any, call: Call, avals: Sequence[Any]) -> tuple[list[int | None], list[int | None]]:
    """The axis of the sequences in every argument and result of `recur_p` or `pull_p`; None where there is none."""
    given = jax.tree.unflatten(call.tree, avals)
    if primitive is pull_p:
        gives = [axis for axis, moved in zip(rows_axes(given[:1]), call.wanted, strict=True) if moved]
    else:
        leaves, tree = shapes(primitive, call, tuple(avals))
        gives = rows_axes((jax.tree.unflatten(tree, leaves),))
    return rows_axes(given), gives


def pull_dce(used: Sequence[bool], *rest: Any) -> tuple[list[bool], Any]:
    """Dead code elimination: gradients that nobody reads are not computed (JAX 0.12 also says which inputs live)."""
    eqn = rest[-1]
    if not any(used):
        return [False] * len(eqn.invars), None
    call, read = eqn.params["call"], iter(used)
    call = replace(call, wanted=tuple(wanted and next(read) for wanted in call.wanted))
    left = [var for var, read in zip(eqn.outvars, used, strict=True) if read]
    return [True] * len(eqn.invars), eqn.replace(outvars=left, params={"call": call})


def is_none(leaf: Any) -> bool:
    return leaf is None


def lower(primitive: Any, call: Call, ctx: Any, *args: Any) -> Any:
    def of_groups(reverse: tuple[bool, ...]) -> Any:
        own = replace(call, scan=replace(call.scan, reverse=reverse))
        return lambda *leaves: jax.tree.leaves(run(primitive, own)(*leaves))

    function = of_groups(call.scan.reverse)
    if on_several_devices(ctx) and call.name == "native" and primitive is not push_p:
        sizes = tuple([a.shape for a in avals] for avals in (ctx.avals_in, ctx.avals_out))
        function = over_devices(of_groups, call.scan.reverse, *sequences(primitive, call, ctx.avals_in), sizes)
    return mlir.lower_fun(function, multiple_results=True)(ctx, *args)


def install(primitive: Any) -> None:
    primitive.multiple_results = True
    ask_for_devices(primitive)
    primitive.def_impl(lambda *leaves, call: compiled(primitive, call)(*leaves))
    primitive.def_abstract_eval(lambda *avals, call: shapes(primitive, call, avals)[0])
    mlir.register_lowering(primitive, lambda ctx, *args, call: lower(primitive, call, ctx, *args))
    batching.primitive_batchers[primitive] = lambda args, dims, call: batch(primitive, args, dims, call=call)


for primitive in METHODS:
    install(primitive)
ad.primitive_jvps[recur_p], ad.primitive_jvps[push_p], ad.primitive_jvps[pull_p] = recur_jvp, push_jvp, pull_jvp
dce_rules[pull_p] = pull_dce
ad.primitive_transposes[push_p], ad.primitive_transposes[pull_p] = push_transpose, pull_transpose
