"""The names of a cell's gates, and what two of them do: initialisers and instruments ask for that, not for letters."""

from __future__ import annotations

from typing import Any

from jrnn.types import InputError


class Gates(tuple[str, ...]):
    """The names in the order of their blocks in the parameters, such as Gates("i", "f", "g", "o", keeps="f").

    Args:
      keeps: the gate that multiplies the state before the step; None without one.
      admits: the gate of its own that multiplies what is new; None without one.
      shared: whether these two are divided by their sum, so that the second decides as much as the first.
      candidate: the block that makes what is new; the one block of a cell without gates.
    """

    keeps: str | None
    admits: str | None
    shared: bool
    candidate: str | None

    def __new__(
        cls,
        *names: str,
        keeps: str | None = None,
        admits: str | None = None,
        shared: bool = False,
        candidate: str | None = None,
    ) -> Gates:
        gates = super().__new__(cls, names)
        gates.keeps, gates.admits, gates.shared = keeps, admits, shared
        gates.candidate = names[0] if len(names) == 1 else candidate
        return gates


def check_roles(init: Any, gates: tuple[str, ...], *roles: str) -> None:
    """InputError where a cell with gates has none of the roles that the initialiser is for: it would draw zeros."""
    if isinstance(gates, Gates) and not any(getattr(gates, role) for role in roles):
        need = (
            "a cell with a gate that keeps the state, such as jrnn.lstm and jrnn.gru; elsewhere t_max=, if it takes one"
        )
        raise InputError("bias", f"{init!r} for the blocks {', '.join(gates)}", need)
