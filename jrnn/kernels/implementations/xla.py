"""The recurrences in XLA's own operations, for every platform, with a backward pass whose loop is short.

On a CPU the forward pass is the plain scan: x W_in of all steps in one product would be slower, as XLA does not
vectorise the gates of a slice of it there. On accelerators each operation is launched anew, which costs more than it
computes: what is known of all steps is one product, x W_in forwards, the sums of the gates backwards, and four steps
make a turn of the loop (an LSTM's training step on a GPU: 7.5 launches a step, 19 by the plain loops).

In the backward pass a scan finds only dz_t, the gradient of the pre-activations; the gradients of the weights and of
the inputs are then one product each over all steps, where autodiff adds a product to the weights' gradient at every
step. On a CPU with many sequences the latter is better, and `defers` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.implementations.base import CallFacts
from jrnn.kernels.implementations.groups import map_groups
from jrnn.kernels.implementations.one_step import added, entering, state_after, step_back
from jrnn.kernels.implementations.step_arrays import (
    active_tap,
    entering_states,
    gates_follow_from_states,
    masked_inputs,
    operand_gradients,
    zero_on_padding,
)
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.kernels.recurrences import Sloped
from jrnn.kernels.sharding import aligned
from jrnn.types import Array, wide_dtype

UNROLL = 4
"""Steps in a turn of the loop, where launches are counted."""


@dataclass(frozen=True, eq=False)
class Xla:
    """See the module."""

    few_launches: bool | None = None
    """Whether it counts launches; None: on all platforms but CPUs."""

    name = "xla"
    by_autodiff = False
    opaque_to_xla = False

    def refuses(self, facts: CallFacts) -> str | None:
        """It runs every recurrence that defines the parts of a backward pass."""
        if isinstance(facts.recurrence, Sloped):
            return None
        return f"a {facts.recurrence.name} recurrence is as fast by the scan of its own step"

    def only_if_named(self, facts: CallFacts) -> None:
        """Never."""

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """It saves the sums that the gates are made of [E, T, B, H] each, or what they read of x."""
        body = partial(forward_group, scan, all_states, save_gates, self.counts_launches())
        return map_groups(body, scan, (operands, events))

    def backward(
        self,
        scan: Scan,
        needs_gradient: Any,
        operands: Operands,
        events: Events,
        saved: RecurrenceResult,
        cotangents: RecurrenceResult,
    ) -> Operands:
        """None for what needs no gradient."""
        body = partial(backward_group, scan, needs_gradient, self.counts_launches())
        return map_groups(body, scan, (operands, events, saved, cotangents))

    def counts_launches(self) -> bool:
        return jax.default_backend() != "cpu" if self.few_launches is None else self.few_launches


def forward_group(
    scan: Scan, all_states: bool, save_gates: bool, few: bool, reverse: bool, operands: Operands, events: Events
) -> RecurrenceResult:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence

    def body(state: tuple[Array, ...], inputs: tuple) -> tuple[tuple[Array, ...], tuple]:
        x, now, tap = inputs
        state = entering(state, operands.reset_state, now)
        sums = (recurrence.sums_from if few else recurrence.sums)(operands.weights, x, state)
        gates = recurrence.gates(operands.weights, sums, state)
        after = state_after(recurrence, gates, state, now, tap)
        return after, (after if all_states else after[:1], sums if save_gates and not few else None)

    save_gates = save_gates and not gates_follow_from_states(scan, operands)
    xs = masked_inputs(operands, events)
    xs = recurrence.from_inputs(operands.weights, xs) if few else xs
    inputs, unroll = (xs, events, active_tap(scan, operands, events)), turn(few, operands.xs.shape[0])
    last, (states, sums) = jax.lax.scan(body, operands.start, inputs, reverse=reverse, unroll=unroll)
    return RecurrenceResult(states, last, xs if save_gates and few else sums)


def backward_group(
    scan: Scan,
    needs_gradient: Any,
    few: bool,
    reverse: bool,
    operands: Operands,
    events: Events,
    saved: RecurrenceResult,
    cotangents: RecurrenceResult,
) -> Operands:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence
    reset_state = operands.reset_state or operands.start
    entered = tuple(map(partial(entering_states, events, reverse), saved.states, operands.start, reset_state))
    from_states, wide = gates_follow_from_states(scan, operands), wide_dtype(operands.dtype)
    # None: computed again, step by step, to need no memory
    sums = saved.states[:1] if from_states else saved.gates
    deferred = few or defers(operands)
    if few and not from_states:
        xs = masked_inputs(operands, events)
        from_x = recurrence.from_inputs(operands.weights, xs) if sums is None else sums
        sums = recurrence.sums_from(operands.weights, from_x, entered)
    back = recurrence.transposed(operands.weights)

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        (deltas, reset_states, weights), (x, entered, sums, now, cotangents) = carry, inputs
        if sums is None:
            sums = recurrence.sums(operands.weights, masked_inputs(operands._replace(xs=x), now), entered)
        gates = sums if from_states else recurrence.gates(operands.weights, sums, entered)
        deltas = added(deltas, cotangents)
        before, reset_states, *out = step_back(recurrence, back, gates, entered, deltas, reset_states, now)
        if not deferred:
            here, xs, *slopes = jax.tree.map(lambda a: a[None], (now, x, entered, *out))
            step_weights, out = weight_gradients(operands._replace(xs=xs), here, *slopes)
            weights = jax.tree.map(jnp.add, weights, step_weights)
        return (before, reset_states, weights), (out, deltas if any(needs_gradient.tap or ()) else None)

    def weight_gradients(
        operands: Operands, events: Events, entered: tuple, dz: Array, more: Any
    ) -> tuple[Any, Array | None]:
        """The gradients of the weights and of xs."""
        xs = masked_inputs(operands, events)
        weights = recurrence.gradients(needs_gradient.weights, operands.weights, xs, entered, dz, more)
        return weights, recurrence.input_gradient(operands.weights, dz) if needs_gradient.xs else None

    no_weights = jax.tree.map(
        lambda a, flag: jnp.zeros_like(a) if flag else None, operands.weights, needs_gradient.weights
    )
    no_deltas = tuple(jnp.zeros_like(h, dtype=wide) for h in operands.start)
    no_deltas, no_weights, _ = aligned((no_deltas, no_weights, entered))
    ends = tuple(n if g is None else g.astype(wide) for n, g in zip(no_deltas, cotangents.last, strict=True))
    of_states = (*cotangents.states, *(None,) * (len(no_deltas) - len(cotangents.states)))
    inputs = None if deferred and sums is not None else operands.xs, entered, sums, events, of_states
    ends, unroll = (ends, no_deltas, None if deferred else no_weights), turn(few, operands.xs.shape[0])
    (starts, reset_states, weights), (out, taps) = jax.lax.scan(body, ends, inputs, reverse=not reverse, unroll=unroll)
    if deferred:
        weights, xs = weight_gradients(operands, events, entered, *out)
    else:
        xs = None if out is None else out[:, 0]
    taps = None if taps is None else zero_on_padding(events, taps)
    return operand_gradients(weights, xs, needs_gradient, operands, starts, reset_states, taps)


def defers(operands: Operands) -> bool:
    """Whether the gradients of the weights wait for dz of all steps and are one product each, on a CPU.

    With at least H sequences a product at each step is as fast there, and dz [T, B, G H] is not stored.
    """
    rows, units = operands.start[0].shape
    exact = wide_dtype(operands.dtype) == operands.dtype  # a sum of rounded parts would be worse
    few = not isinstance(rows, int) or rows < units  # in an exported program the number may be a symbol
    return few or not exact


def turn(few: bool, steps: Any) -> int:
    """Steps in a turn of the loop; in an exported program their number may be a symbol."""
    return UNROLL if few and isinstance(steps, int) else 1


XLA = Xla()
