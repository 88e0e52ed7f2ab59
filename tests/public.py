"""What users may import, with signatures. `python -m tests.public > tests/public.txt` writes the list."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

ROOMS = (
    "jrnn",
    *(
        f"jrnn.{room}"
        for room in ("cells", "cells.initializers", "kernels", "flow", "cures", "training", "prescribing", "report")
    ),
    *(f"jrnn.{room}" for room in ("data", "interop", "interop.weights", "interop.nnx", "interop.linen")),
)


def spelled(thing: Any) -> str:
    """A signature (of a record its fields, of another class its methods too), or the type of what cannot be called."""
    if isinstance(thing, type):
        fields = getattr(thing, "_fields", None)
        if fields is not None:
            return f"record({', '.join(fields)})"
        methods = sorted(name for name, value in vars(thing).items() if callable(value) and not name.startswith("_"))
        return f"class{bare(thing)}" + (f" with {', '.join(methods)}" if methods else "")
    return bare(thing) if callable(thing) else type(thing).__name__


def bare(thing: Any) -> str:
    """A signature without annotations."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "(?)"
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    text = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    return re.sub(r" (object )?at 0x\w+", "", text)


def names_of(room: ModuleType) -> list[str]:
    """The names that a room offers: `__all__` where it has one, else what is defined in it or below it."""
    offered = getattr(room, "__all__", None) or [
        name
        for name, value in ((name, getattr(room, name)) for name in dir(room))
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(room.__name__)
    ]
    return sorted(offered)


def lines() -> Iterator[str]:
    for name in ROOMS:
        room = importlib.import_module(name)
        for each in names_of(room):
            yield f"{name}.{each}: {spelled(getattr(room, each))}"


if __name__ == "__main__":
    print("\n".join(lines()))
