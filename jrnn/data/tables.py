"""Reads a .csv file with pandas: numbers and dates; every fault is reported with its line and column."""

import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jrnn.data.checks import error_text
from jrnn.data.dates import MOSTLY, dates_of, times_of_day
from jrnn.extras import require
from jrnn.types import InputError

LARGEST = float(np.finfo(np.float32).max)
ABSENT = ("", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "?", "-", "--")
"""Cells without a value, in small letters."""
WHOLE = re.compile(r"\s*[+-]?\d+\s*")
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")


class Table(NamedTuple):
    """Numbers float64 [rows, columns], NaN where a cell is empty or holds a date."""

    values: np.ndarray
    names: list[str] | None
    """The header's cells, or None where there is no header."""
    dates: dict[int, Any]
    """The columns that hold dates, by number, each a pandas Series."""
    said: tuple[str, ...]
    """What else was understood: the separator, decimal commas, the order of day and month."""

    def line(self, row: int) -> int:
        """The line of the file that a row stands in, from 1."""
        return row + (1 if self.names is None else 2)

    def called(self, column: int) -> str:
        """A column as people find it: its number from 1, and its title if it has one."""
        title = "" if self.names is None else self.names[column].strip()
        return f"{column + 1} ({title[:40]!r})" if title else str(column + 1)


def read_table(path: Path) -> Table:
    """The numbers and dates of a file; a first line without any, or of column numbers, is a header.

    Semicolons or tabs in the first line separate columns, else commas; decimal commas are read where the separator is
    another. Column numbers are 0,1,2,... (behind an empty cell, perhaps, as pandas writes them), and other whole
    numbers that rise by one where every number below has a decimal point.

    Raises:
      InputError: pandas is not installed, an unreadable or empty file, a row that is longer than the first, text, a
        number that float32 cannot hold, two columns that look like one with decimal commas; lines and columns count
        from 1.
    """
    cells, said = _cells(path)
    first = cells.iloc[0].tolist()
    header = all(_title(cell) for cell in first) or _numbered(cells)
    if header:
        cells = cells.iloc[1:].reset_index(drop=True)
        if cells.empty:
            raise InputError("--data", f"{path.name} with only {','.join(first)[:60]!r}", "rows of numbers below it")
    elif said == ():
        _refuse_decimal_commas(path.name, cells)
    table = Table(np.full(cells.shape, np.nan), first if header else None, {}, said)
    said, clocks = list(said), {}
    for column in range(cells.shape[1]):
        table.values[:, column], dates, clock, words = _read(path.name, table, cells[column], column)
        said += [words] * bool(words and words not in said)
        if dates is not None:
            table.dates[column] = dates
        if clock is not None:
            clocks[column] = clock
    for column, clock in clocks.items():  # a date and the time of day, side by side
        if not table.dates:
            raise _text(path.name, table.called(column), cells[column].iloc[0])
        day = next(iter(table.dates))
        table.dates[day] = table.dates[day] + clock
        table.dates[column] = table.dates[day]
    return table._replace(said=tuple(said))


