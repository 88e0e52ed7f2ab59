"""The two passes of a recurrence on a TPU, one group each: what stands ahead of the kernel, its steps, what follows it.

Inside the kernel a recurrence's own `sums_from`, `gates`, `after` and `slope` are traced.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

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
from jrnn.kernels.pallas_scan.plan import Target
from jrnn.kernels.pallas_scan.scan import streamed_scan
from jrnn.types import Array, wide_dtype

COARSE = ("default", "fastest", "bfloat16", "BF16_BF16_BF16", "BF16_BF16_F32")
"""Beside those with F8 and F16, the settings under which XLA multiplies float32 on TPUs in one pass of bfloat16."""


def forward_group(
    target: Target,
    scan: Scan,
    all_states: bool,
    save_gates: bool,
    reverse: bool,
    operands: Operands,
    events: Events,
) -> RecurrenceResult:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence
    save_gates = save_gates and recurrence.gates_saved(operands.dtype) > 0

    def body(weights: Any, reset_state: Any, state: tuple, inputs: tuple, now: Events) -> tuple[tuple, tuple]:
        from_x, tap = inputs
        state = entering(state, reset_state, now)
        sums = recurrence.sums_from(weights, from_x, state)
        gates = recurrence.gates(weights, sums, state)
        after = state_after(recurrence, gates, state, now, tap)
        return after, (after if all_states else after[:1], fewer(sums, gates) if save_gates else None)

    from_x = recurrence.from_inputs(operands.weights, masked_inputs(operands, events))
    with jax.default_matmul_precision(precision_for(operands.dtype)):
        last, (states, gates) = streamed_scan(
            body,
            operands.weights,
            operands.reset_state,
            operands.start,
            (from_x, active_tap(scan, operands, events)),
            Events(valid=events.valid, resets=events.resets),
            reverse=reverse,
            target=target,
            name=f"jrnn_{recurrence.name}_forward",
        )
    return RecurrenceResult(states, last, gates)


def backward_group(
    target: Target,
    scan: Scan,
    needs_gradient: Any,
    reverse: bool,
    operands: Operands,
    events: Events,
    saved: RecurrenceResult,
    cotangents: RecurrenceResult,
) -> Operands:
    """One group: arrays without the leading axis."""
    recurrence: Any = scan.recurrence
    reset_state, wide = operands.reset_state or operands.start, wide_dtype(operands.dtype)
    entered = tuple(map(partial(entering_states, events, reverse), saved.states, operands.start, reset_state))
    kept = {"gates": saved.states[:1]} if gates_follow_from_states(scan, operands) else saved.gates
    xs = masked_inputs(operands, events)
    if kept is None:  # computed again for all steps ahead: within the kernel VMEM would hold W_rec and W_rec^T
        sums = recurrence.sums_from(operands.weights, recurrence.from_inputs(operands.weights, xs), entered)
        kept = fewer(sums, recurrence.gates(operands.weights, sums, entered))
    of_tap = any(needs_gradient.tap or ())

    def body(weights: tuple, _: None, carry: tuple, inputs: tuple, now: Events) -> tuple[tuple, tuple]:
        (deltas, reset_states), (own, back), (kept, entered, cotangents) = carry, weights, inputs
        gates = kept["gates"] if "gates" in kept else recurrence.gates(own, kept["sums"], entered)
        deltas = added(deltas, cotangents)
        before, reset_states, dz, more = step_back(recurrence, back, gates, entered, deltas, reset_states, now)
        return (before, reset_states), (dz, more, deltas if of_tap else None)

    nothing = tuple(jnp.zeros_like(h, dtype=wide) for h in operands.start)
    ends = tuple(n if g is None else g.astype(wide) for n, g in zip(nothing, cotangents.last, strict=True))
    of_states = (*cotangents.states, *(None,) * (len(nothing) - len(cotangents.states)))
    with jax.default_matmul_precision(precision_for(operands.dtype)):
        (starts, reset_states), (dz, more, taps) = streamed_scan(
            body,
            (operands.weights, recurrence.transposed(operands.weights)),
            None,
            (ends, () if events.resets is None else nothing),
            (kept, entered, of_states),
            Events(valid=events.valid, resets=events.resets, cuts=events.cuts),
            reverse=not reverse,
            target=target,
            name=f"jrnn_{recurrence.name}_backward",
        )
    weights = recurrence.gradients(needs_gradient.weights, operands.weights, xs, entered, dz, more)
    of_xs = recurrence.input_gradient(operands.weights, dz) if needs_gradient.xs else None
    taps = None if taps is None else zero_on_padding(events, taps)
    return operand_gradients(weights, of_xs, needs_gradient, operands, starts, reset_states, taps)


def fewer(sums: tuple[Array, ...], gates: tuple[Array, ...]) -> dict[str, tuple[Array, ...]]:
    """The sums or the gates that follow from them, whichever are fewer arrays."""
    return {"sums": sums} if len(sums) < len(gates) else {"gates": gates}


def precision_for(dtype: Any) -> str:
    """That of XLA's own products under the same `jax.default_matmul_precision`: of float32 one pass in bfloat16, or all
    of its digits where more is asked for. Mosaic has nothing in between, and of bfloat16 nothing but the exact product.
    """
    config: Any = jax.config
    asked = config.jax_default_matmul_precision or "default"
    coarse = asked in COARSE or asked.startswith(("ANY_F8", "F16"))
    return "default" if coarse or wide_dtype(dtype) != dtype else "highest"
