"""Penalties: terms beside the loss that shape parameters, states, or the gradient with respect to states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jrnn.training.arguments import check_function
from jrnn.training.objectives import as_scalar
from jrnn.types import Array, InputError, Params, State
from jrnn.unrolling import Unrolled

RESERVED = {"step", "loss", "grad_norm", "clip_factor", "clipped", "skipped", "in_a_row", "tangent_growth"}
"""Metrics of every run; so is what begins with "delta_"."""


class Penalty(Protocol):
    """A term of what `fit` and `stream` minimise: the objective's loss plus the sum of all penalties.

    Any function with these arguments is one. Its weight is its own. Two attributes, of a class or set on a function,
    say more:
      name: what its value is logged as; by default the function's or class's name.
      needs_deltas: True if it reads `deltas`, which costs a second backward pass; by default False.
    """

    def __call__(
        self, cell: Any, params: Params, xs: Any, unrolled: Unrolled, deltas: State | None, key: Array
    ) -> Array | tuple[Array, Mapping[str, Array]]:
        """The term for one batch, differentiated with respect to params and unrolled.

        Args:
          cell, params: the cell and its parameters.
          xs: [T, *B, F].
          unrolled: an `Unrolled` of the batch with its states h_0..h_T [T+1, *B, ...]. Time is axis 0 here, in xs and
            in deltas, whatever `time_axis` is; `mask` tells the steps that happened.
          deltas: dL/dh_t [T+1, *B, ...], laid out like `unrolled.states`, L the objective's loss without penalties; a
            constant, so that the gradient does not go through it. Zero on padding; with `truncate` and resets, what
            the cuts leave. None unless `needs_deltas`.
          key: a PRNG key of this step, another for each penalty.
        Returns:
          a real number, or (number, metrics): scalars by name, logged as <name of the penalty>_<name>.
        """
        ...


def check_penalties(penalties: Any) -> tuple[Penalty, ...]:
    """The penalties as a tuple, or InputError unless each can be called as one and has a name of its own."""
    needed = "a sequence of functions penalty(cell, params, xs, unrolled, deltas, key)"
    if isinstance(penalties, str | Mapping) or not isinstance(penalties, Sequence):
        raise InputError("penalties", f"a {type(penalties).__name__}", needed)
    for penalty in penalties:
        check_function("penalties", penalty, 6, needed)
    check_names([name_of(penalty) for penalty in penalties])
    return tuple(penalties)


def check_names(names: Sequence[str]) -> None:
    """InputError unless they differ, and none is logged by every run."""
    for i, name in enumerate(names):
        if name in RESERVED or name.startswith("delta_") or name in names[:i]:
            given = f"the name {name!r}" + (" twice" if name in names[:i] else ", which every run logs")
            raise InputError("penalties", given, "another `name` attribute")


def name_of(penalty: Penalty) -> str:
    """What its value is logged as."""
    return str(getattr(penalty, "name", None) or getattr(penalty, "__name__", type(penalty).__name__))


def needs_deltas(penalties: Sequence[Penalty]) -> bool:
    """Whether one of them reads dL/dh_t."""
    return any(getattr(penalty, "needs_deltas", False) for penalty in penalties)


def penalty_sum(
    penalties: Sequence[Penalty],
    cell: Any,
    params: Params,
    xs: Any,
    unrolled: Unrolled,
    deltas: State | None,
    key: Any,
) -> tuple[Array, dict[str, Array]]:
    """(sum, metrics) of one or more penalties; deltas go to those that need them."""
    values, logged = [], []
    for i, penalty in enumerate(penalties):
        own = deltas if getattr(penalty, "needs_deltas", False) else None
        name, result = name_of(penalty), penalty(cell, params, xs, unrolled, own, jax.random.fold_in(key, i))
        value, metrics = as_scalar(result, "penalties", f"penalty {name!r}")
        values.append(value)
        logged += [(name, jax.lax.stop_gradient(value)), *((f"{name}_{each}", m) for each, m in metrics.items())]
    check_names([name for name, _ in logged])
    return wide_sum(*values), dict(logged)


def wide_sum(*values: Array) -> Array:
    """The sum in the widest of the dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        wide = jnp.result_type(*values)
    return sum((value.astype(wide) for value in values[1:]), values[0].astype(wide))
