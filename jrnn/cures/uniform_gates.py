"""Uniform gate initialisation and refine gates as cures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jrnn.cells import GRU, LSTM, gru, initializers, lstm
from jrnn.cures.base import Cure, settle
from jrnn.cures.chrono import gated
from jrnn.cures.within import innermost, rebuilt


@dataclass(frozen=True)
class UniformGates(Cure):
    """The gate that keeps the state starts at u ~ U[1/d, 1 - 1/d]: all time scales up to d at once.

    ((1 - a)^(L + 1) - a^(L + 1)) / ((L + 1) (1 - 2a)) arrives at lag L on average, a = 1/d: .18 % at 200 for d = 200,
    eighty times less than with chrono, which spends most units on long time scales. With d the layer's size, as
    published, it does not reach beyond some 2 d steps. Marked bit, lag 200 (GRU of 64 units, d = 200, Adam .002): 3 of
    5 seeds are below .1 after 300, 350 and 650 updates and two not after 1,000; without it none of 5, and with chrono 5
    of 5 after 150 to 200.

    Args:
      d: the longest time scale, steps, above 2.
    """

    d: float

    name = "uniform-gate"
    sentence = "Starts the gate that keeps the state at values spread evenly, up to one that holds for d steps."
    formula = "b = logit(u), u ~ U[1/d, 1 - 1/d]"
    source = "Gu, Gulcehre, Paine, Hoffman, Pascanu 2020"

    def __post_init__(self):
        settle(self, "d", lambda d: 2 < d < float("inf"), "a longest time scale above 2 steps")

    def refuses(self, cell: Any) -> str | None:
        if any(map(gated, innermost(cell))):
            return None
        return "a cell with a gate that keeps its state and a bias of its own: lstm or gru"

    def on_cell(self, cell: Any) -> Any:
        bias = initializers.uniform_gate(self.d)
        return rebuilt(cell, lambda each: replace(each, bias=bias) if gated(each) else each)


@dataclass(frozen=True)
class RefinedGates(Cure):
    """A second gate r moves the first where its sigmoid is flat: g' = 2 r g + (1 - 2 r) g^2, between g^2 and
    1 - (1 - g)^2.

    It helps gates near 0 or 1 to learn; it costs one more block of products, and runs by the scan, several times slower
    than the kernel. Marked bit (GRU of 64 units, Adam .002): beside uniform-gate at lag 200 it is below .1 after 250 to
    400 updates in 5 of 5 seeds, where uniform-gate alone is in 3 of 5 within 1,000. Alone it lost: at lag 50 none of 3
    is after 600, as without it; nor did it gain there beside uniform-gate, which takes 150 to 250 without it and 150
    with.
    """

    name = "refine"
    sentence = "Adds a gate that refines the one that keeps the state, so that it learns where it is nearly open."
    formula = "g' = 2 r g + (1 - 2 r) g^2"
    source = "Gu, Gulcehre, Paine, Hoffman, Pascanu 2020"

    def refuses(self, cell: Any) -> str | None:
        return None if any(type(each) in (LSTM, GRU) for each in innermost(cell)) else "an lstm or a gru"

    def on_cell(self, cell: Any) -> Any:
        return rebuilt(cell, refined)


def refined(cell: Any) -> Any:
    """An LSTM or GRU with refine gates; any other cell as it is."""
    inits = {name: getattr(cell, name) for name in ("w_in", "w_rec", "bias", "dtype") if hasattr(cell, name)}
    if type(cell) is LSTM:
        return lstm(cell.hidden, refine=True, **inits)
    return gru(cell.hidden, cell.reset_after, refine=True, **inits) if type(cell) is GRU else cell
