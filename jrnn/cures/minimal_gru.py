"""A gated linear recurrence of the same width as a cure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jrnn.cells import min_gru
from jrnn.cures.base import Cure, settle
from jrnn.cures.within import innermost, rebuilt


@dataclass(frozen=True)
class MinimalGRU(Cure):
    """`jrnn.min_gru` in place of each layer: h' = (1 - z) h + z g(x), gates that read the input alone.

    Exact Jacobians diag(1 - z) and several times the speed of an LSTM. It reads no state, so that one layer cannot
    compare two times; the marked bit of lag 200 it learns in 700 to 750 updates in 5 of 5 seeds, a GRU as it is in none
    of 5 in 1,000, a leaky Elman network in 100.

    Args:
      t_max: the longest time constant at the start, steps, above 2; the lag that the task needs.
    """

    t_max: float

    name = "min-gru"
    sentence = "Takes a gated linear recurrence of the same width instead, with time constants up to the needed lag."
    formula = "h' = (1 - z) h + z (x W_h + b_h), z = sigmoid(x W_z + b_z), b_z = -ln U[1, t_max - 1]"
    source = "Feng, Tung, Ahmed, Bengio, Hajimirsadeghi 2024"

    def __post_init__(self):
        settle(self, "t_max", lambda t: 2 < t < float("inf"), "a longest time scale above 2 steps")

    def refuses(self, cell: Any) -> str | None:
        return None if any(hasattr(each, "hidden") for each in innermost(cell)) else "a cell with a width, `hidden`"

    def on_cell(self, cell: Any) -> Any:
        def swapped(each: Any) -> Any:
            hidden = getattr(each, "hidden", None)
            return each if hidden is None else min_gru(hidden, t_max=self.t_max, dtype=getattr(each, "dtype", None))

        return rebuilt(cell, swapped)
