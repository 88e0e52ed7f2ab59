"""What each column of a table is: a measurement, a date, a counter; and a few sentences on what was understood."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jrnn.data.counters import counts_rows, is_counter
from jrnn.data.dates import dates_of_numbers
from jrnn.data.gaps import without_gaps
from jrnn.data.rhythm import Rhythm, in_rhythm, shown
from jrnn.data.scaling import Series
from jrnn.data.tables import Table, read_table
from jrnn.types import InputError

CLOCKS = ("", "index", "time", "date", "datetime", "timestamp", "ts", "unix", "epoch", "row", "step", "id", "no", "t")
TIMES = (
    "time",
    "date",
    "stamp",
    "epoch",
    "unix",
    "month",
    "period",
    "yyyymm",
    "when",
    "zeit",
    "datum",
    "fecha",
    "heure",
)
CODES = (-99.0, -999.0, -9999.0, -99999.0)
"""Numbers that files have for a value that is missing."""
SHOWN = 6


class Columns(NamedTuple):
    """A table as a series."""

    values: np.ndarray
    """float64 [steps, C], one row a step of time; NaN only where missing values are masked."""
    names: list[str]
    """Of the columns that are read."""
    targets: list[str]
    """Those that are forecast."""
    said: str
    """What was understood, a sentence a line."""
    rhythm: Rhythm | None
    """The times; None where the file has none."""
    filled: np.ndarray
    """bool [steps, C]: the values that were interpolated."""


def series_of(
    path: Path, target: str | Sequence[str] | None = None, missing: str = "refuse", like: Series | None = None
) -> Columns:
    """The series in a .csv file.

    A column of dates or unix times becomes the index. A column that rises by one constant, or always rises in whole
    numbers and has the name of a time, is left out; a calendar column (an hour, a month, a weekday) and a constant
    one are read and not forecast, unless it is named as a target. If all columns count, all are kept.

    Args:
      target: the columns to forecast by name, "a,b" for two; by default all that measure something.
      missing: refuse | interpolate | mask.
      like: the series of a saved model, whose columns are read and nothing else.
    Raises:
      InputError: as `read_table`; a target that is not there, missing values or rows where these are refused.
    """
    table, name = read_table(path), path.name
    names = _names(table)
    wanted = _targets(name, names, target)
    kept = wanted if like is None else like.inputs
    kinds = [_kind(table, i, names[i] in kept) for i in range(len(names))]
    read, targets = _roles(table, name, names, kinds, wanted) if like is None else _like(name, names, like)
    dated = next((i for i, kind in enumerate(kinds) if kind == "date"), None)
    values, rhythm = table.values[:, read], None
    if dated is not None:
        dates = table.dates[dated] if dated in table.dates else dates_of_numbers(table.values[:, dated])
        if dates.isna().any():
            line = table.line(int(dates.isna().to_numpy().argmax()))
            raise InputError("--data", f"line {line} of {name}, which has no time", "a time in every row")
        rhythm = in_rhythm(name, dates, values)
        values = rhythm.values
        if like is not None and like.every not in ("", rhythm.every):
            raise InputError("--data", f"{name} with one row {rhythm.every}", f"one row {like.every}, as in training")
    holes = np.isnan(values) & (missing == "interpolate")
    values, filled = without_gaps(table, name, read, values, rhythm, missing)
    said = [_understood(name, table, kinds, read, dated)]
    if rhythm is not None:
        said.append(f"Times in column {table.called(dated or 0)}: {'; '.join(rhythm.said)}.")
    said += [filled] * bool(filled)
    gaps = np.asarray(np.isnan(values).any(axis=0))
    unmarked = [] if like is None else [one for one, gap in zip(like.inputs, gaps) if gap and one not in like.masked]
    if unmarked:
        said.append(f"The network has no mark for missing values of {_cut(unmarked)}: it reads the last known one.")
    others = [table.called(i) for i in read if names[i] not in targets]
    if others:
        said.append(f"Forecast: {', '.join(targets)}. Read and not forecast: {_cut(others)}.")
    said += [_code(table, i) for i in read if _code(table, i)]
    first = [f"{names[i]} = {values[0, j]:.6g}" for j, i in enumerate(read)]
    said.append(f"First row: {_cut(([shown(rhythm.start)] if rhythm else []) + first)}.")
    return Columns(values, [names[i] for i in read], targets, "\n".join(said), rhythm, holes)


def _names(table: Table) -> list[str]:
    """A name for each column: its title, with its number where two have the same; "column 2" without a title."""
    width = table.values.shape[1]
    names = [(table.names[i].strip() if table.names else "") or f"column {i + 1}" for i in range(width)]
    return [f"{title} ({i + 1})" if names.count(title) > 1 else title for i, title in enumerate(names)]


def _roles(
    table: Table, name: str, names: list[str], kinds: list[str], wanted: list[str]
) -> tuple[list[int], list[str]]:
    """(the columns that are read, the names of the targets)."""
    unfit = next((i for i, kind in enumerate(kinds) if names[i] in wanted and kind in ("date", "empty")), None)
    if unfit is not None:
        what = "which holds dates" if kinds[unfit] == "date" else "which is empty"
        raise InputError("--target", f"{names[unfit]!r}, {what}", "a column of numbers")
    read = [i for i, kind in enumerate(kinds) if kind in ("measured", "calendar") or names[i] in wanted]
    read = read or [i for i, kind in enumerate(kinds) if kind == "counter"]
    if not read:
        raise InputError("--data", f"{name}, without a column of numbers", "a column that measures something")
    varying = [
        i for i in read if kinds[i] == "measured" and np.nanmax(table.values[:, i]) > np.nanmin(table.values[:, i])
    ]
    return read, wanted or [names[i] for i in varying or read]


def _like(name: str, names: list[str], like: Series) -> tuple[list[int], list[str]]:
    """The columns of a saved model's series, by their names."""
    lacking = next((column for column in like.inputs if column not in names), None)
    if lacking is not None:
        raise InputError("--data", f"{name} without the column {lacking!r}", "all columns of the model's own data")
    return [names.index(column) for column in like.inputs], list(like.targets)


