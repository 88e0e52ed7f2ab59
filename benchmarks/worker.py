"""The other side of `benchmarks.processes.ask`: one JSON job on standard input, one JSON answer on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any


def device(job: dict[str, Any]) -> str:
    """The kind of device that JAX takes by default."""
    import jax

    return jax.devices()[0].device_kind


def training_step(job: dict[str, Any]) -> dict[str, Any] | None:
    """Measures one layer in one framework; with `save`, writes outputs and gradients there; 0 samples: only that."""
    import numpy as np

    from benchmarks.frameworks import build
    from benchmarks.problem import Size, problem
    from benchmarks.sampling import measure

    given = problem(job["cell"], Size(*job["size"]), moved=job["moved"])
    built = build(job["framework"], given, job["one_thread"])
    found = measure(built, job["samples"]) if job["samples"] else None
    if job["save"] is not None:
        np.savez(job["save"], **built.results())
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
    job = json.load(sys.stdin)
    print("\n" + json.dumps(JOBS[job["job"]](job)))
