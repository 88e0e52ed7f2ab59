"""The times of a table: their order, their frequency, and the rows that are missing or there twice."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from jrnn.extras import require
from jrnn.types import InputError

REGULAR = 0.9  # of the steps that must be whole multiples of the usual one
OFF = 0.1  # of a step, by which a regular time may be off
DAY = 86_400.0
CALENDAR = (("Y", 360, 370, "year", None), ("Q", 85, 95, "quarter", 4), ("M", 27, 32, "month", 12))
SPANS = ((7 * DAY, "week", 52), (DAY, "day", 7), (3600.0, "hour", 24), (60.0, "minute", 1440), (1.0, "second", None))


class Rhythm(NamedTuple):
    """Rows in equal steps of time."""

    values: np.ndarray
    """[steps, C] in the order of time, NaN in rows that the file does not have."""
    said: tuple[str, ...]
    """Frequency, gaps, duplicates, in clauses."""
    every: str
    """How often there is a row: "an hour", "every 15 minutes"."""
    inserted: int
    """How many rows the file does not have."""
    usual: int | None
    """The period that this frequency has by custom: 24 for hours."""
    start: Any
    """The first time."""
    following: Callable[[int], list[str]]
    """n -> the n times after the last, as ISO 8601 writes them."""


def in_rhythm(name: str, times: Any, values: np.ndarray) -> Rhythm:
    """Sorts the rows by time, averages those of the same time, and inserts those that a regular series lacks.

    Months, quarters and years count by the calendar. Of weekdays (no row on a Saturday or Sunday) holidays are no gaps:
    one row a step. Where under 90 % of the steps are whole multiples of the usual one, times are irregular, and one row
    is one step.

    Args:
      times: a pandas Series of dates, one a row, none of them missing.
    Raises:
      InputError: more than a tenth of the rows at the time of another (several series in one
        table), or gaps that are longer than the series.
    """
    pandas = require("pandas")
    said = []
    if not times.is_monotonic_increasing:
        order = np.argsort(times.to_numpy(), kind="stable")
        said.append("rows were put in the order of time")
        times, values = times.iloc[order], values[order]
    twice = int(times.duplicated().sum())
    if twice > 0.1 * len(times):
        example = times[times.duplicated()].iloc[0]
        given = f"{name}, in which {twice:,} of {len(times):,} rows have the time of another ({shown(example)})"
        raise InputError("--data", given, "one row for each time: one series in a file, others as columns")
    if twice:
        first, are = shown(times[times.duplicated()].iloc[0]), "is" if twice == 1 else "are"
        said.append(f"{twice:,} row{'s' * (twice > 1)} with the time of another {are} averaged with it (first {first})")
        frame = pandas.DataFrame(values).groupby(times.to_numpy()).mean()
        times, values = pandas.Series(frame.index), frame.to_numpy()
    index = pandas.DatetimeIndex(times)
    slots, word, usual, following, holidays = _slots(index)
    about = f"{shown(index[0])} to {shown(index[-1])}, one row {word}"
    steps = int(slots[-1]) + 1
    inserted = steps - len(index)
    if inserted > len(index):
        at = shown(index[int(np.diff(slots).argmax())])
        given = f"{name}, in which {inserted:,} rows are missing beside {len(index):,} (the most after {at})"
        raise InputError("--data", given, "a series with shorter gaps: cut the file there")
    if inserted:
        gaps = np.flatnonzero(np.diff(slots) > 1)
        where = f"in {len(gaps):,} gaps, the first " if len(gaps) > 1 else ""
        said.append(f"{inserted:,} missing row{'s' * (inserted > 1)} ({where}after {shown(index[gaps[0]])})")
    if holidays:
        said.append(f"{holidays:,} weekday{'s' * (holidays > 1)} without a row, taken for no step")
    whole = np.full((steps, values.shape[1]), np.nan)
    whole[slots] = values
    days = bool((index == index.normalize()).all())

    def written(n: int) -> list[str]:
        return [str(time.date()) if days else str(time) for time in map(pandas.Timestamp, following(n))]

    return Rhythm(whole, (about, *said), word, inserted, usual, index[0], written)


def _slots(index: Any) -> tuple[np.ndarray, str, int | None, Callable[[int], Iterable[Any]], int]:
    """(the step of each time, how often there is a row, the customary period, the times that follow, holidays)."""
    pandas = require("pandas")
    rows = np.arange(len(index))
    if len(index) < 3:
        return rows, "a step", None, lambda n: [index[-1]] * n, 0
    # pandas.infer_freq knows no frequency where a single row is missing.
    spans = np.diff(index.to_numpy()).astype("timedelta64[ns]").astype(float) / 1e9
    usual = float(np.median(spans))
    for unit, low, high, word, period in CALENDAR:
        if low * DAY <= usual <= high * DAY:
            ordinals = index.to_period(unit).astype("int64").to_numpy()
            if (np.diff(ordinals) > 0).all():
                months = {"Y": 12, "Q": 3, "M": 1}[unit]
                ends = bool(index.is_month_end.all())
                return ordinals - ordinals[0], f"a {word}", period, _months(index[-1], months, ends), 0
    weekdays = usual == DAY and (index.day_of_week < 5).all() and (spans == 3 * DAY).mean() > 0.1
    if weekdays:
        days = index.to_numpy().astype("datetime64[D]")
        lacking = int(np.busday_count(days[0], days[-1])) + 1 - len(index)
        return (
            rows,
            "a weekday",
            5,
            lambda n: pandas.bdate_range(index[-1], periods=n + 1, normalize=False)[1:],
            lacking,
        )
    whole = np.maximum(np.round(spans / usual), 1)
    span = pandas.Timedelta(seconds=usual)
    following = lambda n: (index[-1] + span * i for i in range(1, n + 1))  # noqa: E731
    if np.mean(np.abs(spans / usual - whole) <= OFF) < REGULAR:
        return rows, "a step, at irregular times", None, following, 0
    period = next((period for length, _, period in SPANS if usual == length), None)
    if period is None and 60 <= usual < DAY and DAY % usual == 0:
        period = int(DAY / usual)
    slots = np.concatenate([[0], np.cumsum(whole)]).astype(int)
    return slots, _every(usual), period, following, 0


def _months(last: Any, months: int, ends: bool) -> Callable[[int], Iterable[Any]]:
    pandas = require("pandas")
    step = pandas.offsets.MonthEnd if ends else lambda n: pandas.DateOffset(months=n)
    return lambda n: (last + step(months * i) for i in range(1, n + 1))


def _every(seconds: float) -> str:
    word = next((word for length, word, _ in SPANS if seconds == length), None)
    return f"a{'n' * (word == 'hour')} {word}" if word else f"every {_span(seconds)}"


def _span(seconds: float) -> str:
    length, word = next(((length, word) for length, word, _ in SPANS if seconds >= length), (1.0, "second"))
    count = f"{seconds / length:.3g}"
    return f"{count} {word}{'' if count == '1' else 's'}"


def shown(time: Any) -> str:
    """A time as people write it; midnight as the date alone."""
    return str(time).removesuffix(" 00:00:00")
