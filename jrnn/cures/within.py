"""The innermost cells of a cell, and the same stacks, directions and wrappers rebuilt around others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from jrnn.cells import Bidirectional, Stack, Wrapper


def innermost(cell: Any) -> Iterator[Any]:
    """The cells without stacks, directions and wrappers around them."""
    if isinstance(cell, Stack):
        for layer in cell.cells:
            yield from innermost(layer)
    elif isinstance(cell, Bidirectional):
        yield from innermost(cell.forward)
        yield from innermost(cell.backward)
    elif isinstance(cell, Wrapper):
        yield from innermost(cell.cell)
    else:
        yield cell


def around(cell: Any) -> Iterator[Any]:
    """The cell, and every cell within it: layers, directions, what wrappers hold."""
    yield cell
    for name in ("cells", "forward", "backward", "cell"):
        within = getattr(cell, name, ())
        for each in within if isinstance(within, tuple) else (within,):
            yield from around(each)


def rebuilt(cell: Any, change: Callable[[Any], Any]) -> Any:
    """The same stacks, directions and wrappers around `change` of each innermost cell."""
    if isinstance(cell, Stack):
        return Stack(tuple(rebuilt(layer, change) for layer in cell.cells))
    if isinstance(cell, Bidirectional):
        return Bidirectional(rebuilt(cell.forward, change), rebuilt(cell.backward, change))
    if isinstance(cell, Wrapper):
        return dataclasses.replace(cell, cell=rebuilt(cell.cell, change))  # type: ignore[type-var]
    return change(cell)


def kind_of(cell: Any) -> str:
    """The names of the innermost cells: "GRU", "Elman on LSTM"."""
    return " on ".join(dict.fromkeys(type(each).__name__ for each in innermost(cell)))
