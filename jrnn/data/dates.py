"""Dates and times of day as people write them, read by pandas in one format for a whole column."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from jrnn.data.calendar_periods import dates_of_periods, in_24_hours, refused
from jrnn.extras import require
from jrnn.types import InputError

SHORT = (
    r"\d{1,2}(?P<mark>[-/. ])(?:\d{1,2}|(?P<name>[A-Za-z]{3}))(?P=mark)\d{2}"
    r"(?:(?P<gap>[ T])(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?"
)
"""A date whose year may have two digits."""
ISO = re.compile(r"\d{4}-\d{2}(-\d{2}.*)?")
OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"
MOSTLY = 0.8
"""Of the cells of a column: so many dates, and the others are slips."""
CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"


def dates_of(place: str, cells: Any, index: Any, line: Callable[[int], int]) -> tuple[Any, str]:
    """The dates in a column of text, aligned to `index` (NaT elsewhere), and what to say; None if it holds others.

    All cells must have the format of the first; offsets from UTC are taken off. Of 03/04/2020 the order of day and
    month is the one that all cells allow; where several are possible, the one in which time always goes forward, and of
    such orders the one with even steps. Years of two digits are those from 1969 to 2068, and none that are still to
    come. Hours of AM and PM, quarters, months and weeks: `calendar_periods`.

    Args:
      place: the column, for errors.
      line: row -> the line of the file that it stands in.
    Raises:
      InputError: several are possible and nothing tells; most cells are dates, but not all; a year of two digits that
        is still to come.
    """
    pandas = require("pandas")
    read, words = dates_of_periods(place, cells, line)
    if read is not None:
        return read.reindex(index), words
    cells = in_24_hours(place, cells, line, MOSTLY)
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
        short = re.fullmatch(SHORT, first)
        formats = _short_formats(short) if short else formats
    ways, best = {}, None
    for form in filter(None, dict.fromkeys(formats)):
        read = pandas.to_datetime(cells, format=form, errors="coerce", utc=utc)
        read = read.where(moved) if utc else read  # of some with and some without an offset, none is known
        if read.notna().all():
            ways[form] = (read.dt.tz_localize(None) if utc else read).reindex(index)
        best = read if best is None or read.notna().sum() > best.notna().sum() else best
    if not ways:
        if best is not None and best.notna().mean() >= MOSTLY:
            raise refused(place, cells, best.isna(), line, f"a date such as {first!r} in every row")
        return None, ""
    soon = pandas.Timestamp.now() + pandas.Timedelta(days=366)
    if short:  # of a year that is still to come, the century is not told
        ways = {form: read for form, read in ways.items() if not (read > soon).any()} or ways
    if len(ways) > 1:
        forward = {form: read for form, read in ways.items() if read.dropna().is_monotonic_increasing}
        if len(forward) > 1:  # read the wrong way, months in a row are days with a leap at the end of each year
            leaps = {form: _leap(read) for form, read in forward.items()}
            forward = {form: read for form, read in forward.items() if leaps[form] < 2 * min(leaps.values())}
        if len(forward) != 1:
            orders = "day, month or year first" if short else "day or month first"
            given = f"dates such as {first!r} in {place}, which may be {orders}"
            raise InputError("--data", given, "dates as 2020-12-31")
        ways = forward
    form, read = next(iter(ways.items()))
    words = f"dates are read as {_order(form)}" if short or _order(form).startswith("day") else ""
    late = read.reindex(cells.index) > soon
    if short and late.any():
        raise refused(place, cells, late, line, "years of four digits, as this one may be of either century")
    shifted = utc and not cells.str.contains(r"(?:Z|[+-]00:?00)$").all()
    return read, "times are in UTC" if shifted else words


def _short_formats(found: re.Match[str]) -> list[str]:
    """The formats that a date with a year of two digits may have."""
    mark, time = found["mark"], found["time"] or ""
    clock = (
        f"{found['gap']}{':'.join(['%H', '%M', '%S'][: time.count(':') + 1])}{'.%f' * ('.' in time)}" if time else ""
    )
    orders = ("dby",) if found["name"] else ("mdy", "dmy", "ymd")
    return [mark.join(f"%{letter}" for letter in order) + clock for order in orders]


def _order(form: str) -> str:
    """For example "day, month, year"."""
    words = {"%d": "day", "%m": "month", "%b": "month", "%y": "year", "%Y": "year"}
    return ", ".join(words[part] for part in re.findall("%[dmbyY]", form))


def _leap(read: Any) -> float:
    """The longest step of time over the usual one."""
    steps = read.dropna().diff().dropna().dt.total_seconds()
    steps = steps[steps > 0]
    return float(steps.max() / steps.median()) if len(steps) else 1.0


def times_of_day(place: str, cells: Any, index: Any, line: Callable[[int], int]) -> Any:
    """Times such as 17:24:00 or 5:24 PM as spans since midnight, aligned to `index`; None where it holds others."""
    cells = in_24_hours(place, cells, line, MOSTLY)
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
