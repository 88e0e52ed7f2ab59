"""Dates and times of day as people write them, read by pandas in one format for a whole column."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from jrnn.extras import require
from jrnn.types import InputError

ISO = re.compile(r"\d{4}-\d{2}(-\d{2}.*)?")
OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"
MOSTLY = 0.8
"""Of the cells of a column: so many dates, and the others are slips."""
CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"


def dates_of(place: str, cells: Any, index: Any, line: Callable[[int], int]) -> tuple[Any, str]:
    """The dates in a column of text, aligned to `index` (NaT elsewhere), and what to say; None if it holds others.

    All cells must have the format of the first; offsets from UTC are taken off. Of 03/04/2020 the order of day and
    month is the one that all cells allow; where both are possible, the one in which time always goes forward, and of
    two such orders the one with even steps.

    Args:
      place: the column, for errors.
      line: row -> the line of the file that it stands in.
    Raises:
      InputError: both are possible and nothing tells; most cells are dates, but not all.
    """
    pandas = require("pandas")
    first = cells.iloc[0]
    if len(first) < 6 or not any(letter.isdigit() for letter in first):
        return None, ""
    moved = cells.str.contains(OFFSET)
    utc = bool(ISO.match(first)) and len(first) > 10 and moved.mean() >= MOSTLY
    guess = require("pandas.tseries.api").guess_datetime_format
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a day of 31 tells the order by itself
        year_first = re.match(r"\d{4}", first)  # then the month is next
        formats = [guess(first), None if year_first else guess(first, dayfirst=True)]
        formats = ["ISO8601"] if ISO.fullmatch(first) else formats
    ways, best = {}, None
    for form in filter(None, dict.fromkeys(formats)):
        read = pandas.to_datetime(cells, format=form, errors="coerce", utc=utc)
        read = read.where(moved) if utc else read  # of some with and some without an offset, none is known
        if read.notna().all():
            ways[form] = (read.dt.tz_localize(None) if utc else read).reindex(index)
        best = read if best is None or read.notna().sum() > best.notna().sum() else best
    if not ways:
        if best is not None and best.notna().mean() >= MOSTLY:
            row = int(best.isna().to_numpy().argmax())
            given = f"{cells.iloc[row]!r} in line {line(int(cells.index[row]))}, {place}, which holds dates"
            raise InputError("--data", given, f"a date such as {first!r} in every row")
        return None, ""
    if len(ways) == 2:
        forward = {form: read for form, read in ways.items() if read.dropna().is_monotonic_increasing}
        if len(forward) == 2:  # read the wrong way, months in a row are days with a leap at the end of each year
            leaps = {form: _leap(read) for form, read in forward.items()}
            forward = {form: read for form, read in forward.items() if 2 * leaps[form] < max(leaps.values())}
        if len(forward) != 1:
            given = f"dates such as {first!r} in {place}, which may be day or month first"
            raise InputError("--data", given, "dates as 2020-12-31")
        ways = forward
    form, read = next(iter(ways.items()))
    day_first = "%d" in form and form.find("%d") < form.find("%m")
    words = "dates are read as day, month, year" if day_first else ""
    shifted = utc and not cells.str.contains(r"(?:Z|[+-]00:?00)$").all()
    return read, "times are in UTC" if shifted else words


def _leap(read: Any) -> float:
    """The longest step of time over the usual one."""
    steps = read.dropna().diff().dropna().dt.total_seconds()
    steps = steps[steps > 0]
    return float(steps.max() / steps.median()) if len(steps) else 1.0


def times_of_day(cells: Any, index: Any) -> Any:
    """Times such as 17:24:00 as spans since midnight, aligned to `index`; None where the column holds others."""
    if not cells.str.fullmatch(CLOCK).all():
        return None
    long = cells.where(cells.str.count(":") == 2, cells + ":00")
    return require("pandas").to_timedelta(long).reindex(index)


def dates_of_numbers(values: Any, timed: bool = True) -> Any:
    """A pandas Series of dates, from whole numbers such as 20201231 and, if `timed`, from those such as 202012 and unix
    times in s, ms, us or ns (1973 to 2128); None for other numbers."""
    pandas = require("pandas")
    known = values[values == values]
    if len(known) < 2 or (known != known.round()).any():
        return None
    for unit, low, high in EPOCHS if timed else ():
        if (known >= low).all() and (known <= high).all() and (known[1:] > known[:-1]).mean() > 0.9:
            return pandas.Series(pandas.to_datetime(values, unit=unit))
    for form, low, high in DIGITS[: 1 + timed]:
        if not ((known >= low) & (known <= high)).all():
            continue
        read = pandas.to_datetime(pandas.Series(values).astype("Int64").astype(str), format=form, errors="coerce")
        if read.notna().sum() == len(known) and read.dropna().is_monotonic_increasing:
            return read
    return None


EPOCHS = (("s", 1e8, 5e9), ("ms", 1e11, 5e12), ("us", 1e14, 5e15), ("ns", 1e17, 5e18))
"""1973 to 2128 by the unit."""
DIGITS = (("%Y%m%d", 19000101, 21001231), ("%Y%m", 190001, 210012))
