"""The key of compiled programs: a cell without its initialisers, which act in `init` alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import wraps
from typing import Any

import jax


def program_of(cell: Any) -> Any:
    """`cell` with None for every initialiser, those of the cells within too: what two cells share that differ in them.

    Classes say which of their fields those are, in `initialisers`; a class that derives from one says it anew, for a
    step of its own may read them. What is no cell of jrnn's stays as it is.
    """
    if isinstance(cell, tuple) and not hasattr(cell, "_fields"):
        parts = tuple(map(program_of, cell))
        return cell if all(a is b for a, b in zip(parts, cell, strict=True)) else parts
    if not dataclasses.is_dataclass(cell) or isinstance(cell, type) or not type(cell).__module__.startswith("jrnn."):
        return cell
    starts = vars(type(cell)).get("initialisers", ())
    values = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
    changed = {name: None if name in starts else program_of(value) for name, value in values.items()}
    changed = {name: value for name, value in changed.items() if value is not values[name]}
    return dataclasses.replace(cell, **changed) if changed else cell


def jit_by_cell(function: Callable, **options: Any) -> Callable:
    """`jax.jit` of a function whose first argument is a cell, static: what differs in initialisers alone shares it."""
    jitted = jax.jit(function, **options)

    @wraps(function)
    def call(cell: Any, *args: Any, **given: Any) -> Any:
        return jitted(program_of(cell), *args, **given)

    return call
