"""Finds a data set by its name or a file by its ending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from jrnn.data.archives import read_archive
from jrnn.data.characters import book, text
from jrnn.data.columns import series_of
from jrnn.data.dataset import Dataset
from jrnn.data.images import digits, mnist
from jrnn.data.scaling import Series
from jrnn.data.series import forecast_windows, sunspots
from jrnn.data.tasks import TASKS, task
from jrnn.types import InputError

NAMES = ("digits", "mnist", "sunspots", "text")
NAMED: dict[str, Callable[[int], Dataset]] = dict(zip(NAMES, (digits, mnist, sunspots, text), strict=True))
POSSIBLE = (
    f"{', '.join(NAMES)}, PATH.npz (arrays x, y and perhaps lengths), PATH.csv (a series to forecast), PATH.txt (a "
    f"text), or a task with its lag, such as marked-bit:200 ({', '.join(TASKS)})"
)


def is_named(source: str) -> bool:
    """Whether `load` finds it by its name, and reads no file."""
    return source in NAMES or source.partition(":")[0] in TASKS


def load(
    name_or_path: str | Path,
    *,
    seed: int = 0,
    target: str | Sequence[str] | None = None,
    horizon: int | None = None,
    history: int | None = None,
    missing: str | None = None,
    change: bool | None = None,
    tokens: bool | int | None = None,
    like: Series | None = None,
    classes: Sequence[str] | None = None,
    alphabet: str | None = None,
) -> Dataset:
    """A data set by name, or from a file.

    Args:
      name_or_path: digits or mnist (classify an image read pixel by pixel), sunspots (forecast the next year), text
        (the next character); PATH.npz with arrays x [cases, time, features], y and perhaps lengths [cases]; PATH.csv,
        a series with one row a step and one column a feature, read by pandas: a column of dates or unix times is the
        index, columns that only count are not forecast, and `source` says what was understood; PATH.txt, a text, to
        predict the next character. Or a task with known
        answers and its lag in steps, such as "marked-bit:200" (`TASKS` has their names): sequences drawn from the seed.
      seed: of the random split or the draw, a whole number >= 0; series and text are split by time.
      target: of a .csv file, the columns to forecast, "load" or "load,price" or a list; the others are read as inputs.
        By default all that measure something.
      horizon: of a .csv file, how many steps ahead are forecast, all at once (default: 1).
      history: of a .csv file, how many steps the network reads before its last forecast, the window T (default: four
        periods, or 64).
      missing: of a .csv file, what is done about missing values and rows: refuse (default), interpolate (a line between
        the neighbours; the network reads it, but neither it nor a forecast made there is scored, as it knows the next
        value), or mask (the network reads the last known value and a mark; a missing target is not scored). Of
        a .npz file mask alone: NaN in y, and -100 among classes, is not scored.
      change: of a .csv file, whether the targets are read and forecast as changes from the last value, for series that
        drift: an answer of 0 is then persistence.
      tokens: of a .npz file, whether the integers x [cases, time] are symbols, to be read one-hot; a number says how
        many kinds there are.
      like: the series of a saved model, whose columns, scaling, window and horizon are used.
      classes: of a .npz file, the names of a saved model's classes, by which labels are numbered.
      alphabet: of a text, the characters of a saved model, by which they are numbered.
    Raises:
      InputError: an unknown name, a missing or unreadable file, a package that is not installed, bad values.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError("--seed", repr(seed), "a whole number of at least 0")
    if not isinstance(name_or_path, (str, Path)):
        raise InputError("--data", type(name_or_path).__name__, POSSIBLE)
    options = {
        "--target": target,
        "--horizon": horizon,
        "--history": history,
        "--missing": missing,
        "--change": change or None,
    }
    ending = Path(name_or_path).suffix.lower()
    for option, value in options.items():
        if value is not None and ending != ".csv" and (option, value, ending) != ("--missing", "mask", ".npz"):
            raise InputError(option, repr(value), f"a .csv file as --data, not {str(name_or_path)!r}")
    if tokens and ending != ".npz":
        raise InputError("--tokens", str(name_or_path), "a .npz file as --data, with integers x [cases, time]")
    for option, value in (("--horizon", horizon), ("--history", history)):
        least = 1 if option == "--horizon" else 2
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and (not whole or value < least):
            raise InputError(option, repr(value), f"a whole number of steps, at least {least}")
    if str(name_or_path) == "text":
        return text(int(seed), alphabet)
    if str(name_or_path) in NAMES:
        return NAMED[str(name_or_path)](int(seed))
    if is_named(str(name_or_path)):
        return task(str(name_or_path)).dataset(int(seed))
    path = Path(name_or_path)
    if ending not in (".npz", ".csv", ".txt"):
        raise InputError("--data", repr(str(name_or_path)), POSSIBLE)
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError("--data", f"{str(name_or_path)!r}, which is not a file here", POSSIBLE)
    if ending == ".npz":
        kinds = None if not tokens else 0 if tokens is True else int(tokens)
        return read_archive(path, int(seed), kinds, missing == "mask", classes)
    if ending == ".txt":
        return book(path, alphabet)
    missing = missing or ("refuse" if like is None else like.missing)
    found = series_of(path, target, missing, like)
    ahead = 1 if horizon is None else int(horizon)
    data = forecast_windows(
        path.name, found.values, found.said, history, names=found.names, targets=found.targets, horizon=ahead,
        missing=missing, change=bool(change), like=like, filled=found.filled,
        usual=found.rhythm.usual if found.rhythm else None, every=found.rhythm.every if found.rhythm else "",
    )  # fmt: skip
    return replace(data, source=f"{data.source}\n{_windows(data)}")


def _windows(data: Dataset) -> str:
    """The period, and what the network is asked, a sentence a line."""
    assert data.series is not None
    ahead = data.series.horizon
    steps = "the next step is" if ahead == 1 else f"the next {ahead:,} steps at once are"
    level = " as changes from the last value" if data.series.change else ""
    read = "a period" if data.warmup == data.lag else "half the window"
    scored = f", scored from step {data.warmup} on, when {read} has been read" if data.warmup else ""
    found = f"{data.lag_reason[0].upper()}{data.lag_reason[1:]}."
    return f"{found}\nAt each step of windows of {data.x.shape[1]:,} steps, {steps} asked{level}{scored}."
