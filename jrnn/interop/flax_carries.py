"""States in Flax's order and back: what its users call carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jrnn.cells import BidirectionalState, LSTMState
from jrnn.cells._advance import state_shapes
from jrnn.types import InputError, Params, Shape, State
from jrnn.unrolling.checks import as_arrays
from jrnn.unrolling.states import describe


def carry_of(state: State) -> Any:
    """A state in Flax's order and types: (c, h) for an LSTM, the array itself where there is one."""
    if isinstance(state, LSTMState):
        return state.c, state.h
    if isinstance(state, BidirectionalState) or type(state) is tuple:
        return tuple(carry_of(part) for part in state)
    if isinstance(state, tuple) and len(state) == 1:
        return state[0]
    return state


def state_of(cell: Any, params: Params, carry: Any, batch: Shape, argument: str = "initial_carry") -> State:
    """The inverse of `carry_of` for a state of this cell."""
    like = state_shapes(cell, params, batch)
    shapes, carry = carry_of(like), as_arrays(argument, carry)
    if jax.tree.structure(carry) != jax.tree.structure(shapes) or any(
        jnp.shape(a) != b.shape for a, b in zip(jax.tree.leaves(carry), jax.tree.leaves(shapes), strict=True)
    ):
        raise InputError(argument, describe(carry), needed(like))
    return restored(carry, like)


def needed(like: State) -> str:
    """A carry spelled with the names of the cell's own parts: (c float64[3, 4], h float64[3, 4])."""
    if isinstance(like, LSTMState):
        return f"(c {describe(like.c)}, h {describe(like.h)}), in Flax's order"
    if isinstance(like, BidirectionalState):
        return f"(forward, backward), a tuple: ({needed(like.forward)}; {needed(like.backward)})"
    if type(like) is tuple:
        layers = "; ".join(f"layer {i}: {needed(part)}" for i, part in enumerate(like))
        return f"a tuple of {len(like)} layers, bottom first: ({layers})"
    names = getattr(like, "_fields", ())
    return f"{names[0]} {describe(carry_of(like))}" if len(names) == 1 else describe(like)


def restored(carry: Any, like: State) -> State:
    """The parts of a carry in the types of `like`."""
    if isinstance(like, LSTMState):
        return LSTMState(h=carry[1], c=carry[0])
    if isinstance(like, BidirectionalState):
        return BidirectionalState(*map(restored, carry, like))
    if type(like) is tuple:
        return tuple(map(restored, carry, like))
    if isinstance(like, tuple) and len(like) == 1:
        return type(like)(carry)  # pyright: ignore
    return carry


def first_carry(cell: Any, params: Params, batch_shape: Shape) -> Any:
    """The cell's own initial state as a carry."""
    if not isinstance(batch_shape, tuple | list):
        raise InputError("batch_shape", repr(batch_shape), "a tuple of sizes, such as (32,), or () for one sequence")
    return carry_of(cell.initial_state(params, tuple(batch_shape)))


def first_carry_without(cell: Any, batch_shape: Shape) -> Any:
    """`first_carry` where no parameters exist yet: that of a cell whose initial state does not depend on their values.

    Raises:
      InputError: it does (a learnt initial state).
    """
    shapes = jax.eval_shape(lambda key: cell.init(key, 1), jax.random.key(0))
    jaxpr = jax.make_jaxpr(lambda params: first_carry(cell, params, batch_shape))(shapes).jaxpr
    read = {var for var in jaxpr.outvars if not isinstance(var, Literal)}
    for equation in reversed(jaxpr.eqns):
        if read.intersection(equation.outvars):
            read |= {var for var in equation.invars if not isinstance(var, Literal)}
    if read.intersection(jaxpr.invars):
        needs = "a bound module with its parameters: the cell's initial state is learnt"
        raise InputError("initialize_carry", "a module without parameters", needs)
    return first_carry(cell, jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), shapes), batch_shape)


def carries_of(argument: str, given: Any, count: int, of: str) -> Sequence[Any]:
    """The carries of several modules, or None for each."""
    if given is None:
        return [None] * count
    if not isinstance(given, tuple | list) or len(given) != count:
        what = f"{len(given)} carries" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
        raise InputError(argument, what, f"one for each {of}, in a tuple")
    return given
