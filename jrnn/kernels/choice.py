"""Which implementation a call takes, and why the others refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from jrnn.kernels.implementations import IMPLEMENTATIONS, REFERENCE, CallFacts
from jrnn.kernels.recurrences import RECURRENCES
from jrnn.types import InputError

CELL_SCAN = REFERENCE.name
"""Of a cell, the name "reference" means the scan of the cell's own step, which runs everything. Of the array functions
it means the scan of the recurrence's step, `implementations.REFERENCE`, which equals it where the cell has a kernel."""


@dataclass(frozen=True)
class Explanation:
    """Which implementation a call takes."""

    chosen: str
    """Its name; what `jrnn.unroll(..., implementation=)` accepts. Of parts that differ, theirs: "native, reference"."""
    refused: dict[str, str]
    """Why each of those tried before it refused."""
    parts: dict[str, Explanation] = field(default_factory=dict)
    """The explanation of each layer of a stack, of each direction of a `Bidirectional`: they choose for themselves."""

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
    known = tuple(IMPLEMENTATIONS)
    names = (implementation,) if isinstance(implementation, str) else implementation
    names = known if names is None else names
    if not isinstance(names, Sequence) or not names or any(name not in known for name in names):
        raise InputError("implementation", repr(implementation), f"None, one of {known}, or several of them")
    if hasattr(cell, "parts"):
        parts = {name: explain(part, own, implementation) for name, (part, own) in cell.parts(params).items()}
        return Explanation(", ".join(dict.fromkeys(part.chosen for part in parts.values())), {}, parts)
    if not hasattr(cell, "step"):
        raise InputError("cell", f"a {type(cell).__name__}", "a cell such as jrnn.lstm(64)")
    refused: dict[str, str] = {}
    facts = None
    for name in names:
        if name == CELL_SCAN:
            return Explanation(name, refused)
        facts = facts or known_facts(cell, params)
        why = facts if isinstance(facts, str) else refusal(name, facts, named=implementation is not None)
        if why is None:
            return Explanation(name, refused)
        refused[name] = why
    given = "; ".join(f"{name}, but {why}" for name, why in refused.items())
    raise InputError("implementation", given, "one that can run this call: None takes the first that can")


def refusal(name: str, facts: CallFacts, named: bool) -> str | None:
    """Why an implementation does not take the call; None if it does."""
    each = IMPLEMENTATIONS[name]
    return each.refuses(facts) or (None if named else each.only_if_named(facts))


def known_facts(cell: Any, params: Any) -> CallFacts | str:
    """What is known of a call without its inputs; or why no implementation of the array functions can run this cell."""
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
    return CallFacts(RECURRENCES[weights.kind], dtypes.pop(), jax.default_backend())
