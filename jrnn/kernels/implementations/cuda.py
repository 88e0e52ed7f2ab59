"""The device kernels for NVIDIA GPUs: a launch runs the whole sequence (`kernels/cuda/`), through XLA's FFI.

Before it XLA takes x W_in + b of all steps in one product; after the backward pass, which leaves dz of every step, the
gradients of the weights and of the inputs are one product each. A kernel is compiled when a program that holds it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.cuda import build
from jrnn.kernels.cuda.fragments import fragments
from jrnn.kernels.cuda.plan import GATES, STORAGE, Plan, Target, choose
from jrnn.kernels.implementations import native
from jrnn.kernels.implementations.base import CallFacts
from jrnn.kernels.implementations.groups import map_groups, map_one_direction
from jrnn.kernels.implementations.step_arrays import entering_states, masked_inputs, operand_gradients
from jrnn.kernels.implementations.xla import gates_follow_from_states
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan, Sizes, sizes
from jrnn.kernels.recurrences import Recurrence
from jrnn.kernels.recurrences.dense import Dense, from_inputs
from jrnn.kernels.sharding import aligned, array_like
from jrnn.types import Array

PROVEN: dict[tuple[int, int], str] = {}
"""The compute capabilities on which the oracle checks have run on hardware, and when. On others the kernels are taken
only by name: what tests on a CPU cannot show is the order in which a GPU's memory is written, and a wait for ever."""

# the order of the FFI's arguments and results, by their names in the .cuh files; a test compares them
FORWARD = "from_x w_rec w_candidate bias_rec h0 c0 reset_h reset_c events tap_h tap_c reverse".split()
RESULTS = "hs cs last_h last_c gates0 gates1 gates2 gates3".split()
BACKWARD = "w_rec w_candidate entered events reverse gates0 gates1 gates2 gates3 g_hs g_cs g_last_h g_last_c".split()
GRADIENTS = "dz d_h0 d_c0 d_reset_h d_reset_c d_tap_h d_tap_c".split()

APPROXIMATE = (None, "default", "fastest", "bfloat16", "tensorfloat32", "BF16_BF16_F32", "TF32_TF32_F32")
"""Settings of `jax.default_matmul_precision` under which XLA, too, takes products of float32 by TF32 on GPUs."""


class Gpu:
    """What the kernels are compiled for and how they are called; the tests have another one, on a CPU."""

    backend = "gpu"
    call = "jrnn_cuda"
    """The name of the foreign function."""

    @staticmethod
    @cache
    def target() -> Target | str:
        """The first GPU, or why there is none that the kernels run on."""
        device = jax.local_devices()[0]
        try:
            major, minor = map(int, device.compute_capability.split("."))
        except (AttributeError, ValueError):  # AMD's have names here
            return f"it runs on NVIDIA GPUs, and this is {device.device_kind}"
        return Target((major, minor), int(device.core_count))

    @staticmethod
    @cache
    def missing() -> str | None:
        """Why the kernels cannot be compiled or called; None if they can. It makes them known to XLA."""
        library = native.library()
        if isinstance(library, str):
            return library
        library.jrnn_cuda_missing.restype = native.ctypes.c_char_p
        why = library.jrnn_cuda_missing().decode()
        if why:
            return why
        jax.ffi.register_ffi_target("jrnn_cuda", jax.ffi.pycapsule(library.jrnn_cuda), platform="CUDA")
        target = Gpu.target()
        return target if isinstance(target, str) else build.missing(target)

    @staticmethod
    def code(plan: Plan) -> bytes:
        """What the driver loads."""
        target = Gpu.target()
        assert not isinstance(target, str), target
        return build.code(plan, target)


