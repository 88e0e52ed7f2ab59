"""Work done in a fresh process, so that no allocator, thread pool or cache is inherited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class WorkerError(Exception):
    """A job failed in its process; the message is what it wrote to standard error."""


def ask(job: dict[str, Any]) -> Any:
    """Runs `benchmarks.worker` on one job, on the CPU, and returns its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    if done.returncode:
        raise WorkerError(f"{job} ended with {done.returncode}:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])
