"""The gradient of all parameters, jrnn against its peers: who is faster, how far from the arithmetic floor."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.frameworks import LACKS, PACKAGES
from benchmarks.gate import Comparison, admitted, compare
from benchmarks.problem import GATES, QUICK_SIZES, SIZES, Size, step_flops
from benchmarks.processes import ask
from benchmarks.tables import number, table

REFERENCE = "jrnn"


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Measures every size and cell; `say` gets a line for each size."""
    present = [name for name, package in PACKAGES.items() if find_spec(package)]
    rounds, samples = (1, 3) if quick else (3, 5)
    cases = []
    for label, size in (QUICK_SIZES if quick else SIZES).items():
        say(f"training_step {label}: {rounds} rounds of {', '.join(present)}")
        cases += run_size(label, size, present, rounds, samples)
    return {
        "loss": "mean(outputs * fixed random cotangent)",
        "gradient": "all parameters, float32, no gradient of the inputs",
        "rounds": rounds,
        "samples_per_round": samples,
        "frameworks": present,
        "absent": [name for name in PACKAGES if name not in present],
        "cases": cases,
    }


def run_size(label: str, size: Size, names: Sequence[str], rounds: int, samples: int) -> list[dict[str, Any]]:
    """All cells at one size: rounds of processes, one a framework, in an order that turns; answers compared once."""
    cells = list(GATES)
    measured: dict[str, list[list[dict]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: {cell: str(Path(folder, f"{name}-{cell}.npz")) for cell in cells} for name in names}
        for i in range(rounds):
            for name in [*names[i % len(names) :], *names[: i % len(names)]]:
                job = {"job": "training_step", "framework": name, "cells": cells, "size": size, "samples": samples}
                measured[name].append(ask({**job, "save": None if i else files[name]}))
        answers = {cell: {name: dict(np.load(files[name][cell])) for name in names} for cell in cells}
    return [
        judge(cell, label, size, {name: [turn[i] for turn in measured[name]] for name in names}, answers[cell])
        for i, cell in enumerate(cells)
    ]


def judge(
    cell: str, label: str, size: Size, rounds: dict[str, list[dict]], answers: dict[str, dict[str, np.ndarray]]
) -> dict[str, Any]:
    """One case: the comparison of the answers, and for those that passed the times and ratios.

    floor_ratio: time / (FLOPs / the best GEMM rate of any process of that round), median over rounds.
    speed_of_jrnn: peer's time / jrnn's time in the same round, median over rounds; above 1 jrnn is faster.
    """
    comparisons = {
        name: compare(answer, answers[REFERENCE], LACKS.get((name, cell), ()))
        for name, answer in answers.items()
        if name != REFERENCE
    }
    allowed = admitted(comparisons, REFERENCE)
    flops = step_flops(cell, size)
    times = {name: [median(turn["seconds"]) for turn in turns] for name, turns in rounds.items()}
    count = len(times[REFERENCE])
    rates = [[rate for turns in rounds.values() for rate in turns[i]["gemm_flops_per_second"]] for i in range(count)]
    floors = [flops / max(of_round) for of_round in rates]
    every = [rate for of_round in rates for rate in of_round]
    return {
        "cell": cell,
        "size": label,
        **size._asdict(),
        "flops": flops,
        "gemm_flops_per_second": {"lowest": min(every), "highest": max(every)},
        "disagreements": [describe(name, comparisons[name]) for name in comparisons if name not in allowed],
        "frameworks": {
            name: {
                "errors": comparisons[name].errors if name in comparisons else None,
                "seconds": median(times[name]),
                "seconds_by_round": times[name],
                "compile_seconds": None
                if turns[0]["compile_seconds"] is None
                else median(turn["compile_seconds"] for turn in turns),
                "floor_ratio": median(time / floor for time, floor in zip(times[name], floors)),
                "speed_of_jrnn": median(time / own for time, own in zip(times[name], times[REFERENCE])),
                "measured": turns,
            }
            for name, turns in rounds.items()
            if name in allowed
        },
    }


def describe(name: str, comparison: Comparison) -> str:
    """A disagreement in words."""
    errors = ", ".join(f"{what} {error:.1e}" for what, error in comparison.errors.items())
    missing = f"; missing: {', '.join(comparison.missing)}" if comparison.missing else ""
    return f"{name} and {REFERENCE} disagree, relative errors: {errors}{missing}"


def disagreements(report: dict[str, Any]) -> list[str]:
    """All of them, with the case they belong to."""
    return [f"{case['cell']} {case['size']}: {line}" for case in report["cases"] for line in case["disagreements"]]


def show(report: dict[str, Any]) -> str:
    """The table, disagreements in the place of numbers, and how to read it."""
    head = ("case", "framework", "ms", "ms lo-hi", "/ floor", "jrnn faster by", "compile s", "worst error")
    rows = []
    for case in report["cases"]:
        label = f"{case['cell']} {case['size']}"
        for name, found in case["frameworks"].items():
            spread = [1e3 * time for time in found["seconds_by_round"]]
            rows.append(
                (
                    label,
                    name,
                    number(1e3 * found["seconds"]),
                    f"{number(min(spread))}-{number(max(spread))}",
                    number(found["floor_ratio"]),
                    "-" if name == REFERENCE else number(found["speed_of_jrnn"]),
                    number(found["compile_seconds"]),
                    number(max(found["errors"].values()) if found["errors"] else None, 2),
                )
            )
    lines = [table(head, rows)] if rows else []
    rates = [rate / 1e9 for case in report["cases"] for rate in case["gemm_flops_per_second"].values()]
    lines.append(
        f"Medians over {report['rounds']} alternating rounds of processes. / floor: time over FLOPs / the best GEMM "
        f"rate of the round.\nGEMM probe: {min(rates):.0f} to {max(rates):.0f} GFLOP/s"
        + (": the machine was shared or throttled, compare ratios only." if min(rates) < 0.7 * max(rates) else ".")
    )
    lines += [f"DISAGREEMENT, no speed printed: {line}" for line in disagreements(report)]
    lines += [f"Not installed, left out: {name}" for name in report["absent"]]
    return "\n".join(lines)
