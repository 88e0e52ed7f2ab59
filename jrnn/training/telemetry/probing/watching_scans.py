"""A probe's look at a recurrence that was scanned by hand: its carry is the state, every step happens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.training.telemetry.probing.arrivals import Followed
from jrnn.training.telemetry.probing.edges import edges_of
from jrnn.training.telemetry.probing.meters import Meter, Meters
from jrnn.training.telemetry.probing.reporting import reported, reporting_zeros, shapes_of
from jrnn.training.telemetry.probing.scans import flat, options_of, parts, reads_new, states_of, sums_of, with_states
from jrnn.training.telemetry.probing.watching_runs import Named
from jrnn.types import Array
from jrnn.unrolling.taps import add_zero_tap


class ScanWatcher:
    """Takes the place of each such scan, with a tap whose gradient is reported."""

    def __init__(self, meters: Meters):
        self.meters = meters

    def __call__(self, equation: Any, operands: list[Any]) -> list[Any]:
        meters, steps = self.meters, equation.params["length"]
        _, carry, _ = parts(equation, operands)
        states, sums = states_of(equation), sums_of(equation)
        axes = min(jnp.ndim(carry[i]) for i in states)  # time and batch: the last axis is that of the units
        reverse = equation.params["reverse"]
        meter = meters.meter_of(name_of(equation))
        shapes = [jax.ShapeDtypeStruct((steps, *carry[i].shape), carry[i].dtype) for i in states]
        report = partial(report_edges, meters, axes, reverse)
        kept = jax.lax.stop_gradient(operands)
        tap: Any = reporting_zeros(Named(report), shapes_of(shapes), meter, kept)
        found = tapped(equation, operands, states, tap)
        if not meters.asked.lags:
            return found
        real = [i for i, leaf in enumerate(found) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        floats, addends = [i for i in real if i not in sums], [i for i in real if i in sums and i < len(carry)]
        follow = partial(report_arrivals, meters, equation, states, floats, addends, axes)
        seen: Any = reported(Named(follow), [found[i] for i in (*floats, *addends)], meter, (kept, meters.step))
        for i, leaf in zip((*floats, *addends), seen, strict=True):
            found[i] = leaf
        return found


def name_of(equation: Any) -> str:
    """Where a scan stands: the modules it is called in, as Flax's linen names them, or "scan"."""
    names = [re.sub(r"^\w+\((.*)\)$", r"\1", part) for part in str(equation.source_info.name_stack).split("/")]
    return "/".join(name for name in names if name) or "scan"


def tapped(
    equation: Any, operands: list[Any], states: list[int], tap: list[Array], addends: Sequence[int] = ()
) -> list[Any]:
    """The scan's results, with a tap of zeros [T, ...] on the states among its carry after each step; then what each
    step adds to these sums."""
    consts, carry, xs = parts(equation, operands)
    body, checkpointed = flat(equation.params["jaxpr"])

    def step(carry: list[Any], inputs: Any) -> tuple[list[Any], list[Any]]:
        x, zeros = inputs
        run = with_states(body, states, lambda after: list(map(add_zero_tap, after, zeros)))
        found = run(*consts, *carry, *x)
        return found[: len(carry)], found[len(carry) :] + [found[i] - carry[i] for i in addends]

    step = jax.checkpoint(step, prevent_cse=False) if checkpointed else step
    last, ys = jax.lax.scan(step, carry, (xs, tap), **options_of(equation))
    return [*last, *ys]


def report_edges(meters: Meters, axes: int, reverse: bool, operands: Any, delta: list[Array]) -> Meter:
    """The meter's gain of dL/dh_t."""
    return meters.only_edges(edges_of(None, delta, None, None, axes, reverse, meters.dtype))


def report_arrivals(
    meters: Meters,
    equation: Any,
    states: list[int],
    floats: list[int],
    addends: list[int],
    axes: int,
    operands: Any,
    gradients: Any,
) -> Meter:
    """The meter's gain of the gradient of the scan's results, carry first, and of its sums: what a step adds to one is
    an output, whose gradient is that of the sum."""
    operands, step = operands
    count, params = len(parts(equation, operands)[1]), equation.params
    carried, outputs = [i for i in floats if i < count], [i for i in floats if i >= count]
    read = outputs + addends
    base = int(bool(read) and not reads_new(equation, states, read))
    of_final, of_outputs, of_sums = (gradients[a:b] for a, b in pairwise((0, len(carried), len(floats), None)))
    of_outputs = of_outputs + [jnp.broadcast_to(g[None], (params["length"], *g.shape)) for g in of_sums]

    def follow() -> tuple[Followed, tuple[Any, Any]]:
        carry = parts(equation, operands)[1]
        zeros = [jnp.zeros((params["length"], *carry[i].shape), carry[i].dtype) for i in states]

        def run(tap: list[Array]) -> tuple[list[Array], list[Array]]:
            found = tapped(equation, operands, states, tap, addends)
            added = found[len(found) - len(addends) :]
            return [found[i] for i in outputs] + added, [found[i] for i in carried]

        _, pull = jax.vjp(run, zeros)
        shape = (params["length"], *carry[states[0]].shape[: axes - 1])
        times = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
        last = times == (0 if params["reverse"] else params["length"] - 1)
        segments = jnp.zeros((shape[0] + 1, *shape[1:]), jnp.int32)

        def rows(after: Array) -> Array:
            """[T+1, ...], with a row of zeros in the place of the initial state."""
            ends = (0, 1) if params["reverse"] else (1, 0)
            return jnp.pad(after, (ends, *((0, 0),) * (after.ndim - 1)))

        follow_back = lambda cotangent: list(map(rows, pull(cotangent)[0]))  # noqa: E731
        followed = Followed(follow_back, last, segments, params["reverse"], base)
        return followed, (of_outputs, of_final)

    return meters.sampled(step, follow)
