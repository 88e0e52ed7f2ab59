"""Which arms are raced: what is known to help such a cell, each at several learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jrnn.cures.advice import suggested
from jrnn.cures.base import Cure, apply_to_cell, check_cures
from jrnn.cures.catalogue import cures_of
from jrnn.cures.rate import Rate
from jrnn.types import InputError

RATES = (1.0, 1 / 3, 3.0)
"""Times the user's learning rate: a cure that is tried at one rate is no evidence."""
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Arm:
    """Cures, at one learning rate."""

    cures: tuple[Cure, ...]
    rate: float
    """Times the user's."""

    @property
    def cure(self) -> str:
        """The cures' names, or that there are none."""
        return " + ".join(each.option for each in self.cures) or AS_IT_IS

    @property
    def name(self) -> str:
        """Cures and rate: what tells arms apart."""
        return self.cure if self.rate == 1 else f"{self.cure}, learning rate x {self.rate:.3g}"


def arms_for(cell: Any, lag: int, candidates: Any, own_problem: bool, growing: bool) -> tuple[Arm, ...]:
    """The arms, the user's own network at its own rate first; what changes nothing is left out.

    Args:
      candidates: cures, their texts ("chrono:200") or sequences of them that act together; None for those suggested.
      own_problem: whether the cell stands in a problem of the user's own, where only cures of the cell apply.
      growing: whether the gradient of the network as it is explodes on its way.
    """
    chosen = suggested(cell, lag, growing) if candidates is None else [as_cures(each) for each in listed(candidates)]
    if own_problem:
        outside = [each.option for cures in chosen for each in cures if each.trains or each.measures]
        if outside and candidates is not None:
            raise InputError("candidates", outside[0], "cures that act on the cell alone, beside `build`")
        chosen = [cures for cures in chosen if not any(each.trains or each.measures for each in cures)]
    arms = [Arm((), rate) for rate in RATES]
    for cures in chosen:
        cured = cured_by(cures, cell)
        cures, own = rate_of(cures)
        if cured != cell or any(each.trains or each.measures for each in cures):
            arms += [Arm(cures, own * rate) for rate in RATES]
        elif own != 1:
            arms.append(Arm((), own))
    return tuple(dict.fromkeys(arms))


def cured_by(cures: tuple[Cure, ...], cell: Any) -> Any:
    """The cell under the cures, which refuse what does not fit before anything is computed; None where one is broken:
    its arm fails when it is run, and says why."""
    try:
        return apply_to_cell(cures, cell)
    except InputError:
        raise
    except Exception:
        return None


def listed(candidates: Any) -> list[Any]:
    """The candidates, or InputError for what is no sequence of them."""
    if isinstance(candidates, str | Cure) or not isinstance(candidates, Sequence):
        raise InputError("candidates", f"{candidates!r:.80}", "a list, such as ['chrono:200', 'leaky:200']")
    return list(candidates)


def as_cures(given: Any) -> tuple[Cure, ...]:
    """One candidate as a tuple of cures."""
    if isinstance(given, str):
        return cures_of(given)
    if isinstance(given, Cure):
        return (given,)
    if isinstance(given, Sequence):
        return check_cures([part for each in given for part in as_cures(each)])
    raise InputError("candidates", f"{given!r:.80}", "cures, or texts such as 'chrono:200'")


def rate_of(cures: Sequence[Cure]) -> tuple[tuple[Cure, ...], float]:
    """(the cures that are no rates, the product of those that are): arms that differ in rate share their programs."""
    rate = 1.0
    for each in cures:
        rate *= each.factor if isinstance(each, Rate) else 1.0
    return tuple(each for each in cures if not isinstance(each, Rate)), rate
