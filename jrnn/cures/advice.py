"""What to try after a verdict, and what a verdict is not."""

from typing import Any, NamedTuple

from jrnn.cures.base import Cure
from jrnn.cures.chrono import Chrono
from jrnn.cures.leaky_units import LeakyUnits
from jrnn.cures.measured_starts import Flossed, TunedGain
from jrnn.cures.minimal_gru import MinimalGRU
from jrnn.cures.orthogonal_cell import OrthogonalMatrix
from jrnn.cures.uniform_gates import UniformGates
from jrnn.flow.verdicts.verdict import Verdict
from jrnn.wording import listed

CAUTION = (
    "A verdict speaks of the gradient and is no forecast: networks with less than 1 % at the lag have learnt where "
    "shorter lags teach the long one, and a network that has learnt to hold a bit lets no gradient through."
)
LOSING = ("vanishing", "both", "transient growth")
GROWING = ("exploding", "chaotic", "not finite")


class Advice(NamedTuple):
    """What to try, the best known first."""

    sentence: str
    """In words, with what the verdict is not."""
    cures: tuple[Cure, ...]
    """Those that fit the cell; none for a healthy network."""


def advise(cell: Any, verdict: Verdict) -> Advice:
    """What to try on a cell after a verdict. Whether it helps on your data, `jrnn.prescribe` measures.

    Args:
      cell: the cell that the verdict is of; None where it is not known, for what fits some cell.
      verdict: of `GradientFlow.verdict` or `FlowSummary.judgement`.
    Returns:
      an `Advice`.
    """
    lag = max(verdict.lag, 3)
    if verdict.lag == 0 or verdict.kind == "healthy":
        return Advice(f"Nothing needs to change for a lag of {verdict.lag}. {CAUTION}", ())
    if verdict.kind == "undecided":
        return Advice(f"Measure on more sequences first. {CAUTION}", ())
    if verdict.kind in GROWING:
        cures = tuple(cure for together in suggested(cell, lag, growing=True) for cure in together)
        sentence = "Bring the recurrence to the edge (tune-gain) and keep the clip, which bounds updates meanwhile."
        return Advice(f"{sentence} {CAUTION}", cures)
    cures = tuple(cure for together in suggested(cell, lag) for cure in together)
    return Advice(f"Try {listed(cure.option for cure in cures)}. {CAUTION}", cures)


def suggested(cell: Any, lag: int, growing: bool = False) -> list[tuple[Cure, ...]]:
    """The cures that fit the cell, for a needed lag, the best known first; each a tuple of cures that act together.

    Args:
      growing: whether the gradient explodes on its way, so that the recurrence must be brought to the edge first.
    """
    reach = max(lag, 3)
    if growing:
        return [(cure,) for cure in fitting(cell, (TunedGain(), LeakyUnits(reach), MinimalGRU(reach)))]
    gates = fitting(cell, (Chrono(reach), UniformGates(reach)))
    bare = () if gates and cell is not None else (OrthogonalMatrix(), TunedGain(), Flossed())
    leaks = () if gates and cell is not None else (LeakyUnits(reach),)
    return [(cure,) for cure in fitting(cell, (*gates, *leaks, *bare, MinimalGRU(reach)))]


def fitting(cell: Any, cures: tuple[Cure, ...]) -> tuple[Cure, ...]:
    """Those that the cell takes; all of them for None."""
    return tuple(cure for cure in cures if cell is None or cure.refuses(cell) is None)
