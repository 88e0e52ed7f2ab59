"""The sizes of a run, T and *B, and the states that fit it; checked before anything is computed."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import Bidirectional, BidirectionalState, Stack, program_of
from jrnn.cells._advance import state_shapes
from jrnn.types import Cell, InputError, Inputs, Params, Shape, State
from jrnn.unrolling.checks import as_arrays, check_count
from jrnn.unrolling.records import Options


def steps_of(xs: Inputs, length: int | None) -> int:
    """T, the same for every leaf of xs [T, *B, F], or `length` where there are no inputs."""
    leaves = jax.tree.leaves(xs)
    if not leaves:
        return check_count("length", length, 0, "the number of steps T >= 0, since xs is None")
    if length is not None:
        length = check_count("length", length, 0, "the length of xs, or none")
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if not all(shapes):
        scalars = sum(not shape for shape in shapes)
        raise InputError(
            "xs", f"{scalars} numbers without axes", "arrays (not lists) with time on the first axis, [T, *B, F]"
        )
    if len({shape[0] for shape in shapes}) > 1:
        raise InputError("xs", f"shapes {shapes}", "time on the first axis, equally long in every array: [T, *B, F]")
    if length is not None and length != shapes[0][0]:
        raise InputError("length", length, f"the length of xs, {shapes[0][0]}, or none")
    return shapes[0][0]


def batch_of(cell: Cell, params: Params, xs: Inputs, state: State | None, lengths: Any, time_axes: int) -> Shape:
    """*B: what lies between the time axis and the features of xs; else from the state; else from the lengths."""
    features = getattr(cell, "input_ndim", 1)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(xs)]
    if shapes:
        batches = {shape[time_axes : len(shape) - features] for shape in shapes}
        if min(map(len, shapes)) < time_axes + features or len(batches) > 1:
            need = f"[{'T, ' * time_axes}*B, {features} feature axes] with equal *B"
            raise InputError("xs" if time_axes else "x", f"shapes {shapes}", need)
        return batches.pop()
    if state is not None:
        alone = jax.tree.leaves(state_shapes(cell, params))
        leaves = jax.tree.leaves(state)
        if leaves and alone:
            return jnp.shape(leaves[0])[: max(jnp.ndim(leaves[0]) - len(alone[0].shape), 0)]
    return () if lengths is None else jnp.shape(lengths)


def check_state(name: str, state: State | None, cell: Cell, params: Params, lead: Shape) -> State:
    """A state of the cell's own type with leading axes `lead`, cast to the cell's dtype; the cell's own if None, also
    of a direction or a layer."""
    given = None if state is None else check_given(name, state, cell, params, lead)
    return filled(given, own_state(cell, params, lead)) if has_gaps(given) else given


def own_state(cell: Cell, params: Params, lead: Shape) -> State:
    """`cell.initial_state`, or InputError unless its leaves start with `lead`."""
    own = cell.initial_state(params, lead)
    if any(jnp.shape(leaf)[: len(lead)] != lead for leaf in jax.tree.leaves(own)):
        raise InputError("cell", f"an initial state {describe(own)}", f"leaves that start with the batch shape {lead}")
    return own


def start_and_reset(cell: Cell, params: Params, options: Options) -> tuple[State, State]:
    """(the initial state, the reset state): those given, else the cell's own. Gradients reach a learnt one."""
    own = own_state(cell, params, options.batch_shape)
    start = filled(options.initial_state, own)
    return start, own if options.reset_state is None else filled(options.reset_state, own)


def check_real(state: State) -> None:
    """InputError unless every leaf holds real floating-point numbers."""
    for leaf in jax.tree.leaves(state):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            needed = "a real floating-point state (split a complex one into real and imaginary parts)"
            raise InputError("cell", f"a state of dtype {leaf.dtype}", needed)


