"""The kernels for NVIDIA GPUs: a launch runs the whole sequence (`kernels/cuda/`), through XLA's FFI.

Before it XLA takes x W_in of all steps in one product; after the backward pass, which leaves dz of every step, the
gradients of the weights and of the inputs are one product each. A kernel is compiled when a program that holds it is.
A process that runs an exported program asks first, by `jrnn.kernels.explain` say: that makes the launcher known to XLA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.cuda.gpu import Gpu
from jrnn.kernels.cuda.launch import launch
from jrnn.kernels.cuda.plan import BLOCKS, GATES, GRU_BEFORE, STORAGE, Plan, choose
from jrnn.kernels.implementations.base import CallFacts
from jrnn.kernels.implementations.groups import map_groups, map_one_direction
from jrnn.kernels.implementations.step_arrays import entering_states, masked_inputs, operand_gradients
from jrnn.kernels.implementations.xla import gates_follow_from_states
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan, Sizes, sizes
from jrnn.kernels.recurrences import Recurrence
from jrnn.kernels.recurrences.dense import Dense, matmul, product_sum, total
from jrnn.types import Array

CHECKED: dict[tuple[tuple[int, int], str, str], str] = {}
"""(compute capability, recurrence, dtype) whose checks against the specification have run on hardware, and when.

