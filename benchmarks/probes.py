"""What the machine gives at this moment: arithmetic on one and on all threads; and how much memory a call takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import seconds

SIDE, STACK, REPEATS = 64, 64, 40
"""Products of [SIDE, SIDE] matrices that stay in the first cache, small enough for BLAS to use one thread for each."""
REAL = 0.8
"""Fraction of the threads' number by which all must be faster than one to count as cores of their own."""


def threads() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> float:
    """Arithmetic on all threads over that on one: two virtual CPUs that are hyperthreads of one core give about 1.

    Each thread multiplies small float32 matrices by NumPy, which keeps the multiply-add units busy and leaves Python's
    lock; the best of two tries, so that a short interruption does not count.
    """
    count = threads()
    if count == 1:
        return 1.0
    square = np.ones((SIDE, SIDE), np.float32)
    stack = np.broadcast_to(square, (STACK, SIDE, SIDE))
    outs = [np.empty((STACK, SIDE, SIDE), np.float32) for _ in range(count)]

    def work(out: np.ndarray) -> None:
        for _ in range(REPEATS):
            np.matmul(stack, square, out=out)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(np.ndarray.fill, outs, range(count)))  # starts the threads, touches the memory
        work(outs[0])
        alone = min(seconds(lambda: work(outs[0])) for _ in range(2))
        together = min(seconds(lambda: list(pool.map(work, outs))) for _ in range(2))
    return count * alone / together


def memory_of(call: Callable[[], Any]) -> int | None:
    """By how many bytes the process's resident set rose at its highest during the call; None where that is not told."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")  # the high-water mark goes down to what is resident now
    except OSError:
        call()
        return None
    before = resident(status, "VmRSS")
    call()
    return max(0, resident(status, "VmHWM") - before)


def resident(status: Path, field: str) -> int:
    """A field of the kernel's account of this process, in bytes."""
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
