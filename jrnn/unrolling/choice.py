"""Which implementation a call takes, and why the others refuse. What `explain` says is what runs: both are `choose`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells import draws_noise, is_causal, prepared_shapes
from jrnn.cells._advance import state_shapes
from jrnn.kernels.checks import own_weights
from jrnn.kernels.implementations import IMPLEMENTATIONS, REFERENCE, CallFacts
from jrnn.kernels.recurrences import RECURRENCES
from jrnn.types import InputError, Inputs, Params, size_of
from jrnn.unrolling.reading import names_of, read
from jrnn.unrolling.records import Options

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
    parts: "dict[str, Explanation]" = field(default_factory=dict)
    """The explanation of each layer of a stack, of each direction of a `Bidirectional`: they choose for themselves."""

    def __str__(self) -> str:
        if self.parts:
            return "\n".join(f"{name}: {part}" for name, part in self.parts.items())
        reasons = {why: [name for name in self.refused if self.refused[name] == why] for why in self.refused.values()}
        return "; ".join([self.chosen, *(f"not {', '.join(names)}: {why}" for why, names in reasons.items())])


def explain(
    cell: Any,
    params: Params,
    implementation: str | Sequence[str] | None = None,
    xs: Inputs = None,
    **options: Any,
) -> Explanation:
    """Which implementation `jrnn.unroll(cell, params, ...)` takes for this cell here, and why others refused.

    With `xs` (or `length`) and the other options of a call it says what this very call takes: calls that draw noise,
    and those of no steps or no sequences, take the reference, whatever was named. So do those with several batch axes
    of which a mesh of Explicit axes splits one; with one batch axis they take `xla` where the compiled kernel was
    named or would be taken.

    Args:
      cell, params: a cell, stack or `Bidirectional` and its parameters (or, without xs, their shapes).
      implementation, xs, options: as for `unroll`.
    Raises:
      InputError: a name is unknown, every implementation named refuses, or as `unroll`.
    """
    if xs is None and not options:
        return choose(cell, params, names_of(implementation))
    xs, record = read(cell, params, xs, implementation=implementation, **options)
    return choose_for(cell, params, xs, record)


class Call(NamedTuple):
    """What a call adds to its cell."""

    steps: int
    sequences: int
    batch_axes: int
    has_key: bool
    on_explicit_mesh: bool
    """An array's type says that devices hold parts of it."""


def choose_for(cell: Any, params: Params, xs: Inputs, options: Options) -> Explanation:
    """The choice for a call."""
    specs = [jax.typeof(leaf).sharding.spec for leaf in jax.tree.leaves((xs, options.initial_state))]
    split = any(name is not None for spec in specs for name in spec)
    batch = options.batch_shape
    call = Call(options.steps, size_of(batch), len(batch), options.key is not None, split)
    return choose(cell, params, options.implementation, call)


def choose(
    cell: Any, params: Params, names: tuple[str, ...] | None, call: Call | None = None, noisy: bool = False
) -> Explanation:
    """The choice for a cell, in a call if there is one; `noisy`: it is part of a cell that is run whole, with noise."""
    noisy = noisy or (call is not None and call.has_key and is_causal(cell) and draws_noise(cell))
    if hasattr(cell, "parts"):
        parts = {name: choose(part, own, names, call, noisy) for name, (part, own) in cell.parts(params).items()}
        return Explanation(", ".join(dict.fromkeys(part.chosen for part in parts.values())), {}, parts)
    if not hasattr(cell, "step"):
        raise InputError("cell", f"a {type(cell).__name__}", "a cell such as jrnn.lstm(64)")
    facts = known_facts(cell, params, call)
    first = first_of(facts, names)
    if call is None or first.chosen == CELL_SCAN or isinstance(facts, str):
        return first
    why = refusal_of_call(call, noisy)
    if why is not None:
        return Explanation(CELL_SCAN, {**first.refused, first.chosen: why})
    # on a mesh of Explicit axes a call runs, whatever was named
    facts = facts._replace(on_explicit_mesh=call.on_explicit_mesh)
    why = refusal(first.chosen, facts, named=True)
    return first if why is None else Explanation(first_of(facts, None).chosen, {**first.refused, first.chosen: why})


def first_of(facts: CallFacts | str, names: tuple[str, ...] | None) -> Explanation:
    """The first implementation that takes a call of these facts, or of a cell that has none for the reason given."""
    refused: dict[str, str] = {}
    for name in IMPLEMENTATIONS if names is None else names:
        if name == CELL_SCAN:
            return Explanation(name, refused)
        why = facts if isinstance(facts, str) else refusal(name, facts, named=names is not None)
        if why is None:
            return Explanation(name, refused)
        refused[name] = why
    given = "; ".join(f"{name}, but {why}" for name, why in refused.items())
    raise InputError("implementation", given, "one that can run this call: None takes the first that can")


def refusal(name: str, facts: CallFacts, named: bool) -> str | None:
    """Why an implementation does not take the call; None if it does."""
    each = IMPLEMENTATIONS[name]
    opt_in = None if named else each.only_if_named(facts)
    if opt_in is not None:  # without sizes it is soon said
        return each.refuses(facts._replace(weights=None)) or opt_in
    return each.refuses(facts)


def known_facts(cell: Any, params: Params, call: Call | None) -> CallFacts | str:
    """What is known of a call; or why no implementation of the array functions can run this cell."""
    kernel = getattr(cell, "kernel", None)
    if kernel and call is None:  # else `read` has done so
        state_shapes(cell, params, ())  # the cell checks its parameters, in its own words
    weights = kernel and kernel(prepared_shapes(cell, params))
    if weights is None:
        why = getattr(cell, "lacks_kernel", None)
        return why or f"{type(cell).__name__} has no recurrence of its own (`kernel`)"
    arrays = jax.tree.leaves(weights[1:]) or jax.tree.leaves(state_shapes(cell, params))
    dtypes = {jnp.result_type(a) for a in arrays}
    if len(dtypes) > 1:
        return f"the parameters have several dtypes, {sorted(map(str, dtypes))}"
    if weights.kind not in RECURRENCES:
        return f"there is no recurrence {weights.kind!r}"
    facts = CallFacts(RECURRENCES[weights.kind], dtypes.pop(), jax.default_backend())
    try:
        recurrence, own = own_weights(weights)
    except InputError:  # the cell says it in its own words when it steps
        return facts
    features, units = recurrence.sizes(own)
    shapes = jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape, w.dtype), own)
    facts = facts._replace(features=features, units=units, weights=shapes)
    return facts if call is None else facts._replace(steps=call.steps, sequences=call.sequences)


def refusal_of_call(call: Call, noisy: bool) -> str | None:
    """Why this call runs by the scan of the cell's own step alone, whatever is named; None if others may run it."""
    if call.steps == 0:
        return "the call has no steps"
    if call.sequences == 0:
        return "the call has no sequences"
    if noisy:
        return "the call draws noise"
    if call.on_explicit_mesh and call.batch_axes > 1:
        return "a mesh of Explicit axes splits one of several batch axes, which would have to be merged"
    return None
