"""The compiled kernel for CPUs: one call runs the whole sequence (`native/kernel.cc`), through XLA's FFI."""

from __future__ import annotations

import ctypes
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.implementations.base import CallFacts
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan, sizes
from jrnn.kernels.sharding import aligned, array_like
from jrnn.types import Array, InputError, wide_dtype

DTYPES = ("float32", "float64", "bfloat16")

# the order of the FFI's arguments and results, by their names in `native/problem.h`; a test compares `handlers.cc`
WEIGHTS = ("w_in", "w_rec", "bias", "bias_rec", "theta")
OPERANDS = ("xs", *WEIGHTS, "h0", "c0", "reset_h", "reset_c", "inside", "valid", "resets", "cuts", "tap_h", "tap_c")
SAVED = ("hs", "cs", "gates", "g_hs", "g_cs", "g_last_h", "g_last_c")
RESULTS = ("hs", "cs", "gates", "last_h", "last_c")
GRADIENTS = ("d_xs", *(f"d_{name}" for name in WEIGHTS), "d_h0", "d_c0", "d_reset_h", "d_reset_c", "d_tap_h", "d_tap_c")

INSTRUCTIONS = ("baseline", "avx2", "avx512", "avx512_bf16")
"""What the library is compiled for (of another machine than x86-64: the first); a machine has all up to some one."""

PLACE = Path(__file__).parents[1]
LIBRARY = Path(os.environ.get("JRNN_KERNEL", PLACE / "_recurrence.so"))  # another build, say with sanitizers
REASON = PLACE / "_recurrence.txt"


@cache
def library() -> Any:
    """The loaded library, its handlers registered with XLA; or a string, the reason why there is none.

    The environment variable JRNN_ISA asks for narrower instructions than the widest: InputError if it cannot have them.
    """
    if not LIBRARY.exists():
        why = (
            REASON.read_text(encoding="utf-8").strip()
            if REASON.exists()
            else "it was installed without running the build"
        )
        return f"the kernel was not built: {why}"
    why = spoiled(LIBRARY)
    if why is not None:
        return f"the kernel was not loaded: {why} (install jrnn again)"
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        for name in ("jrnn_forward", "jrnn_backward"):
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    except Exception as error:  # a library built for another jaxlib or machine: whatever it says is the reason
        return f"the kernel could not be loaded: {error}"
    loaded.jrnn_instructions.restype = ctypes.c_char_p
    asked, taken = os.environ.get("JRNN_ISA"), loaded.jrnn_instructions().decode()
    if asked and asked != taken:  # it has then taken the widest
        able = ", ".join(INSTRUCTIONS[: INSTRUCTIONS.index(taken) + 1])
        raise InputError("JRNN_ISA", asked, f"instructions that this machine and this kernel have: {able}")
    return loaded


def spoiled(library: Path) -> str | None:
    """Why this is not the file that the build wrote (it leaves a size and a SHA-256 beside it); None if it is.

    Loading a truncated library would kill the process.
    """
    try:
        content = library.read_bytes()
        size, digest = library.with_suffix(".sum").read_text().split()
    except (OSError, ValueError) as error:
        return f"{library.name} or its checksum cannot be read: {error}"
    if str(len(content)) != size:
        return f"{library.name} has {len(content)} bytes, and the build wrote {size}"
    return None if hashlib.sha256(content).hexdigest() == digest else f"{library.name} is not what the build wrote"


def instructions() -> str:
    """The instruction set in use, one of `INSTRUCTIONS`."""
    return library().jrnn_instructions().decode()


