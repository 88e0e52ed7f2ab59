"""Memory that was freed stays with the process: the system need not zero the arrays of every call again."""

from __future__ import annotations

import ctypes
import os

KEPT = 1 << 30
"""Bytes at the end of the heap that may stay there, unused."""
FEW = 16
"""CPUs whose threads may share one heap: more would wait for one another, above all those of XLA's compiler."""
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Of glibc's malloc.h."""


def keep_freed_memory() -> str | None:
    """Tells glibc's malloc to keep what is freed for the arrays to come; None, or the reason why it does not.

    By default malloc maps each array of 32 MB and more anew, and the system zeroes it: 300 MB a training step for an
    LSTM of 128 units on 128 sequences of 784 steps, a sixth of the time. Kept on the heap, it is zeroed once. There has
    to be one heap, since those of threads hold no large arrays (with more than `FEW` CPUs they keep theirs, and so only
    the results of a call are kept), and it has to be so before XLA starts its threads. What else the process frees is
    kept, too, up to `KEPT` bytes at the end of the heap and all that lies before something in use; glibc's
    `malloc_trim` gives it back.
    """
    if os.environ.get("JRNN_MALLOC", "") == "off":
        return "JRNN_MALLOC=off"
    chosen = [name for name in os.environ if name == "GLIBC_TUNABLES" or name.startswith("MALLOC_")]
    if chosen:
        return f"{chosen[0]} says how malloc works"
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return "malloc is not glibc's"
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, KEPT)
    if len(os.sched_getaffinity(0)) <= FEW:
        mallopt(M_ARENA_MAX, 1)
    return None
