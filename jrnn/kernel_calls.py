"""The recurrence by one call of a kernel: what it is given, and what `unroll` makes of what it found."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import kernels
from jrnn.cells._base import outputs_hidden
from jrnn.masking import select, zero_unless
from jrnn.plans import Plan, Run, Unrolled, begun, ended
from jrnn.types import Array, Inputs, Params, State


def alike(one: Run, other: Run) -> bool:
    """Whether the same kernel takes both at once."""
    if one.plan._replace(reverse=other.plan.reverse) != other.plan or one.xs is not other.xs:
        return False
    if one.plan.implementation == "reference" or one.plan.segment not in (None, 1):
        return False
    if needs_all(one.cell, one.plan) != needs_all(other.cell, other.plan) or (one.tap is None) != (other.tap is None):
        return False
    first, second = (run.cell.kernel(run.params) for run in (one, other))
    return jax.tree.map(jax.typeof, first[1:]) == jax.tree.map(jax.typeof, second[1:]) and first.kind == second.kind


@partial(jax.jit, static_argnums=0)
def scan_together(statics: tuple, xs: Inputs, *runs: tuple) -> tuple[Unrolled, ...]:
    """See `scan_both`."""
    problems, rest = [], []
    for (cell, plan), (params, start, restart, when, tap) in zip(statics, runs):
        start, inputs = begun(xs, start, when, tap, plan)
        problems.append(kernel_problem(cell, params, restart, plan, start, inputs))
        rest.append((cell, params, plan, start, inputs, when))
    (cell, plan) = statics[0]
    found = kernels.recur_all(problems, plan.implementation, needs_all(cell, plan), plan.segment != 1)
    return tuple(
        ended(start, when, plan, *after_kernel(cell, params, plan, (start, None), inputs, *each))
        for (cell, params, plan, start, inputs, when), each in zip(rest, found)
    )


def kernel_steps(cell: Any, params: Params, restart: State, plan: Plan, carry: Any, inputs: Any) -> tuple[Any, Any]:
    """What `lax.scan` of the steps returns, by a kernel for all of them at once."""
    problem = kernel_problem(cell, params, restart, plan, carry[0], inputs)
    found = kernels.recur(problem, plan.implementation, needs_all(cell, plan), plan.segment != 1)
    return after_kernel(cell, params, plan, carry, inputs, *found)


def needs_all(cell: Any, plan: Plan) -> bool:
    """Whether the whole state of every step is needed, not the hidden part alone."""
    return plan.return_states or not outputs_hidden(cell)


def kernel_problem(cell: Any, params: Params, restart: State, plan: Plan, state: State, inputs: Any) -> kernels.Problem:
    """The steps as a kernel takes them."""
    times, xs, when, tap = inputs
    return kernels.problem_of(
        cell.kernel(params),  # pyright: ignore[reportArgumentType]
        xs,
        tuple(jax.tree.leaves(state)),
        times.shape[0],
        plan.batch_shape,
        restart=tuple(jax.tree.leaves(restart)),
        events=kernels.Events(*when),
        tap=None if tap is None else tuple(jax.tree.leaves(tap)),
        silent=plan.silent,
        reverse=plan.reverse,
    )


def after_kernel(
    cell: Any, params: Params, plan: Plan, carry: Any, inputs: Any, states: tuple, final: tuple
) -> tuple[Any, Any]:
    """Outputs and the last of them, from the states that a kernel found."""
    (state, last), (times, xs, when, tap) = carry, inputs
    tree = jax.tree.structure(state)
    final = jax.tree.unflatten(tree, final)
    after = jax.tree.unflatten(tree, states) if needs_all(cell, plan) else None
    if tap is not None and plan.beneath:
        taken = tap if when.inside is None else zero_unless(when.inside, tap)
        states = tuple(map(unhear if plan.silent else jnp.subtract, states, jax.tree.leaves(taken)))
    outputs = states[0]
    if not outputs_hidden(cell):
        reads = jax.tree.unflatten(tree, states)
        outputs = cell.output(params, reads, xs if when.valid is None else zero_unless(when.valid, xs))
    if when.valid is None:
        last = jax.tree.map(lambda y: y[0 if plan.reverse else -1], outputs)
    else:
        outputs = zero_unless(when.valid, outputs)
        read = when.valid[::-1] if not plan.reverse else when.valid
        at = jnp.argmax(read, axis=0)
        at = at if plan.reverse else times.shape[0] - 1 - at
        newest = jax.tree.map(lambda y: jnp.take_along_axis(y, at[None, ..., None], axis=0)[0], outputs)
        last = select(when.valid.any(axis=0), newest, jax.tree.map(jnp.zeros_like, newest) if last is None else last)
    return (final, last), (outputs, after if plan.return_states else None)


@jax.custom_jvp
def unhear(h: Array, pull: Array) -> Array:
    """h - pull for a pull of zeros: what `listen` added is taken away."""
    return h


@unhear.defjvp
def unhear_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[0], tangents[0] - tangents[1]
