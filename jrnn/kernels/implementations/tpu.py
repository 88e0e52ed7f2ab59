"""The recurrences on TPUs: one Pallas kernel runs the whole sequence, forward, and one backward.

The products with x stand ahead of the loop, all steps in one; the kernel keeps W_rec in VMEM and streams the rest
(`kernels/pallas_scan`). Backward it finds dz_t alone: the gradients of the weights and of the inputs are then one
product each over all steps. Inside the kernel a recurrence's own `sums_from`, `gates`, `after` and `slope` are traced.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

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
from jrnn.kernels.pallas_scan.plan import BLOCKS, Target, TooLarge
from jrnn.kernels.recurrences import Sloped
from jrnn.kernels.recurrences.base import input_dtype
from jrnn.types import wide_dtype

DTYPES = ("float32", "bfloat16")

CHECKED: dict[str, str] = {}
"""The device kinds on which the oracle checks have run, each with its date: where the kernel is taken unasked."""

COARSE = (None, "default", "bfloat16", "BF16_BF16_F32")
"""The settings under which XLA multiplies float32 on TPUs in one pass of bfloat16."""

SMALLEST = 16 * 2**20
"""VMEM of the oldest TPUs, in bytes."""


@dataclass(frozen=True)
class Tpu:
    """See the module."""

    interpret: Any = False
    """What Pallas's `interpret` takes: True or `InterpretParams` run the kernel on any platform, for tests."""
    vmem: int | None = None
    """Bytes of VMEM that a core has; None asks the device."""

    name: ClassVar[str] = "tpu"
    by_autodiff: ClassVar[bool] = False
    opaque_to_xla: ClassVar[bool] = True

    def refuses(self, facts: CallFacts) -> str | None:
        """It runs on TPUs, in two dtypes, what has a backward pass of its own and fits into VMEM."""
        if facts.backend != "tpu" and not self.interpret:
            return f"it runs on TPUs, and JAX runs on {facts.backend}"
        if not isinstance(facts.recurrence, Sloped):
            return f"a {facts.recurrence.name} recurrence has no backward pass of its own"
        if str(facts.dtype) not in DTYPES:
            return f"it has no {facts.dtype}"
        if facts.on_explicit_mesh:
            return "the types that say how arrays are split do not pass through a foreign call"
        sizes = facts.steps, facts.sequences, facts.features, facts.units
        if not all(size is None or isinstance(size, int) for size in sizes):
            return "its blocks are made for sizes that are known, and here they are symbols"
        if facts.weights is None or None in sizes:
            return None
        return too_large(facts.recurrence, facts.weights, str(facts.dtype), *sizes[1:], self.target().vmem)

    def only_if_named(self, facts: CallFacts) -> str | None:
        """It is opt-in where nobody has compared it with the oracles on the hardware itself."""
        kind = jax.devices()[0].device_kind
        return None if kind in CHECKED else f"its checks have not yet run on a {kind}: name it to take it"

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """It saves the gates, [E, T, B, H] each."""
        body = partial(forward_group, self.target(), scan, all_states, save_gates)
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
        body = partial(backward_group, self.target(), scan, needs_gradient)
        return map_groups(body, scan, (operands, events, saved, cotangents))

    def target(self) -> Target:
        """What its kernels are compiled for."""
        return Target(self.vmem or vmem_here(), self.interpret)


def vmem_here() -> int:
    """The VMEM of a core of this process's devices, in bytes; where it has no TPU, that of the smallest."""
    from jax.experimental.pallas import tpu

    return tpu.get_tpu_info().vmem_capacity_bytes if jax.default_backend() == "tpu" else SMALLEST


def precision_for(dtype: Any) -> str:
    """That of XLA's own products under the same `jax.default_matmul_precision`: of float32 one pass in bfloat16, or all
    of its digits where more is asked for. Mosaic has nothing in between, and of bfloat16 nothing but the exact product.
    """
    coarse = wide_dtype(dtype) != dtype or jax.config.jax_default_matmul_precision in COARSE
    return "default" if coarse else "highest"


@lru_cache(maxsize=256)
def too_large(recurrence: Any, weights: Any, dtype: Any, rows: int, features: int, units: int, vmem: int) -> str | None:
    """Why such a call does not fit into VMEM; None if it does, forward and backward."""
    states = tuple(jax.ShapeDtypeStruct((rows, units), dtype) for _ in recurrence.parts)
    xs = jax.ShapeDtypeStruct((max(BLOCKS), rows, features), input_dtype(recurrence, dtype))
    operands, scan = Operands(xs, weights, states, None, None), Scan(recurrence, (False,))
    needed = jax.tree.map(lambda _: True, operands)
    target = Target(vmem, False)

    def both(operands: Operands) -> Any:
        result = forward_group(target, scan, True, True, False, operands, Events())
        return backward_group(target, scan, needed, False, operands, Events(), result, result._replace(gates=None))

    try:
        jax.eval_shape(both, operands)
    except TooLarge as error:
        return str(error)
    return None


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
    from jrnn.kernels.pallas_scan.scan import streamed_scan

    recurrence: Any = scan.recurrence
    save_gates = save_gates and not gates_follow_from_states(scan, operands)

    def body(weights: Any, reset_state: Any, state: tuple, inputs: tuple, now: Events) -> tuple[tuple, tuple]:
        from_x, tap = inputs
        state = entering(state, reset_state, now)
        gates = recurrence.gates(weights, recurrence.sums_from(weights, from_x, state), state)
        after = state_after(recurrence, gates, state, now, tap)
        return after, (after if all_states else after[:1], gates if save_gates else None)

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
    from jrnn.kernels.pallas_scan.scan import streamed_scan

    recurrence: Any = scan.recurrence
    reset_state, wide = operands.reset_state or operands.start, wide_dtype(operands.dtype)
    entered = tuple(map(partial(entering_states, events, reverse), saved.states, operands.start, reset_state))
    gates = saved.states[:1] if gates_follow_from_states(scan, operands) else saved.gates
    xs = masked_inputs(operands, events)
    from_x = recurrence.from_inputs(operands.weights, xs) if gates is None else None
    of_tap = any(needs_gradient.tap or ())

    def body(weights: tuple, _: None, carry: tuple, inputs: tuple, now: Events) -> tuple[tuple, tuple]:
        (deltas, reset_states), (own, back), (from_x, gates, entered, cotangents) = carry, weights, inputs
        if gates is None:  # they were not saved, to need no memory
            gates = recurrence.gates(own, recurrence.sums_from(own, from_x, entered), entered)
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
            (from_x, gates, entered, of_states),
            Events(valid=events.valid, resets=events.resets, cuts=events.cuts),
            reverse=not reverse,
            target=target,
            name=f"jrnn_{recurrence.name}_backward",
        )
    weights = recurrence.gradients(needs_gradient.weights, operands.weights, xs, entered, dz, more)
    of_xs = recurrence.input_gradient(operands.weights, dz) if needs_gradient.xs else None
    taps = None if taps is None else zero_on_padding(events, taps)
    return operand_gradients(weights, of_xs, needs_gradient, operands, starts, reset_states, taps)


TPU = Tpu()
