"""Which columns of a table measure something, and a sentence on what was understood."""

from __future__ import annotations

import numpy as np

from jrnn.data.counters import counts_rows
from jrnn.data.tables import Table

CLOCKS = ("", "index", "time", "date", "datetime", "timestamp", "ts", "unix", "epoch", "row", "step", "id", "no", "t")
EPOCHS = ((1e8, 5e9), (1e11, 5e12), (1e14, 5e15), (1e17, 5e18))  # 1973 to 2128 in s, ms, us and ns
SHOWN = 6


def measured_columns(name: str, table: Table) -> tuple[np.ndarray, str]:
    """The columns [rows, F] that do not just count rows or time, and where they come from in one sentence.

    A column counts if it rises by one constant, or always rises in whole numbers and has the name or the size of a
    time. If all do, all are kept.
    """
    width = table.values.shape[1]
    names = table.names or [""] * width
    counts = [_counts(table.values[:, i], names[i] if table.names else None) for i in range(width)]
    measured = [i for i in range(width) if not counts[i]] or list(range(width))
    dropped = [i for i in range(width) if i not in measured]
    sentences = [_listed([_called(i, names[i]) for i in measured]) + f" of {name}, one row a step"]
    sentences.append("line 1 is the header" if table.names else "no header")
    if dropped:
        many = len(dropped) > 1
        which = ", ".join(_called(i, names[i]) for i in dropped[:SHOWN]) + (", ..." if len(dropped) > SHOWN else "")
        sentences.append(f"left out as counting rows or time: {'columns' if many else 'column'} {which}")
    return table.values[:, measured], f"{sentences[0]} ({'; '.join(sentences[1:])})."


def _counts(column: np.ndarray, title: str | None) -> bool:
    if counts_rows(column):
        return True
    if not (np.diff(column) > 0).all() or (column != np.floor(column)).any():
        return False
    plain = None if title is None else title.strip().strip("_").lower()
    clock = plain is not None and (plain in CLOCKS or plain.startswith("unnamed"))
    return clock or any(low <= column[0] and column[-1] <= high for low, high in EPOCHS)


def _called(number: int, title: str) -> str:
    return f"{number + 1} ({title.strip()[:40]!r})" if title.strip() else str(number + 1)


def _listed(called: list[str]) -> str:
    if len(called) == 1:
        return f"Column {called[0]}"
    shown = called if len(called) <= SHOWN else [*called[: SHOWN - 2], "...", called[-1]]
    return f"The {len(called)} columns {', '.join(shown)}"
