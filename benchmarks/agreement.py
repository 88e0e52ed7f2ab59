"""No speed without agreement: outputs and gradients of every framework, compared before anything is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

TOLERANCE = 1e-4
"""Largest ||a - b|| / ||b|| that counts as the same float32 answer."""


class Comparison(NamedTuple):
    """One framework's answer against the reference's."""

    errors: dict[str, float]
    """name -> ||answer - reference|| / ||reference||, for the outputs and each gradient that both have."""
    missing: tuple[str, ...]
    """What the reference has and the framework should have and has not."""
    allowed: Mapping[str, float] = {}
    """name -> the largest error that counts as the same answer, where it is not TOLERANCE."""

    @property
    def worst(self) -> float:
        """The largest error; infinite if anything is missing or not finite."""
        whole = self.errors and not self.missing and all(np.isfinite(list(self.errors.values())))
        return max(self.errors.values()) if whole else float("inf")

    @property
    def agrees(self) -> bool:
        """All errors within what is allowed."""
        within = all(error <= self.allowed.get(name, TOLERANCE) for name, error in self.errors.items())
        return within and bool(np.isfinite(self.worst))


def compare(
    answer: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    may_lack: tuple[str, ...] = (),
    moved: Sequence[Mapping[str, np.ndarray]] = (),
) -> Comparison:
    """Relative errors, in float64, name by name.

    Args:
      may_lack: weights that the framework does not have.
      moved: what the reference answers when its inputs move by a rounding each. Where a slope jumps, as relu's, some
        pre-activation among millions lies within rounding of the corner, and no two orders of summation agree on its
        gradient: twice as far as a rounding moves the reference's own answer is no disagreement.
    """
    common = [name for name in reference if name in answer]
    missing = tuple(name for name in reference if name not in answer and name not in may_lack)
    errors = {name: relative_error(answer[name], reference[name]) for name in common}
    own = {name: 2 * max(relative_error(each[name], reference[name]) for each in moved) for name in common if moved}
    allowed = {name: max(TOLERANCE, reach) if np.isfinite(reach) else 0.0 for name, reach in own.items()}
    return Comparison(errors, missing, allowed)


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """||a - b|| / ||b||; infinite where the shapes differ or a number is not finite."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    difference = float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))
    size = float(np.linalg.norm(b.astype(np.float64)))
    return difference / size if size else (float("inf") if difference else 0.0)


def admitted(comparisons: Mapping[str, Comparison], reference: str) -> set[str]:
    """Whose speed may be printed: the peers that agree with the reference, and the reference if any peer does."""
    peers = {name for name, comparison in comparisons.items() if comparison.agrees}
    return peers | {reference} if peers else set()