@dataclass(frozen=True, eq=False)
class Native:
    """See the module."""

    name = "native"
    by_autodiff = False
    opaque_to_xla = True

    def refuses(self, facts: CallFacts) -> str | None:
        """It runs on CPUs, the recurrences that `native/recurrences` has, in the dtypes above, if it was built."""
        if facts.backend != "cpu":
            return f"it runs on CPUs, and JAX runs on {facts.backend}"
        if facts.recurrence.native is None:
            return f"it has no {facts.recurrence.name}"
        if str(facts.dtype) not in DTYPES:
            return f"it has no {facts.dtype}"
        if facts.on_explicit_mesh:
            return "the types that say how arrays are split do not pass through a foreign call"
        return library() if isinstance(library(), str) else None

    def only_if_named(self, facts: CallFacts) -> None:
        """Never."""

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """It saves the gates in one array [E, T, B, saved_gates, H]."""
        n, dtype = sizes(scan, operands), operands.dtype
        has_cell = len(operands.start) > 1
        saved_gates = scan.recurrence.gates_saved(dtype) if save_gates else 0
        states, last = (n.groups, n.steps, n.rows, n.units), (n.groups, n.rows, n.units)
        types = {
            "hs": (states, dtype),
            "gates": ((n.groups, n.steps, n.rows, saved_gates, n.units), wide_dtype(dtype)),
            "last_h": (last, dtype),
        }
        if has_cell:
            types |= {"last_c": (last, dtype)} | ({"cs": (states, dtype)} if all_states else {})
        results = call("jrnn_forward", scan, operands, named(operands, events, scan), RESULTS, types)
        gates = results["gates"] if save_gates else None
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
        """None for what needs no gradient; the gradients of the weights come all together."""
        arrays = named(operands, events, scan) | {"gates": saved.gates}
        arrays |= dict(zip(("hs", "cs"), saved.states))
        arrays |= dict(zip(("g_hs", "g_cs"), cotangents.states))
        arrays |= dict(zip(("g_last_h", "g_last_c"), cotangents.last))
        needed = {
            "xs": bool(needs_gradient.xs),
            **dict.fromkeys(WEIGHTS, any(jax.tree.leaves(needs_gradient.weights))),  # one product finds them all
            **dict.fromkeys(("h0", "c0"), any(needs_gradient.start)),
            **dict.fromkeys(("reset_h", "reset_c"), any(needs_gradient.reset_state or ())),
            **dict.fromkeys(("tap_h", "tap_c"), any(needs_gradient.tap or ())),
        }
        groups, own = len(scan.reverse), named(operands, events)  # a tap of zeros has a gradient, too
        types = {
            f"d_{name}": ((groups, *array.shape[1:]), array.dtype)
            for name, array in own.items()
            if needed.get(name) and array is not None
        }
        results = call("jrnn_backward", scan, operands, arrays, GRADIENTS, types)
        weights = type(operands.weights)(*(results.get(f"d_{name}") for name in operands.weights._fields))

        def states(like: tuple | None, *names: str) -> Any:
            return like and tuple(results.get(name) for name in names[: len(like)])

        return Operands(
            results.get("d_xs"),  # pyright: ignore[reportArgumentType]
            weights,
            states(operands.start, "d_h0", "d_c0"),
            states(operands.reset_state, "d_reset_h", "d_reset_c"),
            states(operands.tap, "d_tap_h", "d_tap_c"),
        )


def named(operands: Operands, events: Events, scan: Scan | None = None) -> dict[str, Array | None]:
    """The arrays by the names of `OPERANDS`, without a tap that `scan` says is zero."""
    tap = None if scan is not None and scan.tap_is_zero else operands.tap
    states = (("h0", "c0"), operands.start), (("reset_h", "reset_c"), operands.reset_state), (("tap_h", "tap_c"), tap)
    arrays = {"xs": operands.xs} | operands.weights._asdict() | events._asdict()
    return arrays | {name: array for names, each in states for name, array in zip(names, each or ())}


def parts(results: dict[str, Array], *names: str) -> tuple[Array, ...]:
    """The parts of a state that are there: h, or h and c."""
    return tuple(results[name] for name in names if name in results)


def call(
    name: str, scan: Scan, operands: Operands, arrays: dict[str, Array | None], order: tuple[str, ...], types: dict
) -> dict[str, Array]:
    """The FFI call: the results in `types`, {name: (shape, dtype)}, from arrays by name; it leaves others empty."""
    if not operands.xs.shape[2]:
        return {result: jnp.zeros(*of) for result, of in types.items()}
    absent = jnp.zeros((1, 0), operands.dtype)
    names = OPERANDS if order is RESULTS else (*OPERANDS, *SAVED)
    inputs = aligned([absent if arrays.get(each) is None else arrays[each] for each in names])
    outputs = [array_like(inputs[0], *types.get(each, ((1, 0), operands.dtype))) for each in order]
    numbers = np.asarray((scan.recurrence.native, *sizes(scan, operands)), np.int64)
    reverse = np.asarray(scan.reverse, np.int64)
    results = dict(zip(order, jax.ffi.ffi_call(name, outputs)(*inputs, sizes=numbers, reverse=reverse), strict=True))
    return {result: results[result] for result in types}


NATIVE = Native()
