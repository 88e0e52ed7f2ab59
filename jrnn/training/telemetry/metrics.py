"""metrics.jsonl: one row of plain numbers a step, and what is left of it when a run goes on."""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

from jrnn.unrolling.checks import is_count

METRICS = "metrics.jsonl"
NEEDED = {"step", "loss", "grad_norm", "clip_factor", "clipped", "skipped"}  # in every row
Row = dict[str, float | int]


def as_line(row: Row) -> str:
    """A row as JSON: NaN and the infinities as the strings "nan", "inf" and "-inf"."""
    plain = {name: repr(v) if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def as_row(line: bytes) -> Row | None:
    """The row of a line; None if the line holds none."""
    try:
        decoded = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    row = {name: number(value) for name, value in decoded.items()} if isinstance(decoded, dict) else {}
    return row if NEEDED <= row.keys() and None not in row.values() and is_count(row["step"]) else None  # type: ignore


def number(value: Any) -> float | int | None:
    """The number that a JSON value stands for, or None."""
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63):
        return value
    return float(value) if value in ("nan", "inf", "-inf") else None


def cut_back(path: Path, step: int) -> list[Row]:
    """Leaves one row for each step before `step` in metrics.jsonl, in their order, and returns them.

    Later rows are dropped silently, and so is a last line that was half-written: the run makes them again. A warning
    names other lines that cannot be read, and steps without a row. If the path is no file, it is renamed.
    """
    words = []
    if path.exists() and not path.is_file():
        aside = free_name(path)
        path.rename(aside)
        words.append(f"it was no file, and is {aside.name} now")
    content = path.read_bytes() if path.exists() else b""
    *lines, torn = content.split(b"\n")
    rows = [as_row(line) for line in lines]
    last = as_row(torn)
    read = [row for row in [*rows, last] if row is not None and row["step"] < step]
    by_step = {row["step"]: row for row in read}
    if unread := [i for i, row in enumerate(rows, 1) if row is None]:
        words.append(f"lines {some(unread)} could not be read and were dropped")
    if missing := [i for i in range(step) if i not in by_step]:
        words.append(f"steps {some(missing)} have no row")
    if len(read) > len(by_step):
        words.append("where a step has several rows, the last one counts")
    if words:
        warnings.warn(f"{path}: {'; '.join(words)}; the training itself is as it was", UserWarning, stacklevel=2)
    left = [by_step[i] for i in sorted(by_step)]
    rewrite(path, content, "".join(map(as_line, left)).encode())
    return left


def rewrite(path: Path, before: bytes, after: bytes) -> None:
    """Replaces the content, all or nothing; a mere cut needs no room on a full disk."""
    if before == after and path.exists():
        return
    if path.exists() and before.startswith(after):
        os.truncate(path, len(after))
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        fresh.write_bytes(after)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def free_name(path: Path) -> Path:
    """path.damaged, path.damaged1, ...: the first that is not there."""
    number = 0
    while (aside := path.with_name(f"{path.name}.damaged{number or ''}")).exists():
        number += 1
    return aside


def some(numbers: list[int]) -> str:
    """The first few of them, and how many there are in all."""
    more = f", ... ({len(numbers)} of them)" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more
