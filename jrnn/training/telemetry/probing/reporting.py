"""How figures of a backward pass leave it: as the gradient with respect to a meter, zeros that change nothing.

A meter is closed over by what is differentiated. So its gradient comes out of `jax.checkpoint`, `jit`, `vmap` and
`scan` alike, where values seen inside could not; over what is mapped or repeated JAX adds it up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jrnn.types import Array, State


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def reporting_zeros(report: Callable[..., Any], like: Any, meter: Any, operands: Any) -> State:
    """Zeros [T+1, *B, ...] to be added to the states, whose gradient dL/dh_t is reported.

    Args:
      report: (operands, dL/dh_t) -> what the meter gains; hashable.
      like: the shapes and dtypes of the zeros, flat, with their structure; hashable.
      meter: a pytree of zeros.
      operands: arrays; the zeros depend on all of them, so that `vmap` gives each of its members zeros of its own.
    """
    treedef, leaves = like
    nothing = false_of(operands)
    return treedef.unflatten([jnp.broadcast_to(nothing.astype(dtype), shape) for shape, dtype in leaves])


def zeros_forward(report: Callable, like: Any, meter: Any, operands: Any) -> tuple[State, Any]:
    return reporting_zeros(report, like, meter, operands), operands


def zeros_backward(report: Callable, like: Any, operands: Any, delta: State) -> tuple[Any, None]:
    return report(operands, delta), None


reporting_zeros.defvjp(zeros_forward, zeros_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def reported(report: Callable[..., Any], results: Any, meter: Any, operands: Any) -> Any:
    """The results as they are; their gradient is reported: report(operands, gradient) -> what the meter gains."""
    return results


def reported_forward(report: Callable, results: Any, meter: Any, operands: Any) -> tuple[Any, Any]:
    results, operands = jax.tree.map(lambda primal: primal.value, (results, operands))
    return results, operands


def reported_backward(report: Callable, operands: Any, gradient: Any) -> tuple[Any, Any, None]:
    """What is unused keeps a gradient that is known to be zero: one of numbers would be added up all the way back."""
    zero = lambda g: isinstance(g, SymbolicZero)  # noqa: E731
    own = jax.tree.map(lambda g: zeros_of(g.aval) if zero(g) else g, gradient, is_leaf=zero)
    return jax.tree.map(lambda g: None if zero(g) else g, gradient, is_leaf=zero), report(operands, own), None


reported.defvjp(reported_forward, reported_backward, symbolic_zeros=True)


def zeros_of(aval: Any) -> Array:
    """Zeros of this type, on a mesh of Explicit axes split like it."""
    split = any(name is not None for name in aval.sharding.spec)
    return jax.lax.full(aval.shape, 0, aval.dtype, sharding=aval.sharding if split else None)


def false_of(tree: Any) -> Array:
    """False, but with an axis wherever `vmap` gives one of the arrays one: what is not mapped is not added up."""
    nothing = jnp.zeros((), bool)
    for leaf in jax.tree.leaves(tree):
        numbers = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        nothing |= jnp.any(numbers != numbers) & False
    return nothing


def shapes_of(tree: Any) -> Any:
    """A pytree's shapes and dtypes, hashable, as `reporting_zeros` takes them."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, tuple((tuple(leaf.shape), jnp.dtype(leaf.dtype)) for leaf in leaves)
