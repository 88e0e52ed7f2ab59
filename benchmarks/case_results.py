"""One case: the answers compared, and for the contenders that passed times, floors and ratios by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.agreement import Comparison, admitted, compare
from benchmarks.contenders import LACKS, REFERENCE, Contender
from benchmarks.frameworks import KINDS
from benchmarks.probes import REAL
from benchmarks.problem import Size, forward_flops, step_flops

Answer = dict[str, np.ndarray]


def judge(
    cell: str,
    label: str,
    size: Size,
    rounds: Mapping[str, Sequence[dict[str, Any]]],
    comparisons: Mapping[str, Comparison],
) -> dict[str, Any]:
    """What is said about one cell at one size.

    Args:
      rounds: contender -> what `sampling.measure` gave in each round.
      comparisons: contender but the reference -> its answers against the reference's.
    Returns:
      Of each contender that agrees, for each of KINDS: `seconds` (median over the rounds that count),
      `seconds_by_round`, `speed_of_jrnn` (its time over jrnn's of the same round, median; above 1 jrnn is faster) and
      `floor_ratio` (time over FLOPs / the GEMM rate beside it, median). Other programs slow time and GEMM alike at that
      moment; libraries differ in their GEMM, so that each one's rate is raised by how far its best lies below the best
      of all. A sample counts if all threads had cores of their own, by the probe beside it, and a round if each of its
      processes has such a sample; if no round does, all count, with all samples, and `real_cores` is False.
    """
    allowed = admitted(comparisons, REFERENCE)
    count = min(map(len, rounds.values()))
    turns = [{name: of_name[i] for name, of_name in rounds.items()} for i in range(count)]
    good = [i for i in range(count) if all(map(on_cores, turns[i].values()))]
    counted = good or range(count)
    peaks = [max(rate for turn in of_round.values() for rate in turn["gemm_flops_per_second"]) for of_round in turns]
    best = {name: max(max(turn["gemm_flops_per_second"]) for turn in of_name) for name, of_name in rounds.items()}
    flops = {"forward": forward_flops(cell, size), "step": step_flops(cell, size)}

    def by_round(name: str, kind: str, figure: Callable[[Mapping[str, Any], str], Sequence[float]]) -> list[float]:
        return [typical(turns[i][name], figure(turns[i][name], kind), bool(good)) for i in counted]

    times = {name: {kind: by_round(name, kind, seconds) for kind in KINDS} for name in allowed}

    def timed(name: str, kind: str) -> dict[str, Any]:
        own, base = times[name][kind], times[REFERENCE][kind]
        products = median(by_round(name, kind, flops_of_products)) * max(best.values()) / best[name]
        return {
            "seconds": median(own),
            "seconds_by_round": own,
            "speed_of_jrnn": paired(own, base),
            "floor_ratio": products / flops[kind],
            "compile_seconds": middle(
                [(turn["compile_seconds"] or {}).get(kind) for turn in rounds[name]]  # also where cores were shared
            ),
        }

    return {
        "cell": cell,
        "size": label,
        **size._asdict(),
        "flops": flops,
        "gemm_flops_per_second": {"lowest": min(peaks), "highest": max(peaks)},
        "cores": median(value for turn in turns for one in turn.values() for value in one["cores"]),
        "rounds": count,
        "rounds_counted": len(counted),
        "real_cores": bool(good),
        "disagreements": [describe(name, found) for name, found in comparisons.items() if name not in allowed],
        "contenders": {
            name: {
                "errors": comparisons[name].errors if name in comparisons else None,
                **{kind: timed(name, kind) for kind in KINDS},
                "step_bytes": middle([turn["step_bytes"] for turn in rounds[name]]),
                "chosen": rounds[name][0]["chosen"],
                "device": rounds[name][0]["device"],
                "measured": list(rounds[name]),
            }
            for name in rounds
            if name in allowed
        },
    }


def paired(times: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios within each round."""
    return median(a / b for a, b in zip(times, base, strict=True))


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what is there."""
    there = [value for value in values if value is not None]
    return median(there) if there else None


def on_cores(turn: Mapping[str, Any]) -> list[int]:
    """The samples of a process during which each thread had a core of its own, by the probe."""
    least = REAL * turn["threads"] if turn["device"] == "cpu" else 0
    return [i for i, cores in enumerate(turn["cores"]) if cores >= least]


def seconds(turn: Mapping[str, Any], kind: str) -> Sequence[float]:
    """Of each sample."""
    return turn["seconds"][kind]


def flops_of_products(turn: Mapping[str, Any], kind: str) -> list[float]:
    """What a matrix product would have done in the time of each sample, at the rate beside it."""
    rates = turn["gemm_flops_per_second"]
    return [time * rate for time, rate in zip(seconds(turn, kind), rates, strict=True)]


def typical(turn: Mapping[str, Any], values: Sequence[float], filtered: bool) -> float:
    """The median of what a process has for each of its samples, of those `on_cores` alone or of all."""
    return median(values[i] for i in on_cores(turn)) if filtered else median(values)


def compared(
    contenders: Mapping[str, Contender], cell: str, answers: Mapping[str, Answer], own: Mapping[str, str]
) -> dict[str, Comparison]:
    """Each contender's answer against jrnn's of the same cell.

    Args:
      answers: contender, or cell of jrnn, -> outputs and gradients; `cell, moved i`: those of moved inputs.
      own: contender -> the cell it runs in the place of `cell`.
    """
    moved = {other: [a for name, a in answers.items() if name.startswith(f"{other}, moved")] for other in own.values()}
    return {
        name: compare(
            answers[name],
            answers[REFERENCE if own[name] == cell else own[name]],
            LACKS.get((contenders[name].framework, cell), ()),
            moved[own[name]],
        )
        for name in own
        if name != REFERENCE
    }


def describe(name: str, comparison: Comparison) -> str:
    """A disagreement in words."""
    errors = ", ".join(f"{what} {error:.1e}" for what, error in comparison.errors.items())
    missing = f"; missing: {', '.join(comparison.missing)}" if comparison.missing else ""
    return f"{name} and {REFERENCE} disagree, relative errors: {errors}{missing}"
