"""The compiled kernel for CPUs: one call runs the whole sequence (`native/kernel.cc`), through XLA's FFI."""

from __future__ import annotations

import ctypes
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.problem import Events, Operands, Outcome, Scan, aligned, array_like, sizes
from jrnn.kernels.recurrences import Recurrence
from jrnn.types import Array, wide_dtype

DTYPES = ("float32", "float64", "bfloat16")

# the order of arguments and results, by their names in `native/problem.h`; a test reads them from `native/handlers.cc`
WEIGHTS = ("w_in", "w_rec", "bias", "bias_rec")
OPERANDS = ("xs", *WEIGHTS, "h0", "c0", "reset_h", "reset_c", "inside", "valid", "resets", "cuts", "tap_h", "tap_c")
SAVED = ("hs", "cs", "gates", "g_hs", "g_cs", "g_last_h", "g_last_c")
RESULTS = ("hs", "cs", "gates", "last_h", "last_c")
GRADIENTS = ("d_xs", *(f"d_{name}" for name in WEIGHTS), "d_h0", "d_c0", "d_reset_h", "d_reset_c", "d_tap_h", "d_tap_c")

PLACE = Path(__file__).parent
LIBRARY = Path(os.environ.get("JRNN_KERNEL", PLACE / "_recurrence.so"))  # another build, say with sanitizers
REASON = PLACE / "_recurrence.txt"


@cache
def library() -> Any:
    """The loaded library, its handlers registered with XLA; or the reason why there is none, a string."""
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
    return loaded


def spoiled(library: Path) -> str | None:
    """Why this is not the file that the build wrote, which left its size and SHA-256 beside it; None if it is.

    To load a library that was cut short kills the process.
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
    """The instruction set in use: avx512_bf16, avx512, avx2 or baseline."""
    return library().jrnn_instructions().decode()


def refuses(recurrence: Recurrence, dtype: Any) -> str | None:
    """Why this implementation cannot run such a recurrence; None if it can."""
    if jax.default_backend() != "cpu":
        return f"it runs on CPUs, and JAX runs on {jax.default_backend()}"
    if recurrence.native is None:
        return f"it has no {recurrence.name}"
    if str(dtype) not in DTYPES:
        return f"it has no {dtype}"
    return library() if isinstance(library(), str) else None


def forward(scan: Scan, operands: Operands, events: Events, all_states: bool, keep: bool) -> Outcome:
    """The recurrence; with `keep`, the gates [E, T, B, kept, H] for the backward pass too."""
    n, dtype = sizes(scan, operands), operands.dtype
    has_cell = len(operands.start) > 1
    kept = scan.recurrence.gates_kept(dtype) if keep else 0
    states, last = (n.groups, n.steps, n.rows, n.units), (n.groups, n.rows, n.units)
    types = {
        "hs": (states, dtype),
        "gates": ((n.groups, n.steps, n.rows, kept, n.units), wide_dtype(dtype)),
        "last_h": (last, dtype),
    }
    if has_cell:
        types |= {"last_c": (last, dtype)} | ({"cs": (states, dtype)} if all_states else {})
    found = call("jrnn_forward", scan, operands, named(operands, events, scan), RESULTS, types)
    gates = found["gates"] if keep else None
    return Outcome(parts(found, "hs", "cs"), parts(found, "last_h", "last_c"), gates)


def backward(
    scan: Scan, wanted: Any, operands: Operands, events: Events, saved: Outcome, cotangents: Outcome
) -> Operands:
    """The gradients of the operands that are wanted (a pytree of bool, or more of them), None for the others."""
    given = named(operands, events, scan) | {"gates": saved.gates}
    pairs = (
        (("hs", "cs"), saved.states),
        (("g_hs", "g_cs"), cotangents.states),
        (("g_last_h", "g_last_c"), cotangents.last),
    )
    for names, arrays in pairs:
        given |= dict(zip(names, arrays))
    asked = {
        "xs": bool(wanted.xs),
        **dict.fromkeys(WEIGHTS, any(jax.tree.leaves(wanted.weights))),  # one product finds them all
        **dict.fromkeys(("h0", "c0"), any(wanted.start)),
        **dict.fromkeys(("reset_h", "reset_c"), any(wanted.restart or ())),
        **dict.fromkeys(("tap_h", "tap_c"), any(wanted.tap or ())),
    }
    groups, own = len(scan.reverse), named(operands, events)  # a tap of zeros has a gradient, too
    types = {
        f"d_{name}": ((groups, *array.shape[1:]), operands.dtype)
        for name, array in own.items()
        if asked.get(name) and array is not None
    }
    found = call("jrnn_backward", scan, operands, given, GRADIENTS, types)
    weights = type(operands.weights)(*(found.get(f"d_{name}") for name in operands.weights._fields))

    def states(like: tuple | None, *names: str) -> Any:
        return like and tuple(found.get(name) for name in names[: len(like)])

    return Operands(
        found.get("d_xs"),  # pyright: ignore[reportArgumentType]
        weights,
        states(operands.start, "d_h0", "d_c0"),
        states(operands.restart, "d_reset_h", "d_reset_c"),
        states(operands.tap, "d_tap_h", "d_tap_c"),
    )


def named(operands: Operands, events: Events, scan: Scan | None = None) -> dict[str, Array | None]:
    """The arrays by the names of `OPERANDS`; a tap that `scan` says is zero is not read."""
    tap = None if scan is not None and scan.silent else operands.tap
    pairs = (("h0", "c0"), operands.start), (("reset_h", "reset_c"), operands.restart), (("tap_h", "tap_c"), tap)
    found = {"xs": operands.xs} | operands.weights._asdict() | events._asdict()
    return found | {name: array for names, arrays in pairs for name, array in zip(names, arrays or ())}


def parts(found: dict[str, Array], *names: str) -> tuple[Array, ...]:
    """h, or h and c."""
    return tuple(found[name] for name in names if name in found)


def call(
    name: str, scan: Scan, operands: Operands, given: dict[str, Array | None], order: tuple[str, ...], types: dict
) -> dict[str, Array]:
    """The FFI call: arrays by name -> the results asked for by name, {name: (shape, dtype)}; others are empty."""
    if not operands.xs.shape[2]:
        return {result: jnp.zeros(*of) for result, of in types.items()}
    nothing = jnp.zeros((1, 0), operands.dtype)
    names = OPERANDS if order is RESULTS else (*OPERANDS, *SAVED)
    arrays = aligned([nothing if given.get(each) is None else given[each] for each in names])
    results = [array_like(arrays[0], *types.get(each, ((1, 0), operands.dtype))) for each in order]
    numbers = np.asarray((scan.recurrence.native, *sizes(scan, operands)), np.int64)
    reverse = np.asarray(scan.reverse, np.int64)
    found = dict(zip(order, jax.ffi.ffi_call(name, results)(*arrays, sizes=numbers, reverse=reverse), strict=True))
    return {result: found[result] for result in types}
