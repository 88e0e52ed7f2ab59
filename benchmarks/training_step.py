"""Forward pass and gradient of all parameters, jrnn against its peers: who is faster, how far from the floor."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import charts
from benchmarks.case_results import compared, judge, on_cores
from benchmarks.contenders import REFERENCE, Contender, contenders, own_cell
from benchmarks.frameworks import KINDS
from benchmarks.kept import Kept
from benchmarks.problem import GATES, JUMPS, QUICK_SIZES, SIZES, Size
from benchmarks.processes import Worker, anywhere, ask
from benchmarks.summary import show_summary, summary
from benchmarks.tables import number, table

PROCESSES, ROUNDS, SAMPLES = 2, 3, 5
PATIENCE = 3
"""Rounds for each that is wanted, where threads of some process share a core."""
MOVED = 3
"""How often a reference whose slope jumps is asked again, with inputs moved by a rounding."""
QUICK_CELLS = ("lstm", "gru")


def run(quick: bool, say: Callable[[str], None], kept: Kept) -> dict[str, Any]:
    """Measures every size and cell that is not kept; `say` gets a line for each."""
    device = ask({"job": "device"}, anywhere())
    known = contenders(on_cpu=device == "cpu", few=quick)
    present = {name: contender for name, contender in known.items() if contender.here}
    processes, rounds, samples = (1, 1, 1) if quick else (PROCESSES, ROUNDS, SAMPLES)
    cases = []
    for label, size in (QUICK_SIZES if quick else SIZES).items():
        for cell in QUICK_CELLS if quick else GATES:
            say(f"training_step {cell} {label}: {processes} x {rounds} rounds or more of {', '.join(present)}")
            measure = partial(run_case, cell, label, size, present, processes, rounds, samples)
            cases.append(kept.case(f"training_step {cell} {label} {', '.join(present)}", measure))
    return {
        "device": device,
        "loss": "mean(outputs * fixed random cotangent)",
        "gradient": "all parameters, float32, no gradient of the inputs",
        "samples_per_round": samples,
        "contenders": list(present),
        "absent": [name for name in known if name not in present],
        "cases": cases,
        "summary": summary(cases),
    }


def run_case(
    cell: str,
    label: str,
    size: Size,
    present: Mapping[str, Contender],
    processes: int,
    rounds: int,
    samples: int,
) -> dict[str, Any]:
    """One cell at one size: so many processes of each contender, one after the other; answers are compared once.

    The processes of all contenders are there together, and one of them works: in rounds, in an order that turns. A
    round in which threads of some process always shared a core is repeated.
    """
    own = {name: found for name, contender in present.items() if (found := own_cell(contender, cell))}
    names = list(own)
    measured: dict[str, list[dict]] = {name: [] for name in own}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(processes):
            with ExitStack() as stack:
                workers = {name: stack.enter_context(worker(present[name])) for name in own}
                good = 0
                for i in range(PATIENCE * rounds if samples > 1 else 1):
                    for name in names[i % len(names) :] + names[: i % len(names)]:
                        save = None if measured[name] else str(Path(folder, f"{name}.npz"))
                        measured[name].append(workers[name].ask(job(present[name], own[name], size, samples, save)))
                    good += all(on_cores(turns[-1]) for turns in measured.values())
                    if good == rounds:
                        break
        with worker(present[REFERENCE]) as reference:
            for other in set(own.values()) - {cell}:
                reference.ask(job(present[REFERENCE], other, size, 0, str(Path(folder, f"{other}.npz"))))
                for i in range(1, MOVED + 1) if other in JUMPS else ():
                    save = str(Path(folder, f"{other}, moved {i}.npz"))
                    reference.ask(job(present[REFERENCE], other, size, 0, save, moved=i))
        answers = {path.stem: dict(np.load(path)) for path in Path(folder).iterdir()}
        comparisons = compared(present, cell, answers, own)
    return judge(cell, label, size, measured, comparisons)


def worker(contender: Contender) -> Worker:
    """A process for this contender's jobs."""
    return Worker(anywhere(dict(contender.environment)))


def job(contender: Contender, cell: str, size: Size, samples: int, save: str | None, moved: int = 0) -> dict[str, Any]:
    """What asks for `sampling.measure` of this contender; outputs and gradients go to the file `save`."""
    layer = {"framework": contender.framework, "one_thread": contender.one_thread, "cell": cell, "size": size}
    return {"job": "training_step", **layer, "samples": samples, "save": save, "moved": moved}


def disagreements(report: dict[str, Any]) -> list[str]:
    """All of them, with the case they belong to."""
    return [f"{case['cell']} {case['size']}: {line}" for case in report["cases"] for line in case["disagreements"]]


def draw(report: dict[str, Any]) -> dict[str, Any]:
    """The bar chart, by the name its file gets."""
    return {"speed": charts.bars(report["summary"], report["device"])} if report["summary"] else {}


def show(report: dict[str, Any]) -> str:
    """The tables, disagreements in the place of numbers, and how to read them."""
    head = ("case", "contender")
    head += tuple(f"{kind} {what}" for kind in KINDS for what in ("ms", "lo-hi", "/ floor", "/ jrnn", "compile s"))
    rows = []
    for case in report["cases"]:
        for name, found in case["contenders"].items():
            row = [f"{case['cell']} {case['size']}", name]
            for kind in KINDS:
                timed = found[kind]
                spread = [1e3 * time for time in timed["seconds_by_round"]]
                row += [
                    number(1e3 * timed["seconds"]),
                    f"{number(min(spread))}-{number(max(spread))}",
                    number(timed["floor_ratio"]),
                    "-" if name == REFERENCE else number(timed["speed_of_jrnn"]),
                    number(timed["compile_seconds"]),
                ]
            memory = None if found["step_bytes"] is None else found["step_bytes"] / 2**20
            rows.append((*row, number(memory), number(max(found["errors"].values()) if found["errors"] else None, 2)))
    lines = [table((*head, "step MiB", "worst error"), rows)] if rows else []
    lines += ["", show_summary(report["summary"])] if report["summary"] else []
    lines += ["", *explanation(report)]
    lines += [f"DISAGREEMENT, no speed printed: {line}" for line in disagreements(report)]
    lines += [f"Not installed, left out: {name}" for name in report["absent"]]
    return "\n".join(lines)


def explanation(report: dict[str, Any]) -> list[str]:
    """How to read the table, and what the probes say."""
    cases = report["cases"]
    rates = [rate / 1e9 for case in cases for rate in case["gemm_flops_per_second"].values()]
    cores = [case["cores"] for case in cases]
    shared = [f"{case['cell']} {case['size']}" for case in cases if not case["real_cores"]]
    chosen = {case["contenders"][REFERENCE]["chosen"] for case in cases if REFERENCE in case["contenders"]}
    lines = [
        f"Device: {report['device']}. jrnn took: {' | '.join(sorted(map(str, chosen))) or '-'}",
        "Medians over alternating rounds; / jrnn: its time over jrnn's of the same round; / floor: time "
        "over FLOPs / the GEMM rate beside it, raised to the best library's.",
        "step MiB: by how much the first training step raised the resident set (a GPU: the most that it held).",
        "Haiku's Elman is relu and its GRU resets before the product; both are checked against jrnn's same cell.",
        f"GEMM probe: {min(rates):.0f} to {max(rates):.0f} GFLOP/s. Arithmetic on all threads over that on one: "
        f"{min(cores):.2f} to {max(cores):.2f}.",
    ]
    if shared:
        lines.append(f"THREADS SHARED A CORE in every round, judge no speed of: {', '.join(shared)}")
    return lines
