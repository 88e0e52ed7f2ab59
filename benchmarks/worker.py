"""The other side of `benchmarks.processes`: a line of JSON for each job on standard input, one for each answer."""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any

from benchmarks.processes import ANSWER


def device(job: dict[str, Any]) -> str:
    """The kind of device that JAX takes by default."""
    import jax

    return jax.devices()[0].device_kind


@lru_cache(maxsize=1)
def built(framework: str, one_thread: bool, cell: str, size: tuple[int, ...], moved: int) -> Any:
    """A layer, kept for the rounds that follow."""
    from benchmarks.frameworks import build
    from benchmarks.problem import Size, problem

    return build(framework, problem(cell, Size(*size), moved=moved), one_thread)


def training_step(job: dict[str, Any]) -> dict[str, Any] | None:
    """Measures one layer in one framework; with `save`, writes outputs and gradients there; 0 samples: only that."""
    import numpy as np

    from benchmarks.sampling import measure

    fresh = not built.cache_info().currsize
    layer = built(job["framework"], job["one_thread"], job["cell"], tuple(job["size"]), job["moved"])
    found = measure(layer, job["samples"], fresh) if job["samples"] else None
    if job["save"] is not None:
        np.savez(job["save"], **layer.results())
    return found


def streaming(job: dict[str, Any]) -> dict[str, Any]:
    """Times of one cell's steps in this process."""
    from benchmarks.streaming import measure

    return measure(job["framework"], job["cell"], job["calls"], job["samples"])


def bfloat16_gain(job: dict[str, Any]) -> dict[str, Any]:
    """Times of one layer in one precision in this process."""
    from benchmarks.bfloat16_gain import measure

    return measure(job["cell"], job["size"], job["dtype"], job["samples"])


def remat_memory(job: dict[str, Any]) -> dict[str, Any]:
    """Memory and time of one gradient in this process."""
    from benchmarks.remat_memory import measure

    return measure(job["cell"], job["steps"], job["remat"], job["repeats"])


def jacobian_cost(job: dict[str, Any]) -> dict[str, Any]:
    """Time and memory of two ways to the same Jacobians or singular values in this process."""
    from benchmarks.jacobian_cost import measure

    return measure(job["what"], job["cell"], job["hidden"], job["rounds"])


def interop_cost(job: dict[str, Any]) -> dict[str, Any]:
    """Flax modules around jrnn, and Flax's own."""
    from benchmarks.interop_cost import measure

    return measure(job["cell"], job["size"], job["rounds"])


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


def gated_linear(job: dict[str, Any]) -> dict[str, Any]:
    """Training steps of cells on the gated linear recurrence beside an LSTM's, or three ways to a credit map."""
    from benchmarks.gated_linear import measure

    return measure(job["what"], job["size"], job["rounds"])


JOBS = {
    "gated_linear": gated_linear,
    "flow_cost": flow_cost,
    "lyapunov_cost": lyapunov_cost,
    "device": device,
    "training_step": training_step,
    "streaming": streaming,
    "bfloat16_gain": bfloat16_gain,
    "remat_memory": remat_memory,
    "jacobian_cost": jacobian_cost,
    "telemetry_cost": telemetry_cost,
    "interop_cost": interop_cost,
}


if __name__ == "__main__":
    for line in sys.stdin:
        job = json.loads(line)
        print(f"\n{ANSWER}{json.dumps(JOBS[job['job']](job))}", flush=True)
