"""Reads a .csv file of numbers; every fault is reported with its line and column."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from jrnn.types import InputError

LARGEST = float(np.finfo(np.float32).max)
MISSING = ("", "na", "n/a", "null", "none")  # and nan, which Python reads as a number
SEPARATORS = {";": "semicolons", "\t": "tabs"}


def read_table(path: Path) -> np.ndarray:
    """The numbers of a comma-separated file, float64 [rows, columns]; a first line without any number is a header.

    Raises:
      InputError: an unreadable or empty file, another separator, rows of different lengths, text, a missing value or a
        number that float32 cannot hold; lines and columns count from 1.
    """
    rows = _rows(path)
    # A blank line inside a series is a missing value; at the end it is nothing.
    while rows and _blank(rows[-1][1]):
        rows.pop()
    if not rows:
        raise InputError("--data", f"{path.name}, which is empty", "rows of numbers")
    _, first = rows[0]
    if not _blank(first) and all(_number(cell) is None for cell in first):
        rows = rows[1:]
        if not rows:
            raise InputError("--data", f"{path.name} with only {','.join(first)[:60]!r}", "rows of numbers below it")
    _refuse_text_columns(path.name, [cells for _, cells in rows])
    return np.array([_values(path.name, line, cells, len(first)) for line, cells in rows])


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            return [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("--data", f"{path.name}, which cannot be read ({error})", "a .csv file in UTF-8") from error


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
        raise InputError("--data", given, f"{width} in every line, as in the first")
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