On others the kernels are taken only by name: what tests on a CPU cannot show is the order in which a GPU's memory is
written, and a wait for ever.
"""

PORTABLE = 8
"""Blocks of a cluster that every GPU with clusters has room for."""

APPROXIMATE = (None, "default", "fastest", "bfloat16", "tensorfloat32", "BF16_BF16_F32", "TF32_TF32_F32")
"""Settings of `jax.default_matmul_precision` under which XLA, too, takes products of float32 by TF32 on a GPU."""


@dataclass(frozen=True, eq=False)
class Cuda:
    """See the module."""

    name = "cuda"
    by_autodiff = False
    opaque_to_xla = True

    device: Any = Gpu

    def refuses(self, facts: CallFacts) -> str | None:
        """It runs on NVIDIA GPUs, with all of a layer's recurrent weights in registers and shared memory."""
        if facts.backend != self.device.backend:
            return f"it runs on NVIDIA GPUs, and JAX runs on {facts.backend}"
        if not has(facts.recurrence):
            return f"it has no {facts.recurrence.name}"
        dtype = str(facts.dtype)
        if dtype not in STORAGE:
            return f"it has no {dtype}"
        if facts.on_explicit_mesh:
            return "the types that say how arrays are split do not pass through a foreign call"
        target = self.device.target()
        why = target if isinstance(target, str) else self.device.missing()
        if why is not None or not isinstance(facts.units, int):
            return why
        plans = [self.plan(each, facts.recurrence, dtype, facts.units) for each in ("forward", "backward")]
        return next((why for why in map(self.refuses_plan, plans) if why is not None), None)

    def refuses_plan(self, plan: Plan | str) -> str | None:
        """Why a kernel cannot be, or cannot run here; None if it can."""
        if isinstance(plan, str):
            return plan
        if plan.cluster > PORTABLE and not self.device.has_room(plan):
            return f"{plan.units} units need {plan.cluster} blocks side by side, and this GPU has no room for them"
        return None

    def only_if_named(self, facts: CallFacts) -> str | None:
        """Where its checks have not run on the hardware."""
        target = self.device.target()
        kind, dtype = facts.recurrence.name, str(facts.dtype)
        if (getattr(target, "capability", None), kind, dtype) in CHECKED:
            return None
        where = f"a GPU of compute capability {target}"
        return f"its checks of {kind} in {dtype} have not yet run on {where}; name it to use it"

    def plan(self, direction: str, recurrence: Recurrence, dtype: str, units: int, tiles: int = 1) -> Plan | str:
        """The sizes of a kernel, or why it cannot be; `tiles`: into how many of 8 sequences the call can be cut."""
        assert recurrence.native is not None
        exact = dtype == "float32" and jax.config.values["jax_default_matmul_precision"] not in APPROXIMATE
        return choose(direction, recurrence.native, dtype, 3 if exact else 1, units, self.device.target(), tiles)

    def plan_of(self, direction: str, scan: Scan, n: Sizes, dtype: Any) -> Plan:
        """`plan` of a call that `refuses` has let pass."""
        tiles = n.groups * -(-n.rows // 8) if isinstance(n.rows, int) else 1  # else a symbol, in an exported program
        found = self.plan(direction, scan.recurrence, str(dtype), n.units, tiles)
        assert isinstance(found, Plan), found
        return found

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """It saves the gates in float32, an array [E, T, B, H] each."""
        n, dtype, weights = sizes(scan, operands), operands.dtype, operands.weights

        def project(w_in: Array, xs: Array, valid: Array | None) -> Array:
            return matmul(masked_inputs(operands._replace(xs=xs), Events(valid=valid)), w_in)

        arrays = {
            "from_x": over_groups(project, weights.w_in, operands.xs, events.valid),
            "bias": weights.bias,
            "bias_rec": weights.bias_rec,
            **dict(zip(("h0", "c0"), operands.start)),
            **dict(zip(("reset_h", "reset_c"), operands.reset_state or ())),
            **dict(zip(("tap_h", "tap_c"), () if scan.tap_is_zero else operands.tap or ())),
        }
        states, last = (n.groups, n.steps, n.rows, n.units), (n.groups, n.rows, n.units)
        types = {"hs": (states, dtype), "last_h": (last, dtype)}
        if len(operands.start) > 1:
            types |= {"last_c": (last, dtype)} | ({"cs": (states, dtype)} if all_states else {})
        saved = []
        if save_gates and not gates_follow_from_states(scan, operands):
            # of one that follows from the state, but for a tap, the count is 0
            saved = [f"gates{i}" for i in range(max(1, scan.recurrence.gates_saved(dtype)))]
        types |= {name: (states, jnp.float32) for name in saved}
        plan = self.plan_of("forward", scan, n, dtype)
        results = launch(self.device, plan, scan, operands, events, arrays, types)
        gates = tuple(results[name] for name in saved) or None
        return RecurrenceResult(present(results, "hs", "cs"), present(results, "last_h", "last_c"), gates)

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
        recurrence: Any = scan.recurrence
        n, dtype, weights = sizes(scan, operands), operands.dtype, operands.weights

        def enter(reverse: bool, events: Events, *arrays: tuple) -> tuple:
            return tuple(map(partial(entering_states, events, reverse), *arrays))

        reset_state = operands.reset_state or operands.start
        entered = map_groups(enter, scan, (events, saved.states, operands.start, reset_state))

        def gates_again(weights: Any, xs: Array, valid: Array | None, entered: tuple) -> tuple:
            xs = masked_inputs(operands._replace(xs=xs), Events(valid=valid))
            return recurrence.gates(weights, recurrence.sums(weights, xs, entered), entered)

        gates: Any = saved.states[:1] if gates_follow_from_states(scan, operands) else saved.gates
        if gates is None:  # for all steps at once
            gates = over_groups(gates_again, weights, operands.xs, events.valid, entered)
        arrays = {
            "entered": entered[-1] if len(gates) > 1 else None,
            **{f"gates{i}": gate for i, gate in enumerate(gates)},
            **dict(zip(("g_hs", "g_cs"), cotangents.states)),
            **dict(zip(("g_last_h", "g_last_c"), cotangents.last)),
        }
        states, last = (n.groups, n.steps, n.rows, n.units), (n.groups, n.rows, n.units)
        types = {"dz": ((*states[:3], BLOCKS[recurrence.native] * n.units), dtype)}
        for field, shape, of in (("start", last, dtype), ("reset_state", last, jnp.float32), ("tap", states, dtype)):
            if any(getattr(needs_gradient, field) or ()):
                types |= {name: (shape, of) for name in names(field, operands)}
        plan = self.plan_of("backward", scan, n, dtype)
        results = launch(self.device, plan, scan, operands, events, arrays, types)

        wide = GATES[recurrence.native] * n.units

        def products(weights: Any, xs: Array, valid: Array | None, entered: tuple, dz: Array, more: Array) -> Any:
            xs = masked_inputs(operands._replace(xs=xs), Events(valid=valid))
            if recurrence.native == GRU_BEFORE:  # its candidate's product is not with h
                found = recurrence.gradients(needs_gradient.weights, weights, xs, entered, dz, more)
            else:
                found = weight_gradients(recurrence.native, xs, entered[0], dz)
            return found, recurrence.input_gradient(weights, dz[..., :wide]) if needs_gradient.xs else None

        of_weights, of_xs = over_groups(products, weights, operands.xs, events.valid, entered, results["dz"], gates[0])
        starts, reset_states, taps = (
            tuple(results.get(name) for name in names(field, operands)) for field in ("start", "reset_state", "tap")
        )
        return operand_gradients(of_weights, of_xs, needs_gradient, operands, starts, reset_states, taps)


def has(recurrence: Recurrence) -> bool:
    """Whether there is a kernel for it: one of the kinds in `plan.cuh`, without further weights."""
    return recurrence.weights is Dense and recurrence.native in range(len(GATES))


def weight_gradients(kind: int, xs: Array, h: Array, dz: Array) -> Dense:
    """The gradients of all weights from dz [T, B, blocks H], as one product: (x, h, 1)^T dz.

    Of the GRU the blocks are dz of r, z and n, then that of what r multiplies, h W_n + bias_rec.
    """
    features, units = xs.shape[-1], h.shape[-1]
    wide, end = GATES[kind] * units, features + units
    fill = jnp.zeros((*h.shape[:2], -(end + 1) % 8), h.dtype)  # whole 16 bytes, as fast products want rows
    found = product_sum(jnp.concatenate([xs, h, jnp.ones((*h.shape[:2], 1), h.dtype), fill], axis=-1), dz)
    of_in, of_rec = found[:features], found[features:end]
    of_bias = found[end] if dz.dtype == jnp.bfloat16 else total(dz)  # in float32 TF32 would round it
    if BLOCKS[kind] == GATES[kind]:
        return Dense(of_in, of_rec, of_bias)
    of_rec = jnp.concatenate([of_rec[:, : 2 * units], of_rec[:, wide:]], axis=-1)
    return Dense(of_in[:, :wide], of_rec, of_bias[:wide], of_bias[wide:])


def over_groups(function: Callable, *args: Any) -> Any:
    """The function of every group, whatever its direction; of one group where all share all arrays."""
    groups = max(array.shape[0] for array in jax.tree.leaves(args))
    return map_one_direction(lambda _, *own: function(*own), False, groups, args)


def names(field: str, operands: Operands) -> list[str]:
    """The results that are the gradients of an operand of states: of h, or of h and c."""
    stem = {"start": "d_{}0", "reset_state": "d_reset_{}", "tap": "d_tap_{}"}[field]
    return [stem.format(part) for part in "hc"[: len(getattr(operands, field) or ())]]


def present(results: dict[str, Array], *names: str) -> tuple[Array, ...]:
    """The parts of a state that are there: h, or h and c."""
    return tuple(results[name] for name in names if name in results)


CUDA = Cuda()
