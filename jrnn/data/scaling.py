"""How the columns of a table became what a network reads, and its forecasts numbers in the user's unit again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from jrnn.types import InputError

MISSING = ("refuse", "interpolate", "mask")
"""What may be done about missing values, as --missing has it."""


@dataclass(frozen=True)
class Series:
    """What is kept of a table with the model: columns, scaling, horizon. Plain numbers and texts, as JSON holds them.

    x [T, F] has the input columns, (value - mean) / spread each, then a column for each of `masked`, 1 where the value
    is missing and x repeats the last known one (Che et al. 2018, 'GRU-Simple' without the time since). y [T, H K] has
    for each step t and h = 1..H the K targets at t + h, in the same scale. With `change` the targets are read as
    v_t - v_{t-1} and y is v_{t+h} - v_t over its own spread, so that an answer of 0 is persistence.
    """

    inputs: tuple[str, ...]
    """The names of the columns that are read, in order; "column 2" where the file has no header."""
    targets: tuple[str, ...]
    """Those that are forecast, all of them among the inputs."""
    mean: tuple[float, ...]
    """Of each input column, over the part before the boundary of the split."""
    spread: tuple[float, ...]
    """Its standard deviation there; 1 for a constant column."""
    horizon: int
    """H: the forecast is of the next so many steps, all at once."""
    history: int
    """T: the steps of a window."""
    masked: tuple[str, ...] = ()
    """The columns that had missing values, where these were masked."""
    missing: str = "refuse"
    """What was done about missing values: refuse | interpolate | mask."""
    period: int | None = None
    """Of the season in steps; None where there is none."""
    every: str = ""
    """How often there is a row, such as "an hour"; empty where the file has no times."""
    change: bool = False
    """Whether the targets are read and forecast as changes, for series that drift."""
    change_spread: tuple[float, ...] = ()
    """With `change`: of each target the root mean square of v_{t+h} - v_t over the training part and all h."""

    lag: int | None = None
    """The lag that the data were found to need when the model was made, in steps; new data are asked for the same."""
    lag_reason: str = ""
    """Where the lag comes from, in a sentence."""
    warmup: int = 0
    """The first so many steps of a window are not scored."""

    @property
    def target_columns(self) -> list[int]:
        """Where the targets are among the inputs."""
        return [self.inputs.index(name) for name in self.targets]

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """x float32 [T, F] of the input columns [T, C]; NaN stands for a missing value of a masked column."""
        known = changes(values, self.target_columns) if self.change else filled_forward(values)
        x = (known - np.array(self.mean)) / np.array(self.spread)
        x = np.where(np.isnan(x), 0.0, x)  # before the first known value: the mean
        marks = np.isnan(values[:, [self.inputs.index(name) for name in self.masked]])
        with np.errstate(over="ignore"):
            return np.concatenate([x, marks], axis=1).astype(np.float32)

    def scaled_targets(self, values: np.ndarray) -> np.ndarray:
        """The targets float64 [T, K] of the input columns [T, C] in the scale of y, NaN where they are missing."""
        mean, spread = (np.array(self.scaling[name][: len(self.targets)]) for name in ("output_mean", "output_spread"))
        return (values[:, self.target_columns] - mean) / spread

    def asked(self, targets: np.ndarray, index: np.ndarray) -> np.ndarray:
        """y float32 [*index, H K] of the steps `index` of `scaled_targets` [T, K]."""
        ahead = targets[index[..., None] + np.arange(1, self.horizon + 1)]
        if self.change:
            ahead = ahead - filled_forward(targets)[index][..., None, :]
        with np.errstate(over="ignore"):
            return ahead.astype(np.float32).reshape(*index.shape, -1)

    @property
    def scaling(self) -> dict[str, Any]:
        """The affine maps around a network: x is (value - input_mean) / input_spread, a forecast z * output_spread +
        output_mean, outputs in the order of y. With `change`, "change" has the columns of x that are changes, and the
        last values of those are added to the forecasts."""
        columns, marks = self.target_columns, len(self.masked)
        mean, spread = ([values[i] for i in columns] for values in (self.mean, self.spread))
        return {
            "input_mean": [*self.mean, *[0.0] * marks],
            "input_spread": [*self.spread, *[1.0] * marks],
            "output_mean": ([0.0] * len(columns) if self.change else mean) * self.horizon,
            "output_spread": (list(self.change_spread) if self.change else spread) * self.horizon,
            **({"change": columns} if self.change else {}),
        }

    def as_json(self) -> dict[str, Any]:
        """As a dict that JSON can hold; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Any) -> Series:
        """The series of a saved model.

        Raises:
          InputError: it is none.
        """
        names = {each.name for each in fields(cls)}
        if not isinstance(kept, Mapping) or not set(kept) <= names:
            raise InputError("--model", "one that keeps no series", "a model that `jrnn train` made of a .csv file")
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in kept.items()}
        return cls(**values)


def changes(values: np.ndarray, columns: list[int]) -> np.ndarray:
    """`filled_forward`, and v_t - v_{t-1} in these columns, 0 at the first step."""
    known = filled_forward(values)
    known[:, columns] = np.diff(known[:, columns], axis=0, prepend=known[:1, columns])
    return known


def filled_forward(values: np.ndarray) -> np.ndarray:
    """[T, C] with each NaN as the last number before it; NaN where there is none."""
    place = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(place, axis=0)
    return np.where(last < 0, np.nan, np.take_along_axis(values, np.maximum(last, 0), axis=0))
