"""The other side of `benchmarks.processes.ask`: one JSON job on standard input, one JSON answer on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any


def training_step(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Times some cells at one size in one framework; with `save`, writes outputs and gradients there first."""
    import numpy as np

    from benchmarks.frameworks import build
    from benchmarks.problem import Size, problem
    from benchmarks.timing import samples

    answers = []
    for cell in job["cells"]:
        built = build(job["framework"], problem(cell, Size(*job["size"])))
        if job["save"] is not None:
            np.savez(job["save"][cell], **built.results())
        answers.append({"compile_seconds": built.compile_seconds, **samples(built, job["samples"])})
    return answers


def remat_memory(job: dict[str, Any]) -> dict[str, Any]:
    """Memory and time of one gradient in this process."""
    from benchmarks.remat_memory import measure

    return measure(job["cell"], job["steps"], job["remat"], job["repeats"])


def jacobian_cost(job: dict[str, Any]) -> dict[str, Any]:
    """Time and memory of two ways to the same Jacobians or singular values in this process."""
    from benchmarks.jacobian_cost import measure

    return measure(job["what"], job["cell"], job["hidden"], job["rounds"])


def telemetry_cost(job: dict[str, Any]) -> dict[str, Any]:
    """Times of the training step with and without what shows its gradient, in this process."""
    from benchmarks.telemetry_cost import measure

    return measure(job["cell"], job["size"], job["rounds"])


def lyapunov_cost(job: dict[str, Any]) -> dict[str, Any]:
    """Time and memory of one spectrum in this process."""
    from benchmarks.lyapunov_cost import measure

    return measure(job["size"], job["k"], job["steps"], job["dtype"], job["rounds"])


def flow_cost(job: dict[str, Any]) -> dict[str, Any]:
    """Time and memory of the credit map in this process."""
    from benchmarks.flow_cost import measure

    return measure(job["cell"], job["size"], job["rounds"])


JOBS = {
    "flow_cost": flow_cost,
    "lyapunov_cost": lyapunov_cost,
    "training_step": training_step,
    "remat_memory": remat_memory,
    "jacobian_cost": jacobian_cost,
    "telemetry_cost": telemetry_cost,
}


if __name__ == "__main__":
    job = json.load(sys.stdin)
    print("\n" + json.dumps(JOBS[job["job"]](job)))
