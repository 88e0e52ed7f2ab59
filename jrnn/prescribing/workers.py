"""How many arms an executor runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jrnn.types import InputError
from jrnn.unrolling.checks import check_count


def workers_of(executor: Any, workers: int | None = None) -> int:
    """How many jobs run at a time: as given, else as the executor tells, else 1.

    mpi4py's `MPIPoolExecutor` tells it as `num_workers`, dask's executor by its client's `nthreads()`, by worker.
    The standard library's executors have no public name for what they were made with (`max_workers`): theirs, and that
    of those derived from them, is read from `_max_workers`.

    Raises:
      InputError: workers is no positive whole number, or is given without an executor.
    """
    if workers is not None:
        if executor is None:
            raise InputError("workers", repr(workers), "an executor beside it; without one, arms run one by one")
        return check_count("workers", workers, 1, "how many arms the executor runs at a time, at least 1")
    threads = getattr(getattr(executor, "_client", None), "nthreads", None)
    if isinstance(threads, Callable):
        return counted(sum(threads().values()))
    return max(counted(getattr(executor, name, 1)) for name in ("num_workers", "_max_workers"))


def counted(told: Any) -> int:
    """What an executor tells, 1 where that is no count."""
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else 1
