"""Which implementation a call takes, and why the others refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from jrnn.kernels.recurrences import RECURRENCES
from jrnn.kernels.rule import IMPLEMENTATIONS
from jrnn.types import InputError

NAMES = ("native", "associative", "xla", "reference")
"""In the order in which they are tried; `associative` only where it is named, on CPUs: a scan is faster there.
`reference` is the scan of the cell's own step, which takes everything."""


@dataclass(frozen=True)
class Explanation:
    """Which implementation a call takes."""

    chosen: str
    """Its name; what `jrnn.unroll(..., implementation=)` accepts. Of parts that differ, theirs: "native, reference"."""
    refused: dict[str, str]
    """Why each that was tried before it refused."""
    parts: dict[str, Explanation] = field(default_factory=dict)
    """Of each layer of a stack, of each direction of a bidirectional one: they choose for themselves."""

    def __str__(self) -> str:
        if self.parts:
            return "\n".join(f"{name}: {part}" for name, part in self.parts.items())
        return "; ".join([self.chosen, *(f"not {name}: {why}" for name, why in self.refused.items())])


def explain(cell: Any, params: Any, implementation: str | Sequence[str] | None = None) -> Explanation:
    """Which implementation `jrnn.unroll(cell, params, ...)` takes for this cell here, and why others refused.

    Calls that draw noise, and those of no steps or no sequences, take the reference whatever this says. So do those
    with several batch axes of which a mesh of Explicit axes splits one; with one batch axis they take `xla`.

    Args:
      cell, params: a cell, stack or `Bidirectional` and its parameters (or their shapes).
      implementation: as for `unroll`.
    Raises:
      InputError: a name is unknown, or every implementation named refuses.
    """
    names = (implementation,) if isinstance(implementation, str) else implementation
    names = NAMES if names is None else names
    if not isinstance(names, Sequence) or not names or any(name not in NAMES for name in names):
        raise InputError("implementation", repr(implementation), f"None, one of {NAMES}, or several of them")
    if hasattr(cell, "parts"):
        parts = {name: explain(part, own, implementation) for name, (part, own) in cell.parts(params).items()}
        return Explanation(", ".join(dict.fromkeys(part.chosen for part in parts.values())), {}, parts)
    if not hasattr(cell, "step"):
        raise InputError("cell", f"a {type(cell).__name__}", "a cell such as jrnn.lstm(64)")
    refused: dict[str, str] = {}
    for name in names:
        why = None if name == "reference" else refusal(name, cell, params)
        if why is None and name == "associative" and implementation is None and jax.default_backend() == "cpu":
            why = "on CPUs a scan step by step is faster"
        if why is None:
            return Explanation(name, refused)
        refused[name] = why
    given = "; ".join(f"{name}, but {why}" for name, why in refused.items())
    raise InputError("implementation", given, "one that can run this call: None takes the first that can")


def refusal(name: str, cell: Any, params: Any) -> str | None:
    """Why an implementation of the array functions cannot run this cell; None if it can."""
    kernel = getattr(cell, "kernel", None)
    weights = kernel and kernel(params)
    if weights is None:
        return f"{type(cell).__name__} has no recurrence of its own (`kernel`)"
    arrays = jax.tree.leaves(weights[1:]) or jax.tree.leaves(
        jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
    )
    dtypes = {a.dtype for a in arrays}
    if len(dtypes) > 1:
        return f"the parameters have several dtypes, {sorted(map(str, dtypes))}"
    if weights.kind not in RECURRENCES:
        return f"there is no recurrence {weights.kind!r}"
    return IMPLEMENTATIONS[name].refuses(RECURRENCES[weights.kind], dtypes.pop())
