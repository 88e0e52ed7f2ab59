"""A probe's look at the runs of `jrnn.unroll`, wherever they stand in the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import is_causal
from jrnn.cells._advance import state_shapes
from jrnn.flow.credit.output_cotangents import end_of
from jrnn.numerics import split_floating
from jrnn.training.telemetry.probing.arrivals import Followed
from jrnn.training.telemetry.probing.edges import edges_of
from jrnn.training.telemetry.probing.meters import Meter, Meters
from jrnn.training.telemetry.probing.reporting import reported, reporting_zeros, shapes_of
from jrnn.training.telemetry.state_gradient_metrics import is_real
from jrnn.types import Array, Inputs, Params, State
from jrnn.unrolling import Options, Unrolled
from jrnn.unrolling.schedule import schedule_of
from jrnn.unrolling.step_rule import reads_previous
from jrnn.unrolling.watching import Run

SEEN = "jrnn_run"  # the name of the jitted function that a run is, by which `scans` knows it


class RunWatcher:
    """Gives every run a tap whose gradient is reported."""

    def __init__(self, meters: Meters):
        self.meters = meters

    def watch(self, run: Run, name: str | None, cell: Any, params: Params, xs: Inputs, options: Options) -> Unrolled:
        """The run, looked at; as it is where the states are not real, or are tapped already."""

        jitted = seen(run, cell)
        zeros = zero_tap(cell, params, options, options.steps)
        if options.state_tap is not None or not options.steps or not is_real(zeros):
            return jitted(params, xs, options)
        meters = self.meters
        meter = meters.meter_of(name or type(cell).__name__.lower())
        rest = replace(options, lengths=None, mask=None)
        operands = jax.lax.stop_gradient((params, xs, rest, options.lengths, options.mask))
        real, whole = split_floating(zeros)
        report = partial(report_edges, meters, cell, options.reverse, whole)
        tap = whole(reporting_zeros(Named(report), shapes_of(real), meter, operands))
        found = jitted(params, xs, replace(options, state_tap=tap, tap_is_zero=True, taps_start=False))
        results = found.outputs, found.final_state, found.last
        floating = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(results))
        if not meters.asked.lags or not is_causal(cell) or not floating:
            return found
        kept = jax.lax.stop_gradient((params, xs, options)), meters.step, found.mask
        after: Any = reported(Named(partial(report_arrivals, meters, run, cell)), results, meter, kept)
        outputs, final, last = after
        return found._replace(outputs=outputs, final_state=final, last=last)


def seen(run: Run, cell: Any) -> Callable[[Params, Inputs, Options], Unrolled]:
    """The run of a cell under the name by which `scans` leaves it alone."""

    def jrnn_run(params: Params, xs: Inputs, options: Options) -> Unrolled:
        return run(cell, params, xs, options)

    return jax.jit(jrnn_run)


class Named:
    """A function that is hashed by identity, as JAX's static arguments are."""

    def __init__(self, function: Any):
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def zero_tap(cell: Any, params: Params, options: Options, rows: int) -> State:
    """Zeros like so many states."""
    shapes = state_shapes(cell, params, (rows, *options.batch_shape))
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def report_edges(meters: Meters, cell: Any, reverse: bool, whole: Any, operands: Any, delta: list[Array]) -> Meter:
    """The meter's gain of dL/dh_t."""
    *_, options, lengths, mask = operands
    axes = 1 + len(options.batch_shape)
    return meters.only_edges(edges_of(cell, whole(delta, None), lengths, mask, axes, reverse, meters.dtype))


def report_arrivals(meters: Meters, run: Run, cell: Any, operands: Any, gradients: Any) -> Meter:
    """The meter's gain of dL/dy_t, with `last` counted at the step it came from."""
    (params, xs, options), step, mask = operands
    of_outputs, of_final, of_last = gradients

    def follow() -> tuple[Followed, tuple[Any, State]]:
        row = end_of(mask, options.reverse)
        pulls = jax.tree.map(lambda g, one: g + jnp.where(spread(row, g), one[None], 0), of_outputs, of_last)
        real, whole = split_floating(zero_tap(cell, params, options, options.steps + 1))

        def tapped(real: list[Array]) -> tuple[Any, State]:
            found = seen(run, cell)(params, xs, replace(options, state_tap=whole(real), tap_is_zero=True))
            return found.outputs, found.final_state

        _, pull = jax.vjp(tapped, real)
        schedule = schedule_of(options)
        inside = jnp.ones_like(mask) if schedule.inside is None else schedule.inside
        followed = Followed(
            lambda cotangent: whole(pull(cotangent)[0]),
            end_of(inside, options.reverse),
            segments_of(options, inside),
            options.reverse,
            int(reads_previous(cell)),
        )
        return followed, (pulls, of_final)

    return meters.sampled(step, follow)


def spread(flags: Array, like: Array) -> Array:
    """[T, *B] against [T, *B, ...]."""
    return flags.reshape(flags.shape + (1,) * (like.ndim - flags.ndim))


def segments_of(options: Options, inside: Array) -> Array:
    """[T+1, *B] of int32, laid out like the states: how many resets and cuts come before each; -1 on padding."""
    schedule, turn = schedule_of(options), (lambda a: a[::-1]) if options.reverse else (lambda a: a)
    count = jnp.zeros((len(inside) + 1, *inside.shape[1:]), jnp.int32)
    for flags in (schedule.resets, schedule.cuts):
        if flags is not None:
            each = jnp.broadcast_to(spread(turn(flags), inside), inside.shape).astype(jnp.int32)
            count = count.at[1:].add(jnp.cumsum(each, axis=0, dtype=jnp.int32))
    there = jnp.concatenate([jnp.ones_like(inside[:1]), turn(inside)])
    return turn(jnp.where(there, count, -1))
