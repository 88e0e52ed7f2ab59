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

from jrnn.kernels.problem import GATES, Events, Operands, Outcome, Recurrence, aligned, array_like, sizes
from jrnn.types import Array, wide_dtype

KINDS = {"tanh": 0, "relu": 1, "identity": 2, "lstm": 3, "gru": 4, "gru_reset_before": 5}
DTYPES = ("float32", "float64", "bfloat16")
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


def refuses(kind: str, dtype: Any) -> str | None:
    """Why this implementation cannot run such a recurrence; None if it can."""
    if jax.default_backend() != "cpu":
        return f"it runs on CPUs, and JAX runs on {jax.default_backend()}"
    if kind not in KINDS:
        return f"it has no {kind}"
    if str(dtype) not in DTYPES:
        return f"it has no {dtype}"
    return library() if isinstance(library(), str) else None


def forward(what: Recurrence, operands: Operands, events: Events, all_states: bool, keep: bool) -> Outcome:
    """The recurrence; with `keep`, the gates [E, T, B, kept, H] for the backward pass too."""
    n, dtype = sizes(what, operands), operands.w_rec.dtype
    along = (n.groups, n.steps, n.rows, n.units)
    kept = gates_kept(what.kind, dtype) if keep else 0
    results = (
        along,
        along if what.has_cell and all_states else (1, 0),
        (n.groups, n.steps, n.rows, kept, n.units),
        (n.groups, n.rows, n.units),
        (n.groups, n.rows, n.units) if what.has_cell else (1, 0),
    )
    types = [(shape, wide_dtype(dtype) if i == 2 else dtype) for i, shape in enumerate(results)]
    hs, cs, gates, h, c = call("jrnn_forward", what, operands, events, types, ())
    states = (hs, cs) if what.has_cell and all_states else (hs,)
    return Outcome(states, (h, c) if what.has_cell else (h,), gates if keep else None)


def backward(
    what: Recurrence, wanted: Any, operands: Operands, events: Events, saved: Outcome, cotangents: Outcome
) -> Operands:
    """The gradients of the operands that are wanted (a pytree of bool, or more of them), None for the others."""
    n, dtype = sizes(what, operands), operands.w_rec.dtype
    nothing = jnp.zeros((1, 0), dtype)

    def shape(of: bool, *dims: int) -> tuple[int, ...]:
        return (n.groups, *dims) if of else (1, 0)

    weights = bool(wanted.w_in or wanted.w_rec or wanted.bias or wanted.bias_rec)
    wide = GATES[what.kind] * n.units
    starts, restarts, taps = (any(flags or ()) for flags in (wanted.start, wanted.restart, wanted.tap))
    state, along, cell = (n.rows, n.units), (n.steps, n.rows, n.units), what.has_cell
    results = (
        shape(wanted.xs, n.steps, n.rows, n.features),
        shape(weights, n.features, wide),
        shape(weights, n.units, wide),
        shape(weights, wide),
        shape(weights and what.kind == "gru", n.units),
        shape(starts, *state),
        shape(starts and cell, *state),
        shape(restarts, *state),
        shape(restarts and cell, *state),
        shape(taps, *along),
        shape(taps and cell, *along),
    )
    more = [*pair(saved.states, nothing), saved.gates, *pair(cotangents.states, nothing)]
    more = [nothing if a is None else a for a in (*more, *pair(cotangents.last, nothing))]
    grads = call("jrnn_backward", what, operands, events, [(s, dtype) for s in results], more)
    xs, w_in, w_rec, bias, bias_rec, h0, c0, h1, c1, tap_h, tap_c = grads

    def states(of: bool, like: tuple | None, h: Array, c: Array) -> Any:
        return None if like is None else (h, c)[: len(like)] if of else (None,) * len(like)

    found: dict[str, Any] = dict(
        xs=xs if wanted.xs else None,
        w_in=w_in if weights else None,
        w_rec=w_rec if weights else None,
        bias=bias if weights else None,
        bias_rec=bias_rec if weights and operands.bias_rec is not None else None,
        start=states(starts, operands.start, h0, c0),
        restart=states(restarts, operands.restart, h1, c1),
        tap=states(taps, operands.tap, tap_h, tap_c),
    )
    return Operands(**found)


def gates_kept(kind: str, dtype: Any) -> int:
    """Arrays [T, B, H] the forward pass keeps: an Elman network's slope follows from h, unless h was rounded."""
    kept = {"lstm": 4, "gru": 4, "gru_reset_before": 3}
    return kept.get(kind, int(wide_dtype(dtype) != dtype))


def pair(arrays: Any, nothing: Array) -> tuple[Array, Array]:
    """(h, c) with an empty array for what is not there."""
    given = [nothing if a is None else a for a in (arrays or ())]
    return (*given, *(nothing,) * (2 - len(given)))  # pyright: ignore[reportReturnType]


def call(name: str, what: Recurrence, operands: Operands, events: Events, results: list, more: Any) -> Any:
    """The FFI call: the operands and events in the handlers' order, an empty array for None."""
    dtype = operands.w_rec.dtype
    nothing = jnp.zeros((1, 0), dtype)
    tap = None if what.silent else operands.tap
    arrays = [
        operands.xs,
        operands.w_in,
        operands.w_rec,
        operands.bias,
        operands.bias_rec,
        *pair(operands.start, nothing),
        *pair(operands.restart, nothing),
        events.inside,
        events.valid,
        events.resets,
        events.cuts,
        *pair(tap, nothing),
        *more,
    ]
    arrays = aligned([nothing if a is None else a for a in arrays])
    if not operands.xs.shape[2]:
        return [jnp.zeros(shape, dtype) for shape, dtype in results]
    results = [array_like(arrays[0], shape, dtype) for shape, dtype in results]
    numbers = (KINDS[what.kind], *sizes(what, operands))
    reverse = np.asarray(what.reverse, np.int64)
    return jax.ffi.ffi_call(name, results)(*arrays, sizes=np.asarray(numbers, np.int64), reverse=reverse)
