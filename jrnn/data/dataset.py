"""The one type of this room: sequences, targets, the split and the lag of the task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from jrnn.data.checks import describe, finite_float32, real_array, valid_indices, valid_labels, valid_lengths
from jrnn.data.scaling import Series
from jrnn.types import InputError

Task = Literal["classify", "classify_each", "label", "label_each", "regress", "regress_each"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Sequences [cases, T, F] with their targets, checked when made; arrays keep the cases first.

    Fields:
      name: what it was loaded from.
      x: float32 [cases, T, F]; integers are converted; what lies beyond `lengths` is set to 0.
      y: classify int32 [cases]; classify_each int32 [cases, T]; regress float32 [cases, K]; regress_each
        float32 [cases, T, K]; label and label_each the same, of 0 and 1: K labels that are there or not. The `_each`
        tasks ask for an answer at every step, the others at the last valid one.
      lengths: int32 [cases], the valid steps of each case (0..T, not all 0), or None where all T are. A case of
        length 0 takes no step, and an answer at its end sees the initial state only.
      task: which of the six.
      outputs: the number of classes, or K.
      classes: the labels of the classes as they stand in the file, or none.
      alphabet: of a text, the characters of the symbols 1, 2, ...; symbol 0 stands for all others.
      train, test: int64 indices into the cases that share none; `test` is held out (20 % when loaded).
      lag: in steps, how far back the task needs to look: 1..T-1, or 0 where T = 1.
      lag_reason: one sentence, where `lag` comes from.
      source: where the data come from, a sentence a line; of a .csv file what was understood.
      warmup: the first so many steps are not scored; 0 unless the task asks at each step.
      validation: int64 indices to choose by, in neither of the other parts; none where there is no such part.
      plateau: the loss of the best predictor that makes no use of what lies `lag` steps back, or None where that is
        not known; `plateau_reason` says what that predictor knows.
      best_loss: where the plateau is known, the least loss there is: 0 where the answer is certain.
      missing: whether targets may be missing and are then not scored: NaN among numbers, -100 among classes.
      naive: of a series, forecasts that need no network as (name, meaning, mean squared error over what is scored of
        the held-out part, in the unit of y).
      series: how a table became these windows, for what is forecast later; None where there was no table.
    Raises:
      InputError: with the field's name, what was found (for values: case, time, feature) and what is needed.
    """

    name: str
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    lengths: np.ndarray | None = field(repr=False)
    task: Task
    outputs: int
    train: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)
    lag: int
    lag_reason: str
    source: str
    warmup: int = 0
    validation: np.ndarray = field(default_factory=lambda: np.arange(0), repr=False)
    plateau: float | None = None
    plateau_reason: str = ""
    best_loss: float = 0.0
    missing: bool = False
    naive: tuple[tuple[str, str, float], ...] = ()
    series: Series | None = field(default=None, repr=False)
    classes: tuple[str, ...] = field(default=(), repr=False)
    alphabet: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        x = real_array("x", self.x, ("cases", "time", "features"))
        cases, steps, _ = x.shape
        if self.task not in get_args(Task):
            raise InputError("task", repr(self.task), f"one of {', '.join(get_args(Task))}")
        least = 2 if self.task.startswith("classify") else 1
        if not _whole(self.outputs) or self.outputs < least:
            raise InputError("outputs", repr(self.outputs), f"a whole number of at least {least} to {self.task}")
        valid = None
        if self.lengths is not None:
            lengths = valid_lengths(self.lengths, cases, steps)
            valid = np.arange(steps) < lengths[:, None]
            object.__setattr__(self, "lengths", lengths)
        # The class is frozen for its users; here the checked copies take the place of what was given.
        object.__setattr__(self, "x", finite_float32("x", x, ("case", "time", "feature"), valid))
        object.__setattr__(self, "y", self._checked_targets(cases, steps, valid))
        self._check_split(cases)
        low, high = min(1, steps - 1), steps - 1
        if not _whole(self.lag) or not low <= self.lag <= high:
            raise InputError("lag", repr(self.lag), f"a whole number from {low} to {high}, for T = {steps}")
        most = steps - 1 if self.task.endswith("_each") else 0
        if not _whole(self.warmup) or not 0 <= self.warmup <= most:
            raise InputError("warmup", repr(self.warmup), f"a whole number from 0 to {most}, to {self.task}")
        if self.plateau is not None and not (isinstance(self.plateau, float) and 0 < self.plateau < np.inf):
            raise InputError("plateau", repr(self.plateau), "a positive float, or None where it is not known")
        highest = np.inf if self.plateau is None else self.plateau
        if not (isinstance(self.best_loss, float) and 0 <= self.best_loss < highest):
            raise InputError("best_loss", repr(self.best_loss), "a float of at least 0, below the plateau")
        object.__setattr__(self, "outputs", int(self.outputs))
        object.__setattr__(self, "lag", int(self.lag))

    def _checked_targets(self, cases: int, steps: int, valid: np.ndarray | None) -> np.ndarray:
        lead = (cases, steps) if self.task.endswith("_each") else (cases,)
        if self.task.startswith("classify"):
            return valid_labels(self.y, lead, self.outputs, valid, self.missing)
        each = len(lead) == 2
        y = real_array("y", self.y, ("cases", "time", "outputs") if each else ("cases", "outputs"))
        if y.shape != (*lead, self.outputs):
            raise InputError("y", describe(y), f"shape {[*lead, self.outputs]} to fit x and outputs")
        places = ("case", "time", "output") if each else ("case", "output")
        y = finite_float32("y", y, places, valid if each else None, self.missing)
        if self.task.startswith("label") and not ((y == 0) | (y == 1) | np.isnan(y)).all():
            raise InputError("y", "numbers beside 0 and 1", f"0 or 1 for each label, to {self.task}")
        return y

    def _check_split(self, cases: int) -> None:
        taken: dict[str, np.ndarray] = {}
        for part in ("train", "test", "validation"):
            indices = valid_indices(part, getattr(self, part), cases)
            if not len(indices) and part != "validation":
                raise InputError(part, "no cases", "at least one")
            if len(np.unique(indices)) != len(indices):
                raise InputError(part, "a case named twice", "each case at most once")
            answered = self.lengths is None or not self.task.endswith("_each") or self.lengths[indices].any()
            if len(indices) and not answered:
                raise InputError(part, "cases of length 0 only", f"at least one step to answer at, to {self.task}")
            for other, theirs in taken.items():
                shared = np.intersect1d(theirs, indices)
                if len(shared):
                    given = f"case {shared[0]}, which is in {other} too"
                    raise InputError(part, given, f"cases that are not in {other}")
            taken[part] = indices
            object.__setattr__(self, part, indices)

    def subset(self, indices: object) -> dict[str, np.ndarray]:
        """The cases at `indices` ([n] integers, for example `test`): copies of x, y, and lengths if there are any.

        Raises:
          InputError: `indices` are not integers in 0..cases-1.
        """
        chosen = valid_indices("indices", indices, len(self.x))
        arrays = {"x": self.x[chosen], "y": self.y[chosen]}
        if self.lengths is not None:
            arrays["lengths"] = self.lengths[chosen]
        return arrays


def _whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
