"""What `remat` saves: peak memory of the gradient of a long sequence against its length."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import seconds

BATCH, FEATURES, HIDDEN = 8, 32, 64
REMATS = (None, "step", "sqrt")
VISIBLE = 8 * 2**20
"""Bytes below which a growth of the resident set is lost among allocator and thread-pool pages."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each cell, length and `remat`."""
    cells, lengths = (("elman",), (250, 4000)) if quick else (("elman", "lstm"), (1000, 10_000, 100_000))
    curves = []
    for cell in cells:
        for remat in (None, "sqrt") if quick else REMATS:
            say(f"remat_memory {cell} remat={remat!r}: T = {', '.join(map(str, lengths))}")
            points = [
                ask({"job": "remat_memory", "cell": cell, "steps": steps, "remat": remat, "repeats": 1 if quick else 3})
                for steps in lengths
            ]
            curves.append({"cell": cell, "remat": remat, "points": points, **growth(points)})
    return {"batch": BATCH, "features": FEATURES, "hidden": HIDDEN, "curves": curves}


def measure(cell_name: str, steps: int, remat: str | None, repeats: int) -> dict[str, Any]:
    """The jitted gradient of a loss on the last output and the final state, in this process.

    temp_bytes: what XLA allocates beside arguments and results. rss_growth_bytes: the process's peak resident set
    after the first run, less that after compiling. seconds: the fastest of `repeats` later runs.
    """
    import jax
    import jax.numpy as jnp

    import jrnn

    cell = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru}[cell_name](HIDDEN)
    params = cell.init(jax.random.key(0), FEATURES)
    count = steps * BATCH * FEATURES  # made in one buffer: a temporary would already have raised the peak
    xs = jax.jit(lambda: jnp.sin(jnp.arange(count, dtype=jnp.float32)).reshape(steps, BATCH, FEATURES))()

    def loss(params: Any, xs: Any) -> Any:
        run = jrnn.unroll(cell, params, xs, remat=remat)
        return jnp.mean(run.last**2) + sum(jnp.mean(leaf**2) for leaf in jax.tree.leaves(run.final_state))

    gradient = jax.jit(jax.grad(loss))
    jax.block_until_ready(gradient(params, xs[:8]))  # thread pools and what else a first run brings with it
    compiled = gradient.lower(params, xs).compile()
    before = peak_rss()
    jax.block_until_ready(compiled(params, xs))
    growth = peak_rss() - before
    times = [seconds(lambda: jax.block_until_ready(compiled(params, xs))) for _ in range(repeats)]
    return {
        "steps": steps,
        "temp_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "rss_growth_bytes": growth,
        "seconds": min(times),
    }


def peak_rss() -> int:
    """The largest resident set of this process so far, in bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def growth(points: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Growth exponents in T: of XLA's temporary memory, and of the resident set where it can be seen."""
    visible = [point for point in points if point["rss_growth_bytes"] >= VISIBLE]
    return {
        "temp_exponent": exponent([p["steps"] for p in points], [p["temp_bytes"] for p in points]),
        "rss_exponent": exponent([p["steps"] for p in visible], [p["rss_growth_bytes"] for p in visible]),
    }


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """The least-squares slope of log y over log x; None for fewer than two different x."""
    if len(set(xs)) < 2:
        return None
    log_x, log_y = [math.log(x) for x in xs], [math.log(y) for y in ys]
    middle_x, middle_y = sum(log_x) / len(xs), sum(log_y) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in log_x)
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(log_x, log_y)) / spread


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    head = ("cell", "remat", "T", "temp MiB", "peak RSS + MiB", "ms", "time / None", "exponent temp, RSS")
    without = {
        (curve["cell"], point["steps"]): point["seconds"]
        for curve in report["curves"]
        if curve["remat"] is None
        for point in curve["points"]
    }
    rows = []
    for curve in report["curves"]:
        for point in curve["points"]:
            grown = point["rss_growth_bytes"]
            rows.append(
                (
                    curve["cell"],
                    str(curve["remat"]),
                    str(point["steps"]),
                    number(point["temp_bytes"] / 2**20),
                    number(grown / 2**20) if grown >= VISIBLE else f"< {VISIBLE >> 20}",
                    number(1e3 * point["seconds"]),
                    number(point["seconds"] / without[curve["cell"], point["steps"]]),
                    f"{number(curve['temp_exponent'])}, {number(curve['rss_exponent'])}",
                )
            )
    return table(head, rows) + (
        f"\nB = {report['batch']}, F = {report['features']}, H = {report['hidden']}; the inputs are an argument and "
        "not counted.\nExponents: slope of log memory over log T: 1 if every step is stored, 0.5 for sqrt(T) segments."
    )
