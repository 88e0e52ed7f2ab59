"""Sizes that nobody tuned: forward pass and training step at random sizes, jrnn against the JAX libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from benchmarks import charts
from benchmarks.contenders import PEERS, REFERENCE, contenders
from benchmarks.frameworks import KINDS
from benchmarks.kept import Kept
from benchmarks.problem import QUICK_SIZES, Size, gates, step_flops
from benchmarks.processes import anywhere, ask
from benchmarks.tables import number, table
from benchmarks.training_step import disagreements, run_case

__all__ = ["disagreements", "draw", "run", "show"]

CELLS = ("lstm", "gru")
DRAWS, PROCESSES, ROUNDS, SAMPLES, SEED = 24, 2, 2, 3, 0
LEAST, MOST = Size(10, 1, 1, 16), Size(2000, 256, 300, 768)
MOST_FLOPS, MOST_BYTES = 200e9, 2e9
FEWEST = 3
"""Rounds in which all threads had cores of their own; with fewer a case is undecided."""
LEVEL = 0.95
"""Of the interval."""


def run(quick: bool, say: Callable[[str], None], kept: Kept) -> dict[str, Any]:
    """Every draw with every cell; measures what is not kept; `say` gets a line for each."""
    device = ask({"job": "device"}, anywhere())
    known = contenders(on_cpu=device == "cpu", few=quick)
    present = {name: known[name] for name in (REFERENCE, *PEERS) if name in known and known[name].here}
    sizes = list(QUICK_SIZES.values()) if quick else draws(DRAWS)
    cells, processes, rounds, samples = (CELLS[:1], 1, 1, 1) if quick else (CELLS, PROCESSES, ROUNDS, SAMPLES)
    cases = []
    for i, size in enumerate(sizes):
        for cell in cells:
            say(f"random_sizes {cell} {i + 1} of {len(sizes)}: {described(size)}")
            measure = partial(run_case, cell, str(i), size, present, processes, rounds, samples)
            cases.append(decide(kept.case(f"random_sizes {cell} {described(size)} {', '.join(present)}", measure)))
    absent = [name for name in PEERS if name not in present]
    return {"device": device, "seed": SEED, "level": LEVEL, "absent": absent, "cases": cases}


def draws(count: int, seed: int = SEED) -> list[Size]:
    """Sizes drawn log-uniformly from LEAST to MOST, without those that ask too much of an LSTM."""
    rng = np.random.default_rng(seed)
    found: list[Size] = []
    while len(found) < count:
        size = Size(*(round(float(np.exp(rng.uniform(*np.log(ends))))) for ends in zip(LEAST, MOST, strict=True)))
        if step_flops("lstm", size) <= MOST_FLOPS and step_bytes("lstm", size) <= MOST_BYTES:
            found.append(size)
    return found


def step_bytes(cell: str, size: Size) -> int:
    """Arrays of a training step by plain loops, float32: inputs, states, cotangents, twice the gates of each step."""
    steps, batch, features, hidden = size
    return 4 * steps * batch * (features + (4 + 2 * gates(cell)) * hidden)


def decide(case: dict[str, Any]) -> dict[str, Any]:
    """The case with who is ahead, and whether enough rounds count to say so."""
    case["decided"] = case["real_cores"] and case["rounds_counted"] >= FEWEST
    case["against"] = {kind: against(case["contenders"], kind) for kind in KINDS} if len(case["contenders"]) > 1 else {}
    return case


def against(found: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Each peer's time over jrnn's, paired by round, with its interval; and the least of them, the best peer's.

    `ahead`: the least lower end lies above 1, so that jrnn is ahead of every peer.
    """
    own = found[REFERENCE][kind]["seconds_by_round"]
    peers = {}
    for name in found:
        if name != REFERENCE:
            ratios = [time / base for time, base in zip(found[name][kind]["seconds_by_round"], own, strict=True)]
            middle, low, high = interval(ratios)
            peers[name] = {"ratios": ratios, "ratio": middle, "low": low, "high": high}
    peer = min(peers, key=lambda name: peers[name]["ratio"])
    ahead = all(one["low"] is not None and one["low"] > 1 for one in peers.values())
    return {"peer": peer, **peers[peer], "ahead": ahead, "peers": peers}


def interval(ratios: Sequence[float], level: float = LEVEL) -> tuple[float, float | None, float | None]:
    """Geometric mean of ratios and the ends of its interval, by Student's t of their logarithms; of one ratio none."""
    from scipy.stats import t

    logs = [math.log(ratio) for ratio in ratios]
    if len(logs) < 2:
        return math.exp(logs[0]), None, None
    half = t.ppf((1 + level) / 2, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean(logs)), math.exp(mean(logs) - half), math.exp(mean(logs) + half)


def described(size: Size) -> str:
    """T x B x F, H."""
    return f"{size.steps:,} x {size.batch} x {size.features}, {size.hidden}"


def size_of(case: Mapping[str, Any]) -> Size:
    """Of a case, which may come from a file."""
    return Size(*(case[field] for field in Size._fields))


def draw(report: dict[str, Any]) -> dict[str, Any]:
    """The figure, by the name its file gets."""
    cases = [case | {"label": described(size_of(case))} for case in report["cases"] if case["against"]]
    return {"random": charts.intervals(cases, report["device"])} if cases else {}


def show(report: dict[str, Any]) -> str:
    """The table, and in how many draws jrnn is ahead."""
    rows = []
    for case in report["cases"]:
        for kind, found in case["against"].items():
            floor = case["contenders"][REFERENCE][kind]["floor_ratio"]
            name = f"{case['cell']} {described(size_of(case))}" + ("" if case["decided"] else " ?")
            ends = "-" if found["low"] is None else f"{number(found['low'])} to {number(found['high'])}"
            gflop = number(case["flops"][kind] / 1e9)
            rows.append((name, kind, gflop, number(found["ratio"]), ends, found["peer"], number(floor)))
    head = ("T x B x F, H", "what", "GFLOP", "/ jrnn", f"{100 * LEVEL:g} %", "best JAX peer", "jrnn / floor")
    lines = [table(head, rows)]
    for cell in CELLS:
        for kind in KINDS:
            cases = [case for case in report["cases"] if case["cell"] == cell and kind in case["against"]]
            decided = [case["against"][kind] for case in cases if case["decided"]]
            if decided:
                ahead, ratios = sum(found["ahead"] for found in decided), [found["ratio"] for found in decided]
                lines.append(
                    f"{cell} {kind}: ahead of every peer in {ahead} of {len(decided)} draws, in the median "
                    f"{number(median(ratios))}, at least {number(min(ratios))}; undecided: {len(cases) - len(decided)}"
                )
    lines += [
        "Times of the best JAX peer over jrnn's, paired by round; ahead: every peer's whole interval lies above 1.",
        f"? undecided: fewer than {FEWEST} rounds in which all threads had cores of their own.",
        "Peers have glibc's malloc as it is; jrnn sets it.",
        "Haiku's GRU resets before its product, and nnx's lacks a bias.",
    ]
    lines += [f"DISAGREEMENT, no speed printed: {line}" for line in disagreements(report)]
    return "\n".join([*lines, *(f"Not installed, left out: {name}" for name in report["absent"])])
