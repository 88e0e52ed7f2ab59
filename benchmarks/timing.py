"""Wall-clock samples of a training step, each beside a probe of what the machine gives at that moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.frameworks import GEMM_SIZE, Built

GEMM_FLOPS = 2 * GEMM_SIZE**3
BLOCK_SECONDS = 0.03
"""A sample repeats a short step for about this long."""


def seconds(call: Callable[[], Any], repeats: int = 1) -> float:
    """Mean wall-clock time of `repeats` calls in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def samples(built: Built, count: int) -> dict[str, list[float]]:
    """`count` times of the step in seconds, and beside each the GEMM rate in FLOP/s (best of 3)."""
    built.gemm()
    built.step()
    repeats = max(1, int(BLOCK_SECONDS / seconds(built.step)))
    times, rates = [], []
    for _ in range(count):
        rates.append(GEMM_FLOPS / min(seconds(built.gemm) for _ in range(3)))
        built.step()  # the probe emptied the caches
        times.append(seconds(built.step, repeats))
    return {"seconds": times, "gemm_flops_per_second": rates}
