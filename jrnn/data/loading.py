"""Finds a data set by its name or a file by its ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jrnn.data.archives import read_archive
from jrnn.data.characters import text
from jrnn.data.columns import measured_columns
from jrnn.data.dataset import Dataset
from jrnn.data.images import digits, mnist
from jrnn.data.series import forecast_windows, sunspots
from jrnn.data.tables import read_table
from jrnn.data.tasks import TASKS, task
from jrnn.types import InputError

NAMES = ("digits", "mnist", "sunspots", "text")
NAMED: dict[str, Callable[[int], Dataset]] = dict(zip(NAMES, (digits, mnist, sunspots, text), strict=True))
POSSIBLE = (
    f"{', '.join(NAMES)}, PATH.npz (arrays x, y and perhaps lengths), PATH.csv (a series to forecast), or a task with "
    f"its lag, such as marked-bit:200 ({', '.join(TASKS)})"
)


def is_named(source: str) -> bool:
    """Whether `load` finds it by its name, and reads no file."""
    return source in NAMES or source.partition(":")[0] in TASKS


def load(name_or_path: str | Path, *, seed: int = 0) -> Dataset:
    """A data set by name, or from a file.

    Args:
      name_or_path: digits or mnist (classify an image read pixel by pixel), sunspots (forecast the next year), text
        (the next character); PATH.npz with arrays x [cases, time, features], y and perhaps lengths [cases]; PATH.csv,
        a series with one row a step and one column a feature, to forecast one step ahead; columns that only count rows
        or time are left out, and `source` says what was understood. Or a task with known answers and its lag in steps,
        such as "marked-bit:200" (`TASKS` has their names): sequences drawn from the seed.
      seed: of the random split or the draw, a whole number >= 0; series and text are split by time.
    Raises:
      InputError: an unknown name, a missing or unreadable file, a package that is not installed, bad values.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError("--seed", repr(seed), "a whole number of at least 0")
    if not isinstance(name_or_path, (str, Path)):
        raise InputError("--data", type(name_or_path).__name__, POSSIBLE)
    if str(name_or_path) in NAMES:
        return NAMED[str(name_or_path)](int(seed))
    if is_named(str(name_or_path)):
        return task(str(name_or_path)).dataset(int(seed))
    path = Path(name_or_path)
    ending = path.suffix.lower()
    if ending not in (".npz", ".csv"):
        raise InputError("--data", repr(str(name_or_path)), POSSIBLE)
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError("--data", f"{str(name_or_path)!r}, which is not a file here", POSSIBLE)
    if ending == ".npz":
        return read_archive(path, int(seed))
    return forecast_windows(path.name, *measured_columns(path.name, read_table(path)))
