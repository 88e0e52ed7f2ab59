"""The options of `unroll` in training: those a user fixes for a whole run, and those that come with each batch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from jrnn.types import Array, InputError
from jrnn.unrolling import unroll

BATCH_OPTIONS = ("lengths", "resets", "mask", "initial_state", "reset_state")
OPTIONS = frozenset(inspect.signature(unroll).parameters) - {"cell", "params", "xs"}


def check_options(options: Any) -> None:
    """InputError unless they are options of `unroll`."""
    if options is not None and not isinstance(options, Mapping):
        raise InputError("unroll_options", f"a {type(options).__name__}", "a dict of options of `unroll`")
    unknown = set(options or ()) - OPTIONS
    if unknown:
        raise InputError("unroll_options", f"the keys {sorted(map(str, unknown))}", f"some of {sorted(OPTIONS)}")


def options_of(batch: dict[str, Any], unroll_options: Mapping[str, Any] | None, key: Array | None) -> dict[str, Any]:
    """What `unroll` gets besides cell, parameters and x."""
    from_batch = {name: batch[name] for name in BATCH_OPTIONS if batch.get(name) is not None}
    return {**(unroll_options or {}), **from_batch, **({} if key is None else {"key": key})}


def time_axis_of(options: Mapping[str, Any]) -> int:
    """Where time is in the arrays of a batch and of a run."""
    return options.get("time_axis", 0)


def reads_backwards(options: Mapping[str, Any]) -> bool:
    """Whether a run reads its sequences from their end."""
    return bool(options.get("reverse", False))
