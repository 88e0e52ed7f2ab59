"""The options of a run, read once: from the keywords of `unroll` to one checked record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from jrnn.cells import check_cell
from jrnn.kernels.implementations import IMPLEMENTATIONS
from jrnn.types import Array, InputError, Inputs, Params, State
from jrnn.unrolling.checks import (
    as_array,
    as_arrays,
    check_count,
    check_flags,
    check_leaves,
    check_lengths,
    check_noise,
    check_switch,
    is_count,
)
from jrnn.unrolling.records import Options, ZeroTap
from jrnn.unrolling.states import batch_of, check_given, move_axis, steps_of


def read(
    cell: Any,
    params: Params,
    xs: Inputs,
    *,
    initial_state: State | None = None,
    reset_state: State | None = None,
    length: int | None = None,
    lengths: Any = None,
    resets: Any = None,
    mask: Any = None,
    reverse: bool = False,
    remat: bool | str | int | None = None,
    truncate: int | None = None,
    unroll: int = 1,
    return_states: bool = False,
    state_tap: State | ZeroTap | None = None,
    time_axis: int = 0,
    key: Array | None = None,
    implementation: str | Sequence[str] | None = None,
) -> tuple[Inputs, Options]:
    """(xs as arrays with time on axis 0, the options), or InputError; the arguments are those of `unroll`."""
    check_cell(cell)
    check_leaves("params", params)
    jax.eval_shape(lambda: cell.initial_state(params, ()))  # the cell checks its parameters, in its own words
    check_noise(cell, key)
    axis = check_count("time_axis", time_axis, 0, "a non-negative axis")
    front = partial(move_axis, source=axis, to=0)
    xs = front(as_arrays("xs", xs))
    resets = None if resets is None else front(as_array("resets", resets))
    mask = None if mask is None else front(as_array("mask", mask))
    steps = steps_of(xs, length)
    flags = next((each for each in (mask, resets) if each is not None and each.ndim and len(each)), None)
    rows = flags[:1].reshape(flags.shape[1:]) if lengths is None and flags is not None else lengths
    batch_shape = batch_of(cell, params, xs, initial_state, rows, time_axes=1)
    state = partial(check_given, cell=cell, params=params, lead=batch_shape)
    tap_is_zero = isinstance(state_tap, ZeroTap)
    tap = front(state_tap.tap if isinstance(state_tap, ZeroTap) else state_tap)
    options = Options(
        steps=steps,
        batch_shape=batch_shape,
        reverse=check_switch("reverse", reverse),
        return_states=check_switch("return_states", return_states),
        unroll=check_count("unroll", unroll, 1, "a positive number of steps"),
        truncate=None
        if truncate is None
        else check_count("truncate", truncate, 1, "a positive number of steps, or None"),
        initial_state=None if initial_state is None else state("initial_state", initial_state),
        reset_state=None if reset_state is None else state("reset_state", reset_state),
        state_tap=None if tap is None else state("state_tap", tap, lead=(steps + 1, *batch_shape)),
        tap_is_zero=tap_is_zero,
        lengths=None if lengths is None else check_lengths(lengths, steps, batch_shape),
        resets=None if resets is None else check_flags("resets", resets, (steps, *batch_shape)),
        mask=None if mask is None else check_flags("mask", mask, (steps, *batch_shape)),
        implementation=names_of(implementation),
        segment=segment_of(remat, steps),
        key=key,
        time_axis=axis,
        inside_stack=False,
    )
    return xs, options


read.__qualname__ = "unroll"  # what Python's error about an unknown keyword names


def names_of(implementation: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The implementations that may run, in the order in which they are tried; None for all."""
    if implementation is None:
        return None
    names = (implementation,) if isinstance(implementation, str) else implementation
    known = tuple(IMPLEMENTATIONS)
    if not isinstance(names, Sequence) or not names or any(name not in known for name in names):
        raise InputError("implementation", f"{implementation!r:.60}", f"None, one of {known}, or several of them")
    return tuple(names)


def segment_of(remat: bool | str | int | None, steps: int) -> int | None:
    """Steps per recomputed segment: None stores all, 1 is per step, ceil(sqrt(T)) for "sqrt"."""
    if remat is None or remat is False:
        return None
    if remat is True or isinstance(remat, str) and remat == "step":
        return 1
    if isinstance(remat, str) and remat == "sqrt":
        return max(math.isqrt(max(steps - 1, 0)) + 1, 1)
    if is_count(remat, 1):
        return int(remat)
    raise InputError("remat", repr(remat), "None, 'step' (or True), 'sqrt', or a number of steps per segment")