def _cells(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The file's cells as text in a data frame, and what was said of its form."""
    pandas = require("pandas", "to read .csv files")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds NUL bytes")
    except Exception as error:  # whatever the file and the disk
        raise _unreadable(path, error) from error
    if not text.strip():
        raise InputError("--data", f"{path.name}, which is empty", "rows of numbers")
    line = next(filter(str.strip, text.splitlines()))
    mark, said = next(((mark, said) for mark, said in ((";", "semicolons"), ("\t", "tabs")) if mark in line), (",", ""))
    try:
        # Text cells, so that what is no number can be told with its line.
        options = {"dtype": str, "header": None, "keep_default_na": False, "skip_blank_lines": False, "sep": mark}
        frame = pandas.read_csv(io.StringIO(text), **options).fillna("")
    except Exception as error:  # pandas has many
        longer = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if longer is None:
            raise _unreadable(path, error) from error
        width, at, found = longer.groups()
        given = f"{path.name} with {found} cells in line {at}"
        commas = "; a decimal comma makes two cells of one number" if int(found) == 2 * int(width) else ""
        raise InputError("--data", given, f"{width} in every line, as in the first{commas}") from error
    # A blank line inside a series is a missing value; at the end it is nothing.
    rows = len(frame)
    while rows > 1 and (frame.iloc[rows - 1] == "").all():
        rows -= 1
    return frame.iloc[:rows], (f"separated by {said}",) if said else ()


def _unreadable(path: Path, error: Exception) -> InputError:
    given = f"{path.name}, which cannot be read ({error_text(error)})"
    return InputError("--data", given, "a .csv file in UTF-8")


def _read(name: str, table: Table, cells: Any, column: int) -> tuple[np.ndarray, Any, Any, str]:
    """(numbers, dates or None, times of day or None, what to say) of one column of text."""
    pandas = require("pandas")
    for mark in ",." if table.said else "":
        example = _thousands(cells.str.strip(), mark)
        if example:
            given = f"column {column + 1} of {name}, where the mark in {example!r} may stand between thousands"
            raise InputError("--data", given, "numbers without marks between thousands, or decimals in every row")
    numbers = pandas.to_numeric(cells, errors="coerce").to_numpy(float)
    if (np.abs(numbers) <= LARGEST).all():  # almost every column; what is wrong with another is told below
        return numbers, None, None, ""
    stripped = cells.str.strip()
    missing = stripped.str.lower().isin(ABSENT).to_numpy()
    known, words = stripped[~missing], ""
    if table.said and known.str.fullmatch(r"[+-]?\d*,?\d+").all() and known.str.contains(",").any():
        stripped, words = stripped.str.replace(",", "."), "decimal commas"
    numbers = pandas.to_numeric(stripped.where(~missing, "nan"), errors="coerce").to_numpy(float)
    # Python and pandas read 1_000 as a number; in a table it is more likely a slip.
    text = (np.isnan(numbers) & ~missing) | stripped.str.contains("_", regex=False).to_numpy(bool)
    if text.any() and len(known):
        if table.said and known.str.fullmatch(r"[+-]?[\d.,]+").all() and known.str.contains(",").any():
            given = f"column {column + 1} of {name}, with commas and points in its numbers ({known.iloc[0]!r} first)"
            raise InputError("--data", given, "one mark for decimals, and none between thousands")
        if text.sum() >= MOSTLY * len(known):
            place = f"column {column + 1} of {name}"
            clock = times_of_day(place, known, cells.index, table.line)
            dates, words = (None, "") if clock is not None else dates_of(place, known, cells.index, table.line)
            if dates is not None or clock is not None:
                return np.full(len(cells), np.nan), dates, clock, words
            if len(cells) > 1 and text.sum() == len(known):
                raise _text(name, table.called(column), known.iloc[0])
        row = int(text.argmax())
        need = "numbers below an optional header line, a comma between columns and a point in decimals"
        given = f"the text {stripped[row][:60]!r} in line {table.line(row)}, column {column + 1} of {name}"
        raise InputError("--data", given, need)
    large = ~missing & ~(np.abs(np.nan_to_num(numbers)) <= LARGEST)
    if large.any():
        row = int(large.argmax())
        given = f"{stripped[row][:60]} in line {table.line(row)}, column {column + 1} of {name}"
        raise InputError("--data", given, "finite numbers of at most 3.4e38")
    return numbers, None, None, words


def _thousands(cells: Any, mark: str) -> str:
    """The first of numbers such as 3,289 and 12,345 beside 987, "" where another cell tells decimals."""
    marked = cells[cells.str.contains(mark, regex=False)]
    whole = cells[cells.str.fullmatch(r"[+-]?\d+")]
    if marked.empty or whole.empty or not marked.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{mark}\d{{3}})+").all():
        return ""
    return marked.iloc[0] if whole.str.fullmatch(r"[+-]?\d{1,3}").all() else ""


def _text(name: str, column: str, cell: str) -> InputError:
    first = cell.strip()[:60]
    if DECIMAL_COMMA.fullmatch(first):
        given = f"column {column} of {name}, which has decimal commas ({first!r} first)"
        return InputError("--data", given, "a point in decimals, or semicolons between columns")
    given = f"column {column} of {name}, which is text throughout ({first!r} first)"
    dates = "; dates as 2020-12-31" if any(letter.isdigit() for letter in first) else ""
    return InputError("--data", given, f"columns of numbers: remove it (or store a number){dates}")


def _title(cell: str) -> bool:
    """Whether a cell of the first line may be a title: no number and no date."""
    plain = cell.strip()
    dated = re.match(r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?|\d{1,2}:\d\d", plain)
    return not _number(plain) and not dated and not DECIMAL_COMMA.fullmatch(plain)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbered(cells: Any) -> bool:
    """Whether the first line numbers the columns, as pandas does for columns without names."""
    first, below = cells.iloc[0].tolist(), cells.iloc[1:]
    titles = first[1:] if not first[0].strip() else first
    if below.empty or not titles or not all(re.fullmatch(r"\d+", title.strip()) for title in titles):
        return False
    numbers = [int(title) for title in titles]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return False
    points = all(below[column].str.contains(".", regex=False).all() for column in below.columns[-len(titles) :])
    return numbers[0] == 0 and (len(first) > 1 or points) or len(numbers) > 1 and points


def _refuse_decimal_commas(name: str, cells: Any) -> None:
    """One column of 12,5 13,25 reads as two of whole numbers; only a header, or what cannot be decimals, tells."""
    if cells.shape[1] != 2 or not (cells[0].str.fullmatch(WHOLE).all() and cells[1].str.fullmatch(r"\d+").all()):
        return
    decimals = cells[1]
    # Decimals have as many digits everywhere, or no last digit 0 but in ,0 itself.
    if decimals.str.len().nunique() == 1 or ((decimals == "0") | ~decimals.str.endswith("0")).all():
        first = ",".join(cells.iloc[0])
        given = f"{name} with two columns of whole numbers ({first!r} first), which may be decimal commas"
        raise InputError("--data", given, "a point in decimals, or a header line that names two columns")
