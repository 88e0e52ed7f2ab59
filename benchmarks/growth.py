"""How time and memory of a training step grow with the length, the batch and the width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import charts
from benchmarks.contenders import JAX, REFERENCE, XLA
from benchmarks.problem import Size
from benchmarks.processes import anywhere, ask
from benchmarks.remat_memory import exponent
from benchmarks.tables import number, table
from benchmarks.training_step import run_case

CELL = "lstm"
BASE = Size(steps=200, batch=8, features=32, hidden=64)
AXES = {
    "steps": (100, 1000, 10_000, 100_000),
    "batch": (1, 4, 16, 64, 256, 1024),
    "hidden": (16, 32, 64, 128, 256, 512, 1024),
}
QUICK_AXES = {"steps": (4, 8)}
NAMES = (REFERENCE, XLA, "flax.linen")


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """One round at every point; the answers are compared there, too."""
    present = {name: JAX[name] for name in (NAMES[::2] if quick else NAMES) if JAX[name].here}
    curves = []
    for axis, values in (QUICK_AXES if quick else AXES).items():
        cases = []
        for value in values:
            say(f"growth {axis} {value}")
            size = BASE._replace(**{axis: value})
            cases.append(run_case(CELL, f"{axis} {value}", size, present, 1, 1, 1 if quick else 3))
        curves.append({"axis": axis, "cases": cases})
    return {"device": ask({"job": "device"}, anywhere()), "cell": CELL, "base": BASE._asdict(), "curves": curves}


def points(curve: dict[str, Any], name: str) -> list[tuple[int, float, float | None]]:
    """(value on the axis, milliseconds, MiB) where this contender agreed with jrnn."""
    found = [(case[curve["axis"]], case["contenders"].get(name)) for case in curve["cases"]]
    return [
        (value, 1e3 * of["step"]["seconds"], None if of["step_bytes"] is None else of["step_bytes"] / 2**20)
        for value, of in found
        if of
    ]


def disagreements(report: dict[str, Any]) -> list[str]:
    """All of them, with the point they belong to."""
    cases = [case for curve in report["curves"] for case in curve["cases"]]
    return [f"{case['cell']}, {case['size']}: {line}" for case in cases for line in case["disagreements"]]


def draw(report: dict[str, Any]) -> dict[str, Any]:
    """The curves, by the name their file gets."""
    curves = [(curve["axis"], {name: points(curve, name) for name in NAMES}) for curve in report["curves"]]
    return {"growth": charts.curves(curves, report["base"], report["device"])}


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    rows = []
    for curve in report["curves"]:
        for name in NAMES:
            found = points(curve, name)
            slope = exponent([value for value, _, _ in found], [time for _, time, _ in found]) if found else None
            for value, time, memory in found:
                rows.append((name, f"{curve['axis']} {value}", number(time), number(memory), number(slope)))
    base = ", ".join(f"{name} {value}" for name, value in report["base"].items())
    text = table(("contender", "at", "step ms", "step MiB", "exponent of ms"), rows)
    text += f"\n{report['cell']}, training step; else {base}; device: {report['device']}. MiB as for training_step."
    return "\n".join([text, *(f"DISAGREEMENT, no point: {line}" for line in disagreements(report))])