def check_given(name: str, state: State, cell: Any, params: Params, lead: Shape) -> State:
    """A given state, cast to the cell's dtype; InputError unless it has the cell's own type and shapes.

    A direction or a layer may be None: its own initial state takes the place.
    """
    if isinstance(cell, Bidirectional) and not isinstance(state, BidirectionalState):
        raise InputError(name, type(state).__name__, "BidirectionalState(forward, backward)")
    if isinstance(cell, Stack) and not (isinstance(state, tuple) and len(state) == len(cell.cells)):
        given = f"{type(state).__name__} of {len(jax.tree.leaves(state))} arrays"
        raise InputError(name, given, f"a tuple of the {len(cell.cells)} layers' states")
    if isinstance(cell, Bidirectional | Stack):
        pairs = zip(state, cell.parts(params).values(), strict=True)
        parts = [None if part is None else check_given(name, part, *own, lead) for part, own in pairs]
        return BidirectionalState(*parts) if isinstance(cell, Bidirectional) else tuple(parts)
    expected = state_shapes(cell, params, lead)
    given = as_arrays(name, state)
    if jax.tree.structure(given) != jax.tree.structure(expected):
        raise InputError(name, describe(given), describe(expected))
    if not all(map(fits, jax.tree.leaves(given), jax.tree.leaves(expected))):
        raise InputError(name, describe(given), describe(expected))
    return jax.tree.map(lambda a, e: a.astype(e.dtype), given, expected)


def has_gaps(given: State | None) -> bool:
    """Whether the state, or that of a direction or layer in it, is None: the cell's own takes its place."""
    parts = given if type(given) is tuple or isinstance(given, BidirectionalState) else ()
    return given is None or any(map(has_gaps, parts))


def filled(given: State | None, otherwise: State) -> State:
    """A given state, its parts that are None taken from `otherwise`."""
    if given is None:
        return otherwise
    if type(given) is tuple or isinstance(given, BidirectionalState):
        parts = [filled(part, other) for part, other in zip(given, otherwise, strict=True)]
        return tuple(parts) if type(given) is tuple else BidirectionalState(*parts)
    return given


def fits(given: Any, expected: Any) -> bool:
    """Whether one array can become another by a cast that keeps its kind: bool, integer, floating, complex."""
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    source, target = ([jnp.issubdtype(a.dtype, kind) for kind in kinds] for a in (given, expected))
    if not (any(source) and any(target)):  # keys, say
        return given.dtype == expected.dtype and given.shape == expected.shape
    return given.shape == expected.shape and source.index(True) <= target.index(True)


def check_step(cell: Cell, params: Params, state: State, xs: Inputs) -> None:
    """InputError if a step does not give back a state of the kind it was given."""
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    before = jax.eval_shape(lambda s: s, state)
    after = stepped.eval_shape(program_of(cell), params, before, x)
    if jax.tree.structure(before) != jax.tree.structure(after) or any(
        (a.shape, a.dtype) != (b.shape, b.dtype) for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
    ):
        raise InputError(
            "cell",
            f"a step from {describe(before)} to {describe(after)}",
            "a step that keeps the state's type, shapes and dtypes",
        )


@partial(jax.jit, static_argnums=0)
def stepped(cell: Cell, params: Params, state: State, x: Inputs) -> State:
    """One step; jitted, so that its trace is kept between calls."""
    return cell.step(params, state, x)


def describe(tree: Any) -> str:
    """The structure of a pytree with its shapes, in the way it is written: LSTMState(h=float32[4], c=float32[4])."""
    short = jax.tree.map(lambda a: Spelled(f"{a.dtype}{list(a.shape)}"), tree)
    return repr(short)


class Spelled(str):
    """A string whose repr has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def move_axis(tree: Any, source: int, to: int) -> Any:
    """`jnp.moveaxis` on every leaf; one of the two axes is 0, the other `time_axis`. None stays None."""
    if source == to:
        return tree
    for leaf in jax.tree.leaves(tree):
        if jnp.ndim(leaf) <= max(source, to):
            raise InputError("time_axis", f"{source + to} for an array of shape {jnp.shape(leaf)}", "an axis it has")
    return jax.tree.map(lambda a: jnp.moveaxis(jnp.asarray(a), source, to), tree)
