"""Where and with what the figures were measured."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.avx2_only import held_back
from jrnn.kernels.implementations import native
from jrnn.kernels.memory import keep_freed_memory

PACKAGES = ("jrnn", "jax", "jaxlib", "flax", "equinox", "dm-haiku", "torch", "numpy")


def facts() -> dict[str, Any]:
    """CPU model, instructions that the compiled kernel takes (None without it), instructions that are hidden from all
    libraries, cores this process may use, load, versions, date (UTC); settings of allocator, threads and kernel, if
    any."""
    settings = (
        "JRNN_ISA",
        "JRNN_MALLOC",
        "XLA_FLAGS",
        "OMP_NUM_THREADS",
        "GLIBC_TUNABLES",
        "MALLOC_MMAP_MAX_",
        "MALLOC_TRIM_THRESHOLD_",
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "instructions": None if isinstance(native.library(), str) else native.instructions(),
        "hidden": "AVX-512" if held_back(os.environ) else None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "freed_memory": keep_freed_memory() or "kept",
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in PACKAGES},
        "settings": {name: os.environ[name] for name in settings if name in os.environ},
    }


def cpu_model() -> str:
    """The processor's name; Linux keeps it in a file, elsewhere `platform` knows it."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def installed(package: str) -> str | None:
    """The version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
