"""Work done in a fresh process, so that no allocator, thread pool or cache is inherited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.avx2_only import held_back

CPU = {"JAX_PLATFORMS": "cpu"}
ANSWER = "\x1e"
"""What an answer's line begins with; libraries may print others."""


class WorkerError(Exception):
    """A job failed in its process; the message is what it wrote to standard error."""


class Worker:
    """A process that does one job after another (`benchmarks.worker`), on the CPU unless told otherwise."""

    def __init__(self, environment: Mapping[str, str] = CPU) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=Path(__file__).parent.parent,
            # threads of the BLAS under NumPy spin for a while, beside what is measured
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ, **held_back(os.environ), **environment},
        )

    def ask(self, job: dict[str, Any]) -> Any:
        """The answer to one job."""
        given, printed = self._process.stdin, self._process.stdout
        assert given and printed
        try:
            print(json.dumps(job), file=given, flush=True)
        except BrokenPipeError:  # it has ended, and standard error says why
            pass
        for line in printed:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        self._errors.seek(0)
        raise WorkerError(f"{job} ended with {self._process.wait()}:\n{self._errors.read().strip()}")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def ask(job: dict[str, Any], environment: Mapping[str, str] = CPU) -> Any:
    """The answer of a worker that does this one job."""
    with Worker(environment) as worker:
        return worker.ask(job)


def anywhere(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment for the fastest device that JAX and PyTorch find; JAX leaves PyTorch's memory alone."""
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **(environment or {})}
