"""Missing values of a table: refused with their number, interpolated, or kept as missing."""

from __future__ import annotations

import numpy as np

from jrnn.data.rhythm import Rhythm
from jrnn.data.scaling import MISSING
from jrnn.data.tables import Table
from jrnn.extras import require
from jrnn.types import InputError


def without_gaps(
    table: Table, name: str, read: list[int], values: np.ndarray, rhythm: Rhythm | None, missing: str
) -> tuple[np.ndarray, str]:
    """The values [steps, C] with their gaps filled, or left where they are masked, and a sentence on it.

    `interpolate` draws a line between the neighbours and repeats the first and last known value. A filled value knows
    the value after it, so it is neither scored nor forecast from (`forecast_windows`).

    Raises:
      InputError: there are gaps, and they are refused.
    """
    if missing not in MISSING:
        raise InputError("--missing", repr(missing), f"one of {', '.join(MISSING)}")
    lines = 0 if rhythm is None else rhythm.inserted
    holes = np.isnan(values)
    cells = int(holes.sum()) - lines * values.shape[1]
    if not holes.any():
        return values, ""
    ways = []
    if cells > 0:
        given = np.isnan(table.values[:, read])
        each = [f"{int(n):,} in column {table.called(i)}" for i, n in zip(read, given.sum(axis=0)) if n]
        row, column = np.argwhere(given)[0]
        first = f"the first in line {table.line(int(row))}, column {read[column] + 1}"
        ways.append(
            f"{cells:,} missing value{'s' * (cells > 1)} ({', '.join(each[:4])}{', ...' * (len(each) > 4)}; {first})"
        )
    if lines and rhythm is not None:
        ways.append(next(part for part in rhythm.said if "missing row" in part))
    what = " and ".join(ways)
    if missing == "refuse":
        need = "a number in every cell and row, --missing interpolate (a line between the neighbours) or --missing mask"
        raise InputError("--data", f"{name} with {what}", f"{need} (told to the network, not scored)")
    if missing == "mask":
        return values, f"Masked: {what}."
    pandas = require("pandas")
    filled = pandas.DataFrame(values).interpolate(limit_direction="both").to_numpy()
    return filled, f"Interpolated: {what}; not scored there."