@dataclass(frozen=True, eq=False)
class Cuda:
    """See the module."""

    name = "cuda"
    by_autodiff = False
    opaque_to_xla = True

    device: Any = Gpu

    def refuses(self, facts: CallFacts) -> str | None:
        """It runs on NVIDIA GPUs, with the weights of a layer in registers and shared memory."""
        if facts.backend != self.device.backend:
            return f"it runs on NVIDIA GPUs, and JAX runs on {facts.backend}"
        if not has(facts.recurrence):
            return f"it has no {facts.recurrence.name}"
        dtype = str(facts.dtype)
        if dtype not in STORAGE:
            return f"it has no {dtype}"
        if facts.on_explicit_mesh:
            return "the types that say how arrays are split do not pass through a foreign call"
        target, why = self.device.target(), self.device.missing()
        if isinstance(target, str) or why is not None:
            return target if isinstance(target, str) else why
        if not isinstance(facts.units, int):
            return None
        plans = [self.plan(each, facts.recurrence, dtype, facts.units) for each in ("forward", "backward")]
        return next((why for why in plans if isinstance(why, str)), None)

    def only_if_named(self, facts: CallFacts) -> str | None:
        """Where its checks have not run on the hardware."""
        target = self.device.target()
        if getattr(target, "capability", None) in PROVEN:
            return None
        return f"its checks have not yet run on a GPU of compute capability {target}; name it to use it"

    def plan(self, direction: str, recurrence: Recurrence, dtype: str, units: int, tiles: int = 1) -> Plan | str:
        """The sizes of a kernel, or why it cannot be; `tiles`: those of 8 sequences in the call."""
        assert recurrence.native is not None
        products = 1 if dtype == "bfloat16" or matmul_precision() in APPROXIMATE else 3
        return choose(direction, recurrence.native, dtype, products, units, self.device.target(), tiles)

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """It saves the gates in float32, an array [E, T, B, H] each."""
        n, dtype, weights = sizes(scan, operands), operands.dtype, operands.weights

        def project(_: bool, weights: Any, xs: Array, valid: Array | None) -> Array:
            return from_inputs(weights, masked_inputs(operands._replace(xs=xs), Events(valid=valid)))

        has_cell = len(operands.start) > 1
        count = max(1, scan.recurrence.gates_saved(dtype))  # with a tap the state is no gate
        saves = save_gates and not gates_follow_from_states(scan, operands)
        arrays = {
            "from_x": over_groups(project, n.groups, weights, operands.xs, events.valid),
            "bias_rec": weights.bias_rec,
            **dict(zip(("h0", "c0"), operands.start)),
            **dict(zip(("reset_h", "reset_c"), operands.reset_state or ())),
            **dict(zip(("tap_h", "tap_c"), (not scan.tap_is_zero and operands.tap) or ())),
        }
        states, last = (n.groups, n.steps, n.rows, n.units), (n.groups, n.rows, n.units)
        types = {"hs": (states, dtype), "last_h": (last, dtype)}
        if has_cell:
            types |= {"last_c": (last, dtype)} | ({"cs": (states, dtype)} if all_states else {})
        if saves:
            types |= {f"gates{i}": (states, jnp.float32) for i in range(count)}
        results = self.call("forward", scan, n, events, operands, arrays, types)
        gates = tuple(results[f"gates{i}"] for i in range(count)) if saves else None
        return RecurrenceResult(parts(results, "hs", "cs"), parts(results, "last_h", "last_c"), gates)

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
        reset_state = operands.reset_state or operands.start

        def enter(reverse: bool, events: Events, *arrays: tuple) -> tuple:
            return tuple(map(partial(entering_states, events, reverse), *arrays))

        entered = map_groups(enter, scan, (events, saved.states, operands.start, reset_state))
        gates = saved.states[:1] if gates_follow_from_states(scan, operands) else saved.gates
        if gates is None:  # computed again, for all steps at once

            def again(_: bool, weights: Any, xs: Array, valid: Array | None, entered: tuple) -> tuple:
                xs = masked_inputs(operands._replace(xs=xs), Events(valid=valid))
                return recurrence.gates(weights, recurrence.sums(weights, xs, entered), entered)

            gates = over_groups(again, n.groups, weights, operands.xs, events.valid, entered)
        arrays = {
            "entered": entered[-1] if recurrence.gates_saved(dtype) > 1 else None,
            **{f"gates{i}": gate for i, gate in enumerate(gates)},
            **dict(zip(("g_hs", "g_cs"), cotangents.states)),
            **dict(zip(("g_last_h", "g_last_c"), cotangents.last)),
        }
        states, last = (n.groups, n.steps, n.rows, n.units), (n.groups, n.rows, n.units)
        types = {"dz": ((*states[:3], GATES[recurrence.native] * n.units), dtype)}
        for field, shape, of in (("start", last, dtype), ("reset_state", last, jnp.float32), ("tap", states, dtype)):
            if any(getattr(needs_gradient, field) or ()):
                types |= {name: (shape, of) for name in names(field, operands)}
        results = self.call("backward", scan, n, events, operands, arrays, types)

        def products(_: bool, weights: Any, xs: Array, valid: Array | None, entered: tuple, dz: Array, more: Any) -> Any:
            xs = masked_inputs(operands._replace(xs=xs), Events(valid=valid))
            found = recurrence.gradients(needs_gradient.weights, weights, xs, entered, dz, more)
            return found, recurrence.input_gradient(weights, dz) if needs_gradient.xs else None

        of_weights, of_xs = over_groups(
            products, n.groups, weights, operands.xs, events.valid, entered, results["dz"], gates[0] if gates else None
        )
        found = {field: [results.get(name) for name in names(field, operands)] for field in ("start", "reset_state")}
        taps = tuple(results.get(name) for name in names("tap", operands))
        return operand_gradients(
            of_weights, of_xs, needs_gradient, operands, tuple(found["start"]), tuple(found["reset_state"]), taps
        )

    def call(
        self,
        direction: str,
        scan: Scan,
        n: Sizes,
        events: Events,
        operands: Operands,
        arrays: dict[str, Array | None],
        types: dict[str, tuple],
    ) -> dict[str, Array]:
        """The launch: the results in `types`, {name: (shape, dtype)}, from arrays by name; it leaves others empty."""
        if isinstance(n.rows, int) and not n.rows:
            return {result: jnp.zeros(*of) for result, of in types.items()}
        whole = isinstance(n.rows, int)  # else a symbol, in an exported program
        plan = self.plan(
            direction, scan.recurrence, str(operands.dtype), n.units, n.groups * -(-n.rows // 8) if whole else 1
        )
        assert isinstance(plan, Plan), plan  # `refuses` has seen to it
        code = self.device.code(plan)
        weights = map_one_direction(lambda _, w_rec: fragments(plan, w_rec), False, len(operands.weights.w_rec), (operands.weights.w_rec,))
        arrays = arrays | dict(zip(("w_rec", "w_candidate"), weights))
        arrays |= {"events": event_bytes(events), "reverse": jnp.asarray(np.asarray(scan.reverse, np.uint8))}
        inputs, outputs = (FORWARD, RESULTS) if direction == "forward" else (BACKWARD, GRADIENTS)
        absent = jnp.zeros((1, 0), operands.dtype)
        given = aligned([absent if arrays.get(each) is None else arrays[each] for each in inputs])
        made = [array_like(given[0], *types.get(each, ((1, 0), operands.dtype))) for each in outputs]
        numbers = np.asarray((plan.threads, plan.cluster, 8 * plan.tiles, plan.shared), np.int64)
        run = jax.ffi.ffi_call(self.device.call, made)
        found = run(*given, code=code, key=build.key(plan, code), name=plan.name, sizes=numbers)
        results = dict(zip(outputs, found, strict=True))
        return {result: results[result] for result in types}


def has(recurrence: Recurrence) -> bool:
    """Whether there is a kernel for it: one with products x W_in and h W_rec, and nothing else."""
    return recurrence.weights is Dense and recurrence.native in range(len(GATES))


def matmul_precision() -> Any:
    """What the user asked of products of float32."""
    return jax.config.values["jax_default_matmul_precision"]


def over_groups(function: Callable, groups: int, *args: Any) -> Any:
    """`function(False, *args)` of every group, whatever its direction."""
    return map_one_direction(function, False, groups, args)


def event_bytes(events: Events) -> Array | None:
    """The events as `plan.cuh` has them, [E, T, B] of uint8; None where there are none."""
    if all(flags is None for flags in events):
        return None
    outside = None if events.inside is None else ~events.inside
    bits = [(1, events.valid), (2, events.resets), (4, events.cuts), (8, outside)]
    terms = [flags.astype(jnp.uint8) * jnp.uint8(bit) for bit, flags in bits if flags is not None]
    total = jnp.uint8(1 if events.valid is None else 0)
    for term in terms:
        total = total + term
    return total


def names(field: str, operands: Operands) -> tuple[str, ...]:
    """The results that are the gradients of an operand of states: of h, or of h and c."""
    stem = {"start": "d_{}0", "reset_state": "d_reset_{}", "tap": "d_tap_{}"}[field]
    return tuple(stem.format(part) for part in "hc"[: len(getattr(operands, field) or ())])


def parts(results: dict[str, Array], *names: str) -> tuple[Array, ...]:
    """The parts of a state that are there: h, or h and c."""
    return tuple(results[name] for name in names if name in results)


CUDA = Cuda()
