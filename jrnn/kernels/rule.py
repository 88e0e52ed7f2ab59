"""One primitive for every implementation: reverse mode takes the kernel, all other derivatives the spec.

`jax.grad` calls an implementation's own backward pass; jvp, linearisation and derivatives of derivatives differentiate
`reference.run`, which is the same function; `jax.vmap` merges the new axis into the sequences or the groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import hijax

from jrnn.kernels import native, reference
from jrnn.kernels.batching import batched
from jrnn.kernels.problem import Events, Operands, Outcome, Recurrence, aligned, avals_of

# the class was renamed after jax 0.10
Primitive: Any = getattr(hijax, "HiPrim", None) or hijax.VJPHiPrimitive
IMPLEMENTATIONS: dict[str, Any] = {"native": native}


@jax.tree_util.register_static
@dataclass(frozen=True)
class Wanted:
    """Which operands a gradient is asked for: a pytree of bool like `Operands`, flattened so that it can be hashed."""

    flags: tuple[bool, ...]
    like: Any

    def tree(self) -> Operands:
        return jax.tree.unflatten(self.like, self.flags)


class Forward(Primitive):
    """(operands, events) -> Outcome."""

    def __init__(self, what: Recurrence, name: str, all_states: bool, kept: str, keep: str, avals: Any):
        """kept: what is returned beside the results; keep: what the backward pass will ask for."""
        self.in_avals = avals
        self.params: dict[str, Any] = dict(
            what=what, name=name, all_states=all_states, kept=kept, keep=keep, avals=tuple(jax.tree.leaves(avals))
        )
        self.out_aval = traced(self.expand_with(**self.params), *avals)
        super().__init__()

    @staticmethod
    def expand_with(what: Recurrence, name: str, all_states: bool, kept: str, **_: Any) -> Any:
        def run(operands: Operands, events: Events) -> Outcome:
            return IMPLEMENTATIONS[name].forward(what, operands, events, all_states, kept == "gates")

        return run

    def expand(self, *args: Any) -> Outcome:
        return self.expand_with(**self.params)(*args)

    def spec(self, operands: Operands, events: Events) -> Outcome:
        """The same results by `reference.run`, without what is kept."""
        found = reference.run(self.what, operands, events)
        return found if self.all_states else found._replace(states=found.states[:1])

    def vjp_fwd(self, nzs: Any, *args: Any) -> tuple:
        found = Forward(self.what, self.name, True, self.keep, self.keep, self.in_avals)(*args)
        out = found if self.all_states else found._replace(states=found.states[:1])
        wanted = Wanted(tuple(bool(z) for z in jax.tree.leaves(nzs[0])), jax.tree.structure(nzs[0]))
        return self.without_gates(out), (args, found._replace(last=()), wanted)

    def without_gates(self, out: Outcome) -> Outcome:
        """What this primitive returns: the gates are returned by the one that was called for them."""
        return out if self.out_aval.gates is not None else out._replace(gates=None)

    def vjp_bwd_retval(self, residuals: Any, cotangent: Outcome) -> tuple:
        args, saved, wanted = residuals
        cotangent = cotangent._replace(gates=None)  # nothing is differentiated through what was kept
        given = jax.tree.map(lambda c: None if is_zero(c) else c, cotangent, is_leaf=is_zero)
        inputs = aligned((*args, saved, given))
        grads = Backward(self.what, self.name, wanted, *inputs)(*inputs)
        return grads, Events()

    def jvp(self, primals: Any, tangents: Any) -> tuple:
        operands, events = primals
        moved = instantiate(tangents[0])
        out, out_moved = jax.jvp(lambda o: self.spec(o, events), (operands,), (moved,))
        if self.out_aval.gates is not None:
            out = self(*primals)
            out_moved = out_moved._replace(gates=jnp.zeros_like(out.gates))
        return out, out_moved

    def lin(self, nzs: Any, *primals: Any) -> tuple:
        return self(*primals), primals

    def linearized(self, primals: Any, *tangents: Any) -> Any:
        return self.jvp(primals, tangents)[1]

    def batch(self, axis: Any, args: Any, dims: Any) -> tuple:
        def call(what: Recurrence, *args: Any) -> Outcome:
            return Forward(what, self.name, self.all_states, self.kept, self.keep, avals_of(args))(*args)

        return batched(call, self.what, axis.size, args, dims, into_rows=True)


def forward(
    what: Recurrence, operands: Operands, events: Events, name: str, all_states: bool = True, keep: str = "gates"
) -> Outcome:
    """The recurrence by an implementation; `keep` is what its backward pass starts from: "gates", or "states" alone."""
    operands, events = aligned((operands, events))
    return Forward(what, name, all_states, "nothing", keep, avals_of((operands, events)))(operands, events)


class Backward(Primitive):
    """(operands, events, what was kept, cotangents) -> the gradients of the operands that are wanted."""

    def __init__(self, what: Recurrence, name: str, wanted: Wanted, *args: Any):
        self.in_avals = avals_of(args)
        self.params = dict(what=what, name=name, wanted=wanted, avals=tuple(jax.tree.leaves(self.in_avals)))
        implementation, tree = IMPLEMENTATIONS[name], wanted.tree()
        self.out_aval = traced(lambda *a: implementation.backward(what, tree, *a), *self.in_avals)
        super().__init__()

    def expand(self, *args: Any) -> Operands:
        return IMPLEMENTATIONS[self.name].backward(self.what, self.wanted.tree(), *args)

    def spec(self, operands: Operands, events: Events, cotangent: Outcome) -> Operands:
        """The same gradients as a function of the operands alone: the states that were kept are theirs too."""

        def run(operands: Operands) -> Outcome:
            found = reference.run(self.what, operands, events)
            return found._replace(states=found.states[: len(cotangent.states)])

        found, pull = jax.vjp(run, operands)
        full = jax.tree.map(
            lambda c, f: jnp.zeros_like(f) if c is None and f is not None else c, cotangent, found, is_leaf=is_none
        )
        (grads,) = pull(full)
        return jax.tree.map(lambda a, g: None if a is None else g, self.out_aval, grads, is_leaf=is_none)

    def jvp(self, primals: Any, tangents: Any) -> tuple:
        operands, events, _, cotangent = primals
        moved = [instantiate(tangents[i]) for i in (0, 3)]
        return jax.jvp(lambda o, c: self.spec(o, events, c), (operands, cotangent), tuple(moved))

    def lin(self, nzs: Any, *primals: Any) -> tuple:
        return self(*primals), primals

    def linearized(self, primals: Any, *tangents: Any) -> Any:
        return self.jvp(primals, tangents)[1]

    def vjp_fwd(self, nzs: Any, *args: Any) -> tuple:
        return self(*args), args

    def vjp_bwd_retval(self, args: Any, out: Operands) -> tuple:
        operands, events, saved, cotangent = args
        out = instantiate(out)
        _, pull = jax.vjp(lambda o, c: self.spec(o, events, c), operands, cotangent)
        of_operands, of_cotangent = pull(out)
        return of_operands, Events(), jax.tree.map(jnp.zeros_like, saved), of_cotangent

    def batch(self, axis: Any, args: Any, dims: Any) -> tuple:
        def call(what: Recurrence, *args: Any) -> Operands:
            return Backward(what, self.name, self.wanted, *args)(*args)

        return batched(call, self.what, axis.size, args, dims, into_rows=False)


def is_none(leaf: Any) -> bool:
    return leaf is None


def is_zero(leaf: Any) -> bool:
    return isinstance(leaf, hijax.Zero)


def instantiate(tree: Any) -> Any:
    """Tangents or cotangents as arrays."""
    return jax.tree.map(lambda t: hijax.instantiate_zeros(t) if is_zero(t) else t, tree, is_leaf=is_zero)


def traced(function: Any, *avals: Any) -> Any:
    """The abstract values of what a function returns."""
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*avals)
    return jax.tree.unflatten(jax.tree.structure(shapes), jaxpr.out_avals)
