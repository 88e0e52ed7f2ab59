"""The clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def seconds(call: Callable[[], Any], repeats: int = 1) -> float:
    """Mean wall-clock time of `repeats` calls in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def filling(call: Callable[[], Any], block_seconds: float) -> int:
    """How many repeats of a call take about that long, at least 1."""
    return max(1, int(block_seconds / seconds(call)))
