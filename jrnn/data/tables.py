"""Reads a .csv file of numbers; every fault is reported with its line and column."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jrnn.data.checks import error_text
from jrnn.types import InputError

LARGEST = float(np.finfo(np.float32).max)
MISSING = ("", "na", "n/a", "null", "none")  # and nan, which Python reads as a number
SEPARATORS = {";": "semicolons", "\t": "tabs"}
WHOLE = re.compile(r"\s*[+-]?\d+\s*")
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")


class Table(NamedTuple):
    """Numbers float64 [rows, columns] and the header's cells, or None where there is no header."""

    values: np.ndarray
    names: list[str] | None


def read_table(path: Path) -> Table:
    """The numbers of a comma-separated file; a first line without any number, or of column numbers, is a header.

    Column numbers are 0,1,2,... (behind an empty cell, perhaps, as pandas writes them), and other whole numbers that
    rise by one where every number below has a decimal point.

    Raises:
      InputError: an unreadable or empty file, another separator, rows of different lengths, text, a missing value, a
        number that float32 cannot hold, two columns that look like one with decimal commas; lines and columns count
        from 1.
    """
    rows = _rows(path)
    # A blank line inside a series is a missing value; at the end it is nothing.
    while rows and _blank(rows[-1][1]):
        rows.pop()
    if not rows:
        raise InputError("--data", f"{path.name}, which is empty", "rows of numbers")
    _, first = rows[0]
    header = not _blank(first) and (all(_title(cell) for cell in first) or _numbered(rows))
    if header:
        rows = rows[1:]
        if not rows:
            raise InputError("--data", f"{path.name} with only {','.join(first)[:60]!r}", "rows of numbers below it")
    cells = [cells for _, cells in rows]
    _refuse_text_columns(path.name, cells)
    values = np.array([_values(path.name, line, cells, len(first)) for line, cells in rows])
    if not header:
        _refuse_decimal_commas(path.name, cells)
    return Table(values, first if header else None)


def _title(cell: str) -> bool:
    return _number(cell) is None and not DECIMAL_COMMA.fullmatch(cell)


def _numbered(rows: list[tuple[int, list[str]]]) -> bool:
    """Whether the first line numbers the columns, as pandas does for columns without names."""
    first, below = rows[0][1], [cells for _, cells in rows[1:]]
    titles = first[1:] if not first[0].strip() else first
    if not below or not titles or not all(re.fullmatch(r"\d+", title.strip()) for title in titles):
        return False
    numbers = [int(title) for title in titles]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return False
    points = all("." in cell for cells in below for cell in cells[-len(titles) :])
    return numbers[0] == 0 and (len(first) > 1 or points) or len(numbers) > 1 and points


def _refuse_decimal_commas(name: str, rows: list[list[str]]) -> None:
    """One column of 12,5 13,25 reads as two of whole numbers; only a header, or what cannot be decimals, tells."""
    if len(rows[0]) != 2 or not all(WHOLE.fullmatch(a) and re.fullmatch(r"\d+", b) for a, b in rows):
        return
    decimals = [b for _, b in rows]
    # Decimals have as many digits everywhere, or no last digit 0 but in ,0 itself.
    if len({len(b) for b in decimals}) == 1 or all(b == "0" or not b.endswith("0") for b in decimals):
        given = f"{name} with two columns of whole numbers ({','.join(rows[0])!r} first), which may be decimal commas"
        raise InputError("--data", given, "a point in decimals, or a header line that names two columns")


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
            if "\0" in text:
                raise ValueError("it holds NUL bytes")
            reader = csv.reader(io.StringIO(text, newline=""))
            return [(reader.line_num, cells) for cells in reader]
    except Exception as error:  # whatever the file, the reader and the disk
        given = f"{path.name}, which cannot be read ({error_text(error)})"
        raise InputError("--data", given, "a .csv file in UTF-8") from error


def _blank(cells: list[str]) -> bool:
    return all(not cell.strip() for cell in cells)


def _number(cell: str) -> float | None:
    # Python reads 1_000 as a number; in a table it is more likely a slip.
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _separator(cell: str) -> str | None:
    return next((word for mark, word in SEPARATORS.items() if mark in cell.strip()), None)


def _refuse_text_columns(name: str, rows: list[list[str]]) -> None:
    # In a single row, or in rows that do not fit, a text is a fault of its cell.
    if len(rows) < 2 or any(len(cells) != len(rows[0]) for cells in rows):
        return
    for column, first in enumerate(rows[0]):
        if not _separator(first) and all(cells[column].strip() and _number(cells[column]) is None for cells in rows):
            if all(DECIMAL_COMMA.fullmatch(cells[column]) for cells in rows):
                given = f"column {column + 1} of {name}, which has decimal commas ({first.strip()[:60]!r} first)"
                raise InputError("--data", given, "a point in decimals")
            given = f"column {column + 1} of {name}, which is text throughout ({first.strip()[:60]!r} first)"
            raise InputError("--data", given, "columns of numbers: remove it (or store a number)")


def _values(name: str, line: int, cells: list[str], width: int) -> list[float]:
    try:  # almost every line; what is wrong with another is told below
        values = [float(cell) for cell in cells]
        if (
            len(cells) == width > 0
            and all(-LARGEST <= value <= LARGEST for value in values)
            and "_" not in "".join(cells)
        ):
            return values
    except ValueError:
        pass
    if not cells:
        raise InputError("--data", f"an empty line, line {line} of {name}", "numbers; empty lines only at the end")
    other = next((word for cell in cells if _number(cell) is None and (word := _separator(cell))), None)
    if other:
        given = f"line {line} of {name}, which seems to be separated by {other}"
        raise InputError("--data", given, "commas between columns and a point in decimals")
    if len(cells) != width:
        given = f"{name} with {len(cells)} cells in line {line}"
        commas = "; a decimal comma makes two cells of one number" if len(cells) == 2 * width else ""
        raise InputError("--data", given, f"{width} in every line, as in the first{commas}")
    values = []
    for column, cell in enumerate(cells, 1):
        number = _number(cell)
        place = f"in line {line}, column {column} of {name}"
        if cell.strip().lower() in MISSING or number != number:
            given = cell.strip() or "an empty cell"
            raise InputError("--data", f"{given} {place}", "a number in every cell: fill or drop the row")
        if number is None:
            need = "numbers below an optional header line, a comma between columns and a point in decimals"
            raise InputError("--data", f"the text {cell.strip()[:60]!r} {place}", need)
        if not abs(number) <= LARGEST:
            raise InputError("--data", f"{cell.strip()[:60]} {place}", "finite numbers of at most 3.4e38")
        values.append(number)
    return values
