"""Which arms go on. The loss alone is a lottery while all arms sit on the plateau: the gradient's way decides there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

CLEARLY = 0.9
"""A loss below so much of the constant predictor's is off the plateau."""
EXPLODES = 100.0
"""An arm with a larger share at the lag before training is left out."""


class Record(NamedTuple):
    """What was seen of an arm up to the end of a rung."""

    losses: np.ndarray
    """[evaluations, seeds]: held-out losses, the first before any update."""
    shares: np.ndarray
    """[2]: what arrives at the lag before training and now; NaN where it is not known."""
    floor: float | None
    """The plateau, or the loss of the best constant answer; None where it is not known."""
    target: float | None
    """A loss that counts as solved."""

    @property
    def standing(self) -> tuple[float, ...]:
        """Sorts arms, the best first: solved seeds and how soon; the loss, off the plateau; the share at the lag that
        its way so far leads to, ln share + (ln share - ln first share), at most all; then the share itself."""
        last = self.losses[-1]
        if not np.isfinite(last).all():
            return (4.0, float(np.sum(~np.isfinite(last))))
        solved = np.zeros(len(last), bool) if self.target is None else (self.losses < self.target).any(axis=0)
        if solved.any():
            first = np.where(solved, np.argmax(self.losses < np.float64(self.target), axis=0), len(self.losses))
            return (0.0, -float(solved.sum()), float(first.mean()), float(np.median(last)))
        if self.off_the_plateau(float(np.median(last))):
            return (1.0, float(np.median(last)))
        before, now = np.log(np.maximum(np.nan_to_num(self.shares, nan=0.0, posinf=0.0), 1e-300))
        heading = min(0.0, 2 * now - before)
        return (2.0, -float(heading), -float(min(now, 0.0)), float(np.median(last)))

    def off_the_plateau(self, loss: float) -> bool:
        """Whether a loss is clearly below the floor; without a floor, only where nothing is known of the gradient, does
        the loss decide."""
        if self.floor is None:
            return bool(np.isnan(self.shares).all())
        return loss < self.floor - (1 - CLEARLY) * abs(self.floor)


def survivors(records: Mapping[str, Record], keep: int) -> Sequence[str]:
    """The names of the `keep` best arms, best first; ties keep the order of the mapping."""
    return sorted(records, key=lambda name: records[name].standing)[:keep]


def updates_to_target(losses: np.ndarray, target: float, interval: int) -> np.ndarray:
    """[seeds]: the update at whose evaluation the loss was first below the target; the last one where it never was."""
    reached = losses < target
    first = np.where(reached.any(axis=0), reached.argmax(axis=0), len(losses) - 1)
    return np.maximum(first, 1) * interval
