"""Memory that was freed stays with the process: the system need not zero the arrays of every call again."""

from __future__ import annotations

import ctypes
import os

from jrnn.types import InputError

KEPT = 1 << 30
"""Bytes at the end of the heap that may stay there, unused."""
FEW = 16
"""CPUs whose threads may share one heap: more would wait for one another, above all those of XLA's compiler."""
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Of glibc's malloc.h."""
OF_THE_USER = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Variables by which glibc is told the same."""


def keep_freed_memory() -> str | None:
    """Tells glibc's malloc to keep what is freed for the arrays to come; None, or the reason why it does not.

    By default malloc maps each array of 32 MB and more anew, and the system zeroes it: 300 MB a training step for an
    LSTM of 128 units on 128 sequences of 784 steps, a sixth of the time. Kept on the heap, it is zeroed once. There has
    to be one heap, since those of threads hold no large arrays, and it has to be so before XLA starts its threads.

    It holds for all that the process allocates. Freed memory goes back to the system where more than `KEPT` bytes of it
    lie at the end of the heap; before something in use it stays, until `malloc_trim(0)`. `numpy.zeros` fills memory
    that was used before at once, `realloc` of large blocks copies them, and the compiler takes 3 % longer.

    Raises:
      InputError: JRNN_MALLOC is something else than on or off.
    """
    wanted = os.environ.get("JRNN_MALLOC") or "on"
    if wanted not in ("on", "off"):
        raise InputError("JRNN_MALLOC", wanted, "on or off")
    if wanted == "off":
        return "JRNN_MALLOC=off"
    chosen = [name for name in OF_THE_USER if name in os.environ]
    chosen += ["GLIBC_TUNABLES"] if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "") else []
    if chosen:
        return f"{chosen[0]} says how malloc works"
    try:
        library = ctypes.CDLL(None)
        mallopt, _ = library.mallopt, library.gnu_get_libc_version
    except (AttributeError, OSError, TypeError):
        return "malloc is not glibc's"
    if (os.cpu_count() or 1) > FEW:
        return f"threads of more than {FEW} CPUs would wait for one heap"
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT), (M_ARENA_MAX, 1))
    return None if all(mallopt(number, value) for number, value in settings) else "malloc refused"
