"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest entry; the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            entry.rjust(width) if is_number(entry) else entry.ljust(width) for entry, width in zip(line, widths)
        ).rstrip()
        for line in lines
    )


def is_number(entry: str) -> bool:
    """Whether an entry is to be read as a number, or stands for a missing one."""
    return entry == "-" or entry.lstrip("+-")[:1].isdigit()


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits without an exponent where that is readable."""
    if value is None:
        return "-"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:.0f}"
