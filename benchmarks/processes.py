"""Work done in a fresh process, so that no allocator, thread pool or cache is inherited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CPU = {"JAX_PLATFORMS": "cpu"}


class WorkerError(Exception):
    """A job failed in its process; the message is what it wrote to standard error."""


def ask(job: dict[str, Any], environment: Mapping[str, str] = CPU) -> Any:
    """Runs `benchmarks.worker` on one job, on the CPU unless told otherwise, and returns its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **environment},
    )
    if done.returncode:
        raise WorkerError(f"{job} ended with {done.returncode}:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def ask_anywhere(job: dict[str, Any], environment: Mapping[str, str] | None = None) -> Any:
    """`ask` on the fastest device that JAX and PyTorch find; JAX leaves PyTorch's memory alone."""
    return ask(job, {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **(environment or {})})