def _targets(name: str, names: list[str], target: str | Sequence[str] | None) -> list[str]:
    asked = [] if target is None else [target] if isinstance(target, str) else list(target)
    if isinstance(target, str) and target not in names:
        asked = [part.strip() for part in target.split(",")]
    for one in asked:
        if one not in names:
            raise InputError("--target", repr(one), f"a column of {name}: {', '.join(names[:20])}")
    return asked


def _kind(table: Table, column: int, wanted: bool) -> str:
    """empty | date | counter | calendar | measured; a `wanted` column of numbers holds no dates. A meter counts in
    the numbers of unix times, which are therefore believed only where the title is that of a time, or in the first
    column of a file without titles."""
    if column in table.dates:
        return "date"
    known = table.values[:, column][~np.isnan(table.values[:, column])]
    if not len(known):
        return "empty"
    title = None if table.names is None else table.names[column].strip().strip("_").lower()
    timed = column == 0 if title is None else title in CLOCKS or any(word in title for word in TIMES)
    if not wanted and dates_of_numbers(table.values[:, column], timed) is not None:
        return "date"
    if counts_rows(known):
        return "counter"
    rises = bool((np.diff(known) > 0).all() and (known == np.floor(known)).all())
    if rises and title is not None and (title in CLOCKS or title.startswith("unnamed")):
        return "counter"
    if is_counter(known[None]):
        return "counter" if (np.diff(known) >= 0).all() or (np.diff(known) <= 0).all() else "calendar"
    return "measured"


def _understood(name: str, table: Table, kinds: list[str], read: list[int], dated: int | None) -> str:
    """Which columns, whether there is a header, and what was left out."""
    called = [table.called(i) for i in read]
    shown = called if len(called) <= SHOWN else [*called[: SHOWN - 2], "...", called[-1]]
    columns = f"Column {called[0]}" if len(called) == 1 else f"The {len(called)} columns {', '.join(shown)}"
    # a date and the time of day beside it are one index
    index = [
        i
        for i in range(len(kinds))
        if i == dated or (i in table.dates and table.dates[i] is table.dates.get(dated or 0))
    ]
    about = [*table.said, "line 1 is the header" if table.names else "no header"]
    for kind, why in (("counter", "counting rows or time"), ("date", "dates"), ("empty", "empty")):
        out = [table.called(i) for i, each in enumerate(kinds) if each == kind and i not in (*read, *index)]
        about += [f"left out as {why}: column{'s' * (len(out) > 1)} {_cut(out)}"] * bool(out)
    calendar = [table.called(i) for i in read if kinds[i] == "calendar"]
    if calendar and len(calendar) < len(read):
        about.append(f"counting the calendar: column{'s' * (len(calendar) > 1)} {_cut(calendar)}")
    return f"{columns} of {name}, one row a step ({'; '.join(about)})."


def _code(table: Table, column: int) -> str:
    """A sentence on a number such as -9999, further from the others than those from each other; else ""."""
    known = table.values[:, column][~np.isnan(table.values[:, column])]
    low = known.min() if len(known) else 0.0
    others = known[known != low]
    if low not in CODES or not len(others) or others.min() - low <= np.ptp(others):
        return ""
    rows = len(known) - len(others)
    where = f"{rows:,} row{'s' * (rows > 1)} of column {table.called(column)}"
    return f"{low:.0f} in {where} is read as a value: leave the cell empty if none was measured."


def _cut(words: list[Any]) -> str:
    return ", ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")
