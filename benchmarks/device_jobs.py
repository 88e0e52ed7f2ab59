"""Processes that may fail or wait for ever, and others that go on."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any


class Worker:
    """A process that does one job after another; one that takes too long is ended, and another begun."""

    def __init__(self, limit: float, until: float = float("inf"), environment: dict[str, str] | None = None) -> None:
        """`limit`: seconds of a job; `until`: when there is no more time, by `time.perf_counter`."""
        self.process: Any = None
        self.limit, self.until, self.environment = limit, until, environment or {}

    def __call__(self, function: Callable, *arguments: Any) -> Any:
        """What the function returns; a string, the reason, if it failed or took too long."""
        limit = round(min(self.limit, self.until - time.perf_counter()), 1)
        if limit <= 0:
            return "no time was left"
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self.environment), daemon=True)
            self.process.start()
            theirs.close()  # else nobody hears when the process ends
        try:
            self.pipe.send((function, arguments))
            answer = self.pipe.recv() if self.pipe.poll(limit) else f"no answer in {limit} s"
        except (EOFError, OSError):
            answer = "its process ended"
        if isinstance(answer, str):
            self.process.kill()
            self.process.join()
            self.process = None
        return answer


def serve(pipe: Any, environment: dict[str, str]) -> None:
    """A worker's loop, up to the first error."""
    os.environ |= environment
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch measures on the same device
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:  # nobody asks any more
            return
        try:
            pipe.send(function(*arguments))
        except Exception as error:  # told, and the others go on in another process
            pipe.send(f"{type(error).__name__}: {error}"[:500])
            os._exit(1)  # after an error of CUDA all that follows fails, the end of the process too
