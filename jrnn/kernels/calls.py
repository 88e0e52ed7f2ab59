"""The three primitives, and what each computes: a call's static part, and the functions of arrays it stands for.

`recur_p` is the recurrence, `push_p` its tangents, `pull_p` its gradients. Rules for JAX: `primitives`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive

from jrnn.kernels.implementations import REFERENCE, SHAPES_ONLY, Implementation
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.types import Array

recur_p, push_p, pull_p = Primitive("jrnn_recur"), Primitive("jrnn_push"), Primitive("jrnn_pull")


@dataclass(frozen=True)
class Call:
    """The static part of a call of one of the primitives; hashable."""

    scan: Scan
    implementation: Implementation
    save_gates: bool
    """Whether the backward pass starts from saved gates, or computes them again from the states."""
    tree: Any
    """The structure of the arguments."""
    all_states: bool = True
    """Whether every part of every state is returned, or h alone."""
    returns_gates: bool = False
    """Whether the gates are returned, too: only where a backward pass follows."""
    needs_gradient: tuple[bool, ...] = ()
    """For each operand, in order: whether it has a tangent (push), or whether its gradient is read (pull)."""
    precision: str | None = None
    """`jax.default_matmul_precision` where the user's call stands: JAX lowers the call elsewhere."""

    def recur(self, operands: Operands, events: Events) -> RecurrenceResult:
        """The recurrence, by the implementation."""
        return self.implementation.forward(self.scan, operands, events, self.all_states, self.returns_gates)

    def push(
        self, operands: Operands, events: Events, saved: RecurrenceResult, tangents: list[Array]
    ) -> RecurrenceResult:
        """The tangents of what `recur` returns, without the gates, by the spec.

        `saved` follows from the operands and is not read.
        """
        remaining = iter(tangents)
        leaves, tree = jax.tree.flatten(operands)
        pairs = zip(leaves, self.needs_gradient, strict=True)
        tangents = [next(remaining) if moves else jnp.zeros_like(a) for a, moves in pairs]
        # groups that share an operand may have different tangents for it, and different operands the same tangent
        both = [jnp.broadcast_arrays(a, t) for a, t in zip(leaves, tangents, strict=True)]
        leaves, tangents = [a for a, _ in both], [t for _, t in both]
        _, out = jax.jvp(lambda o: self.spec(o, events), (tree.unflatten(leaves),), (tree.unflatten(tangents),))
        return out

    def pull(
        self, operands: Operands, events: Events, saved: RecurrenceResult, cotangents: RecurrenceResult
    ) -> list[Array]:
        """The gradients that are needed, by the implementation; of every group [E, ...] also where groups share one."""
        return self.gradients(self.implementation, operands, events, saved, cotangents)

    def spec(self, operands: Operands, events: Events) -> RecurrenceResult:
        """`recur` by the spec."""
        return REFERENCE.forward(self.scan, operands, events, self.all_states, False)

    def spec_pull(
        self, operands: Operands, events: Events, saved: RecurrenceResult, cotangents: RecurrenceResult
    ) -> list[Array]:
        """`pull` by the spec, a function of the operands and cotangents alone: `saved` follows from the operands."""
        return self.gradients(REFERENCE, operands, events, saved, cotangents)

    def gradients(self, implementation: Implementation, operands: Operands, *rest: Any) -> list[Array]:
        """The gradients that are needed, by an implementation's backward pass."""
        tree = jax.tree.structure(operands)
        needs_gradient = jax.tree.unflatten(tree, self.needs_gradient)
        leaves = tree.flatten_up_to(implementation.backward(self.scan, needs_gradient, operands, *rest))
        return [leaf for leaf, needed in zip(leaves, self.needs_gradient, strict=True) if needed]


METHODS = {recur_p: Call.recur, push_p: Call.push, pull_p: Call.pull}


def bind(primitive: Any, call: Call, *args: Any) -> Any:
    """The primitive applied to pytrees."""
    leaves, tree = jax.tree.flatten(args)
    call = replace(call, tree=tree)
    flat = primitive.bind(*leaves, call=call)
    return jax.tree.unflatten(shapes(primitive, call, tuple(map(jax.typeof, leaves)))[1], flat)


def flat_function(method: Callable, call: Call) -> Callable:
    """A method of the call as a function of flat arrays, its products as precise as where the user's call stands."""

    def function(*leaves: Array) -> Any:
        with jax.default_matmul_precision(call.precision):  # pyright: ignore[reportArgumentType]
            return method(call, *jax.tree.unflatten(call.tree, leaves))

    return function


@lru_cache(maxsize=1024)
def shapes(primitive: Any, call: Call, avals: tuple) -> tuple[list[Any], Any]:
    """(abstract values, structure) of what a primitive returns."""
    before = SHAPES_ONLY.set(True)
    try:
        jaxpr, out = jax.make_jaxpr(flat_function(METHODS[primitive], call), return_shape=True)(*avals)
    finally:
        SHAPES_ONLY.reset(before)
    return jaxpr.out_avals, jax.tree.structure(out)


@lru_cache(maxsize=1024)
def compiled(primitive: Any, call: Call) -> Any:
    """The compiled function of flat arrays, for a call outside `jax.jit`."""
    return jax.jit(lambda *leaves: jax.tree.leaves(flat_function(METHODS[primitive], call)(*leaves)))
