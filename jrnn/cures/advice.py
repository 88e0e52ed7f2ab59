"""What would be tried on a cell that cannot hear from far enough back."""

from __future__ import annotations

from typing import Any

from jrnn.cures.base import Cure
from jrnn.cures.chrono import Chrono


def suggested(cell: Any, lag: int) -> list[tuple[Cure, ...]]:
    """The cures that fit the cell, for a needed lag, the best known first; each a tuple of cures that act together."""
    reach = max(lag, 3)
    found: list[tuple[Cure, ...]] = [(Chrono(reach),)]
    return [cures for cures in found if all(cure.refuses(cell) is None for cure in cures)]
