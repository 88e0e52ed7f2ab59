"""Fixed and slow points with what happens near them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import jax
import numpy as np

from jrnn.displays import plotted_by
from jrnn.types import State
from jrnn.wording import brief


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """P points where a network of N state components rests or moves slowly, from S starts. NumPy arrays, on the host.

    `found[found.stable]`, `found[:3]` and the like are those points alone; `len(found)` is P. Eigenvalues are those of
    dF/dh, by magnitude, the largest first; a perturbation along one grows |lambda| times a step and turns by its angle.
    """

    states: State
    """The points in the cell's own state type, leaves [P, ...]."""
    points: np.ndarray
    """[P, N], the same flattened as by `jrnn.ravel_state` (h, then c for an LSTM)."""
    speed: np.ndarray
    """[P], q = |F(h, x) - h|^2 / 2."""
    converged: np.ndarray
    """[P] of bool: a fixed point to within the tolerance; False for a slow point, a local minimum of q above 0."""
    jacobians: np.ndarray
    """[P, N, N], dF/dh."""
    eigenvalues: np.ndarray
    """[P, N], complex."""
    distance: np.ndarray
    """[P]: root mean square a component between the point and the nearest start. One far from all starts lies where the
    network never comes: a GRU rests anywhere far out, where its gates are shut. `found[found.distance < 1]`."""
    of_start: np.ndarray
    """[S]: the point that each start went to; -1 where it went to none of these."""
    iterations: np.ndarray
    """[S]: the steps of each search."""

    plot = plotted_by("plot_fixed_points")

    @property
    def starts(self) -> np.ndarray:
        """[P]: how many starts went to each point."""
        return np.bincount(self.of_start[self.of_start >= 0], minlength=len(self))

    @property
    def unfinished(self) -> int:
        """How many starts went to none of these points; after a search, those it did not bring to a minimum."""
        return int((self.of_start < 0).sum())

    @property
    def unstable_dimension(self) -> np.ndarray:
        """[P]: the eigenvalues with |lambda| >= 1, directions along which perturbations do not fade."""
        return (np.abs(self.eigenvalues) >= 1).sum(axis=1)

    @property
    def stable(self) -> np.ndarray:
        """[P] of bool: a fixed point whose eigenvalues all have |lambda| < 1: every small perturbation fades."""
        return self.converged & (self.unstable_dimension == 0)

    @property
    def time_constants(self) -> np.ndarray:
        """[P, N], in steps: -1 / ln |lambda|, in which a perturbation fades to 1/e of itself; negative where it grows e
        times in as many, 0 where lambda is 0, inf where |lambda| is 1."""
        with np.errstate(divide="ignore"):
            rate = -np.log(np.abs(self.eigenvalues))
            return np.where(rate == 0, np.inf, 1 / rate)

    @property
    def frequencies(self) -> np.ndarray:
        """[P, N], in turns per step: |angle of lambda| / 2 pi, 0 for a positive lambda, 1/2 for a negative one."""
        return np.abs(np.angle(self.eigenvalues)) / (2 * np.pi)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, chosen: Any) -> FixedPoints:
        """The points of a mask [P], of indices, of a slice, or the one of an index, as a `FixedPoints`."""
        index = np.atleast_1d(np.arange(len(self))[chosen])
        place = np.full(len(self) + 1, -1)
        place[index] = np.arange(len(index))
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        own = ("states", "points", "speed", "converged", "jacobians", "eigenvalues", "distance")
        parts |= jax.tree.map(lambda a: a[index], {name: parts[name] for name in own})
        return FixedPoints(**parts | {"of_start": place[self.of_start]})

    def __repr__(self) -> str:
        fixed, unstable = int(self.converged.sum()), self.unstable_dimension[self.converged]
        most = int(unstable.max(initial=0))
        told = f"{int(self.stable.sum())} stable{f', up to {most} unstable directions' if most else ''}"
        count = f"{fixed} fixed point{'' if fixed == 1 else 's'}" + (f" ({told})" if fixed else "")
        slow = len(self) - fixed
        missed = f" ({self.unfinished} went to none)" if self.unfinished else ""
        return brief(
            self, count + (f", {slow} slow" if slow else ""), f"{len(self.of_start)} starts{missed}",
            f"N = {self.points.shape[1]}",
        )  # fmt: skip
