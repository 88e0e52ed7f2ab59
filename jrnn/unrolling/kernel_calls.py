"""The recurrence by one call of a kernel: what it is given, and what `unroll` makes of its states."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import kernels
from jrnn.cells import prepared, prepared_shapes
from jrnn.cells._base import outputs_hidden
from jrnn.kernels.implementations import IMPLEMENTATIONS
from jrnn.numerics import select
from jrnn.types import Array, Inputs, Params, Shape, State, size_of
from jrnn.unrolling.choice import CELL_SCAN
from jrnn.unrolling.records import Options, Unrolled
from jrnn.unrolling.schedule import schedule_of, zero_unless
from jrnn.unrolling.states import check_step, start_and_reset
from jrnn.unrolling.taps import assemble, split_tap, subtract_zero_tap

CACHED = 2**17  # numbers of the states of a segment; its inputs are two or four times as many


class Run(NamedTuple):
    """The arguments of `scan`."""

    cell: Any
    params: Params
    xs: Inputs
    options: Options
    implementation: str


def share_one_call(run: Run, other: Run) -> bool:
    """Whether one call of a kernel takes both."""
    ahead = replace(run.options, reverse=other.options.reverse)  # the structure of options holds all that is static
    if jax.tree.structure(ahead) != jax.tree.structure(other.options) or run.xs is not other.xs:
        return False
    if run.implementation != other.implementation or run.implementation == CELL_SCAN:
        return False
    if projects(run.cell) or projects(other.cell):  # each kernel reads its own inputs
        return False
    if run.options.segment not in (None, 1) or needs_all(run.cell, ahead) != needs_all(other.cell, ahead):
        return False
    weights, others = (each.cell.kernel(prepared_shapes(each.cell, each.params)) for each in (run, other))
    alike = jax.tree.map(jax.typeof, weights[1:]) == jax.tree.map(jax.typeof, others[1:])
    return alike and weights.kind == others.kind


@partial(jax.jit, static_argnums=(0, 1))
def scan_together(cells: tuple, implementation: str, xs: Inputs, *runs: tuple[Params, Options]) -> list[Unrolled]:
    """`scan` of several runs over the same inputs, by one call of their kernel."""
    problems, parts = [], []
    for cell, (params, options) in zip(cells, runs, strict=True):
        start, reset_state = start_and_reset(cell, params, options)
        params = prepared(cell, params)
        check_step(cell, params, start, xs)
        schedule = schedule_of(options)
        start, inputs = split_tap(start, xs, schedule, options)
        problems.append(kernel_problem(cell, params, reset_state, options, start, inputs))
        parts.append((cell, params, options, start, schedule, inputs))
    options = runs[0][1]
    results = kernels.recur_all(problems, implementation, needs_all(cells[0], options), options.segment != 1)
    return [
        assemble(start, schedule, own, *after_kernel(cell, params, own, (start, None), inputs, *result))
        for (cell, params, own, start, schedule, inputs), result in zip(parts, results, strict=True)
    ]


def kernel_steps(
    cell: Any, params: Params, reset_state: State, options: Options, implementation: str, carry: Any, inputs: Any
) -> tuple[Any, Any]:
    """What `lax.scan` of the steps returns, by a kernel for all of them at once."""
    problem = kernel_problem(cell, params, reset_state, options, carry[0], inputs)
    (result,) = kernels.recur_all([problem], implementation, needs_all(cell, options), options.segment != 1)
    return after_kernel(cell, params, options, carry, inputs, *result)


def needs_all(cell: Any, options: Options) -> bool:
    """Whether the whole state of every step is needed, not the hidden part alone."""
    return options.return_states or not outputs_hidden(cell)


def projects(cell: Any) -> bool:
    """Whether the cell's kernel reads something else in place of x."""
    return getattr(cell, "project", None) is not None


def kernel_inputs(cell: Any, params: Params, xs: Inputs, batch_shape: Shape, valid: Array | None = None) -> Inputs:
    """What the cell's kernel reads; `batch_shape` is that of xs, time included.

    Padding is shown as zeros, as to a step: it may hold NaN, and 0 * NaN would reach the gradient of a product.
    """
    if not projects(cell):
        return xs
    if xs is None:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        xs = jnp.zeros((*batch_shape, 0), dtype)
    return cell.project(params, xs if valid is None else zero_unless(valid, xs))


def segment_for(cell: Any, options: Options, implementation: str, state: State) -> int | None:
    """The steps of a segment: those of the options; else, where XLA makes the inputs of a foreign call and can fuse
    nothing with it, so few that they stay in a CPU's cache, and the backward pass makes them again."""
    if options.segment is not None or implementation == CELL_SCAN or not projects(cell):
        return options.segment
    if jax.default_backend() != "cpu":
        return None
    rows = size_of(options.batch_shape)
    if not IMPLEMENTATIONS[implementation].opaque_to_xla or not isinstance(
        rows, int
    ):  # a symbol in an exported program
        return None
    numbers = sum(leaf.size for leaf in jax.tree.leaves(state))
    size = max(1, CACHED // max(numbers, 1))
    return size if 1 < size <= options.steps // 4 else None


def kernel_problem(
    cell: Any, params: Params, reset_state: State, options: Options, state: State, inputs: Any
) -> kernels.Problem:
    """The steps as a kernel takes them."""
    times, xs, schedule, tap = inputs
    return kernels.problem_of(
        cell.kernel(params),
        kernel_inputs(cell, params, xs, (times.shape[0], *options.batch_shape), schedule.valid),
        tuple(jax.tree.leaves(state)),
        times.shape[0],
        options.batch_shape,
        reset_state=tuple(jax.tree.leaves(reset_state)),
        events=kernels.Events(*schedule),
        tap=None if tap is None else tuple(jax.tree.leaves(tap)),
        tap_is_zero=options.tap_is_zero,
        reverse=options.reverse,
    )


def after_kernel(
    cell: Any, params: Params, options: Options, carry: Any, inputs: Any, states: tuple, final: tuple
) -> tuple[Any, Any]:
    """Outputs and the last of them, from the states that a kernel returns."""
    (state, last), (times, xs, schedule, tap) = carry, inputs
    tree, valid = jax.tree.structure(state), schedule.valid
    final = jax.tree.unflatten(tree, final)
    after = jax.tree.unflatten(tree, states) if needs_all(cell, options) else None
    if tap is not None and options.inside_stack:
        inside = tap if schedule.inside is None else zero_unless(schedule.inside, tap)
        subtract = subtract_zero_tap if options.tap_is_zero else jnp.subtract
        states = tuple(map(subtract, states, jax.tree.leaves(inside)))
    outputs = states[0]
    if not outputs_hidden(cell):
        reads = jax.tree.unflatten(tree, states)
        outputs = cell.output(params, reads, xs if valid is None else zero_unless(valid, xs))
    if valid is None:
        last = jax.tree.map(lambda y: y[0 if options.reverse else -1], outputs)
    else:
        outputs = zero_unless(valid, outputs)
        at = jnp.argmax(valid if options.reverse else valid[::-1], axis=0)
        at = at if options.reverse else times.shape[0] - 1 - at
        newest = jax.tree.map(lambda y: jnp.take_along_axis(y, at[None, ..., None], axis=0)[0], outputs)
        nothing = jax.tree.map(jnp.zeros_like, newest) if last is None else last
        last = select(valid.any(axis=0), newest, nothing)
    return (final, last), (outputs, after if options.return_states else None)
