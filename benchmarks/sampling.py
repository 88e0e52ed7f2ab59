"""Samples of a forward pass and a training step, each beside probes of what the machine gives at that moment."""

from __future__ import annotations

from typing import Any

from benchmarks import probes
from benchmarks.frameworks import GEMM_SIZE, KINDS, Built
from benchmarks.timing import filling, seconds

GEMM_FLOPS = 2 * GEMM_SIZE**3
BLOCK_SECONDS = 0.03
"""A sample repeats a short call for about this long."""


def measure(built: Built, count: int, fresh: bool = True) -> dict[str, Any]:
    """What one process finds out about one layer in one round; `fresh`: in its first.

    seconds: `count` of each of KINDS, in turn; beside each pair gemm_flops_per_second (best of 3) and cores
    (`probes.cores`). step_bytes: by how much the resident set rose at its highest during the first training step, with
    inputs and weights already there, None later; on a GPU the most it has held, inputs and weights included.
    """
    step_bytes = probes.memory_of(built.run["step"]) if fresh else None
    device_peak = built.device_peak()
    built.gemm()
    built.run["forward"]()
    repeats = {kind: filling(built.run[kind], BLOCK_SECONDS) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    rates, cores = [], []
    for _ in range(count):
        cores.append(probes.cores())
        rates.append(GEMM_FLOPS / min(seconds(built.gemm) for _ in range(3)))
        for kind in KINDS:
            built.run[kind]()  # the probe emptied the caches
            times[kind].append(seconds(built.run[kind], repeats[kind]))
    return {
        "seconds": times,
        "gemm_flops_per_second": rates,
        "cores": cores,
        "threads": probes.threads(),
        "step_bytes": step_bytes if device_peak is None else device_peak,
        "compile_seconds": built.compile_seconds,
        "device": built.device,
        "chosen": built.chosen,
    }
