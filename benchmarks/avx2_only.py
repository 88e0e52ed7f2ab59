"""An AVX-512 machine as one with AVX2: every library of a process, jrnn and its peers, sees no wider instructions."""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jrnn.types import InputError

SOURCE = Path(__file__).with_suffix(".c")


def held_back(environment: Mapping[str, str]) -> dict[str, str]:
    """Where JRNN_ISA=avx2 holds jrnn's kernel to AVX2: what holds the other libraries of a process to it.

    Their own settings do not: XLA's matrix products take the widest instructions whatever one sets. So CPUID itself
    leaves AVX-512 out.

    Raises:
      InputError: the CPU has AVX-512 and cannot hide it, or there is no C compiler.
    """
    if environment.get("JRNN_ISA") != "avx2":
        return {}
    flags = cpu_flags()
    if "avx512f" not in flags:
        return {}
    if "cpuid_fault" not in flags:
        raise InputError("JRNN_ISA", "avx2", "a CPU without AVX-512, or one that can hide it (cpuid_fault)")
    before = environment.get("LD_PRELOAD")
    return {"LD_PRELOAD": f"{library()}:{before}" if before else library()}


def cpu_flags() -> frozenset[str]:
    """What Linux says of the CPU, of the first core; empty elsewhere."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    return frozenset(next((line.split() for line in lines if line.startswith("flags")), ()))


@cache
def library() -> str:
    """The compiled SOURCE, in a folder that goes with this process."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    made = Path(folder, "avx2_only.so")
    compiler = os.environ.get("CC", "cc")
    try:
        subprocess.run(
            [*shlex.split(compiler), "-O1", "-shared", "-fPIC", SOURCE, "-o", made], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError("CC", compiler, f"a C compiler for {SOURCE.name}") from error
    return str(made)
