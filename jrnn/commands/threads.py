"""The threads of the BLAS under NumPy and SciPy, whose LAPACK JAX calls on a CPU."""

from __future__ import annotations

import importlib
import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


def one_blas_thread() -> AbstractContextManager[Any]:
    """One thread, unless the user has set the number. At a network's sizes more threads gain nothing, and beside other
    programs they spin while they wait for each other. It is set in the libraries themselves, which read their variables
    when they are loaded, before any line of a command runs."""
    if any(os.environ.get(name) for name in VARIABLES) or importlib.util.find_spec("threadpoolctl") is None:
        return nullcontext()
    return importlib.import_module("threadpoolctl").threadpool_limits(1, user_api="blas")
