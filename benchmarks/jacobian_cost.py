"""Jacobians in closed form against jacfwd, and singular values of windows with and without forming Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.agreement import relative_error
from benchmarks.processes import ask
from benchmarks.tables import number, table
from benchmarks.timing import seconds

STEPS, BATCH, FEATURES = 8, 2, 32
TOP, WINDOW = 4, 64
TOLERANCE = {"jacobians": 1e-5, "windows": 1e-4}
"""Largest relative difference of the two answers, in float32, with which their times may be compared."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A process for each cell and size."""
    full = {
        "jacobians": {cell: (32, 64, 128, 256, 512) for cell in ("elman", "gru", "lstm")},
        "windows": {cell: (32, 128, 256) for cell in ("elman", "lstm")},
    }
    cases = []
    for what, cells in ({name: {"elman": (24,)} for name in full} if quick else full).items():
        for cell, sizes in cells.items():
            for hidden in sizes:
                say(f"jacobian_cost {what} {cell} H = {hidden}")
                job = {"what": what, "cell": cell, "hidden": hidden, "rounds": 2 if quick else 5}
                cases.append({**job, **ask({"job": "jacobian_cost", **job})})
    return {"steps": STEPS, "batch": BATCH, "features": FEATURES, "top": TOP, "window": WINDOW, "cases": cases}


def measure(what: str, cell: str, hidden: int, rounds: int) -> dict[str, Any]:
    """Both ways in this process: median seconds over alternating rounds, XLA's temporary bytes, and how they differ."""
    import jax

    import jrnn

    made = {"elman": jrnn.elman, "lstm": jrnn.lstm, "gru": jrnn.gru}[cell](hidden)
    params = made.init(jax.random.key(0), FEATURES)
    ways = {"jacobians": ("jacfwd", "closed_form"), "windows": ("explicit", "matrix_free")}[what]
    steps, lead = (STEPS, (BATCH,)) if what == "jacobians" else (WINDOW, ())
    xs = jax.random.normal(jax.random.key(1), (steps, *lead, FEATURES))

    def answer(way: str) -> Any:
        if what == "jacobians":
            return lambda p, xs: jrnn.jacobians(made, p, xs, method=way)
        return lambda p, xs: jrnn.window_singular_values(made, p, xs, [(0, steps)], top=TOP, method=way)

    compiled = {way: jax.jit(answer(way)).lower(params, xs).compile() for way in ways}
    found = {way: jax.block_until_ready(compiled[way](params, xs)) for way in ways}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for n in range(rounds):
        for way in ways if n % 2 else ways[::-1]:
            times[way].append(seconds(lambda: jax.block_until_ready(compiled[way](params, xs))))  # noqa: B023
    one, other = (np.asarray(a if what == "jacobians" else a.log_singular_values) for a in found.values())
    if what == "windows":  # ratios of singular values, which by themselves may be too small for a float
        one, other = np.ones_like(one), np.exp(other - one)
    return {
        "ways": list(ways),
        "seconds": [median(times[way]) for way in ways],
        "ratio": median(a / b for a, b in zip(*(times[way] for way in ways), strict=True)),
        "temp_bytes": [compiled[way].memory_analysis().temp_size_in_bytes for way in ways],
        "difference": relative_error(other, one),
        "iterations": None if what == "jacobians" else int(found["matrix_free"].iterations),
    }


def show(report: dict[str, Any]) -> str:
    """Two tables; no ratio where the answers differ."""
    return "\n\n".join(filter(None, (one_table(report, what) for what in TOLERANCE))) + (
        "\n\nRatio: the first way's time over the second's, paired by round, then the median; '-' where the answers "
        "differ by more than\nfloat32 allows. MiB: what XLA allocates beside arguments and results. "
        f"F = {report['features']}. Jacobians: T = {report['steps']}, B = {report['batch']}.\n"
        f"Windows: one of {report['window']} steps of one sequence; explicit gives all N singular values, matrix-free "
        f"the first {report['top']}, in so many iterations."
    )


def one_table(report: dict[str, Any], what: str) -> str:
    """The rows of one comparison."""
    cases = [case for case in report["cases"] if case["what"] == what]
    if not cases:
        return ""
    first, second = cases[0]["ways"]
    head = ("cell", "H", f"{first} ms", f"{second} ms", "ratio", f"{first} MiB", f"{second} MiB", "difference")
    rows = [
        (
            case["cell"],
            str(case["hidden"]),
            *(number(1e3 * t) for t in case["seconds"]),
            number(case["ratio"]) if case["difference"] <= TOLERANCE[what] else "-",
            *(number(b / 2**20) for b in case["temp_bytes"]),
            number(case["difference"]),
            *(() if what == "jacobians" else (str(case["iterations"]),)),
        )
        for case in cases
    ]
    return f"{what}\n" + table(head if what == "jacobians" else (*head, "iterations"), rows)
