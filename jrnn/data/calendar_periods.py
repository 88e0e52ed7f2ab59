"""Quarters, months and weeks as people write them (2000Q1, 2000-M05, 2000-W05), and half days of twelve hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jrnn.extras import require
from jrnn.types import InputError

YEAR = r"(?P<year>\d{4})[-/ ]?"
PERIODS = (
    (rf"{YEAR}[Qq](?P<part>\d+)", 4, "quarter", "quarters are read as their first days"),
    (r"[Qq](?P<part>\d+)[-/ ]?(?P<year>\d{4})", 4, "quarter", "quarters are read as their first days"),
    (rf"{YEAR}[Mm](?P<part>\d+)", 12, "month", "months are read as their first days"),
    (rf"{YEAR}[Ww](?P<part>\d+)(?:-?(?P<day>\d))?", 53, "week", "weeks are those of ISO 8601, which begin on Mondays"),
)
HALVES = r"(?P<day>.*?)(?P<hour>\d{1,2})(?P<rest>(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?)\s*(?P<half>[AaPp])\.?\s?[Mm]\.?"

Line = Callable[[int], int]
"""Row -> the line of the file that it stands in."""


def refused(place: str, cells: Any, bad: Any, line: Line, needed: str) -> InputError:
    """The error for the first of the cells that are bad."""
    row = int(bad.to_numpy().argmax())
    given = f"{cells.iloc[row]!r} in line {line(int(cells.index[row]))}, {place}, which holds dates"
    return InputError("--data", given, needed)


def dates_of_periods(place: str, cells: Any, line: Line) -> tuple[Any, str]:
    """The first days of the quarters, months or weeks in a column of text, and what to say; None if it has others.

    Raises:
      InputError: a cell that is none, in a column that begins with one: its line, and what there is.
    """
    pandas = require("pandas")
    for pattern, most, word, said in PERIODS:
        if not cells.iloc[:1].str.fullmatch(pattern).all():
            continue
        found = cells.where(cells.str.fullmatch(pattern)).str.extract(pattern)
        part = pandas.to_numeric(found["part"])
        bad = ~part.between(1, most)
        if word == "week":
            weeks = found["year"] + "-" + found["part"] + "-" + found["day"].fillna("1")
            read = pandas.to_datetime(weeks, format="%G-%V-%u", errors="coerce")
        else:
            month = ((part - 1) * (12 // most) + 1).where(~bad, 1).astype(int).astype(str)
            read = pandas.to_datetime(found["year"] + "-" + month, format="%Y-%m", errors="coerce")
        bad |= read.isna()
        if bad.any():
            raise refused(place, cells, bad, line, f"a {word} that there is, as {cells.iloc[0]!r}, in every row")
        return read, said
    return None, ""


def in_24_hours(place: str, cells: Any, line: Line, mostly: float) -> Any:
    """Cells such as 1/31/2020 1:30 PM as 1/31/2020 13:30; all as they are where the first and most others are none.

    Raises:
      InputError: one has neither AM nor PM, or an hour that a half day does not have.
    """
    halves = cells.str.fullmatch(HALVES)
    if not halves.iloc[0] and halves.mean() < mostly:
        return cells
    needed = f"an hour from 1 to 12 with AM or PM, as {cells[halves].iloc[0]!r}, in every row"
    if not halves.all():
        raise refused(place, cells, ~halves, line, needed)
    found = cells.str.extract(HALVES)
    hour = require("pandas").to_numeric(found["hour"])
    if not hour.between(1, 12).all():
        raise refused(place, cells, ~hour.between(1, 12), line, needed)
    whole = hour % 12 + 12 * found["half"].str.lower().eq("p")
    return found["day"] + whole.astype(str).str.zfill(2) + found["rest"].replace("", ":00")
