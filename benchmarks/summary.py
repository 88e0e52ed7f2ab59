"""What was reached beside what was asked for: jrnn against the best JAX peer, PyTorch and the arithmetic floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.case_results import paired
from benchmarks.contenders import FLAX, PEERS, REFERENCE, SCAN, TORCH, XLA
from benchmarks.frameworks import KINDS
from benchmarks.problem import Size
from benchmarks.tables import number, table

SIZES = ("S", "M", "L", "P", "X")
FASTER = {"lstm": (3, 2, 2, 2, 1.6), "gru": (4, 2, 2, 2, 1.3), "elman": (5, 2, 2, 2, 1.5)}
"""Cell -> at each of SIZES, how many times faster than the best JAX peer jrnn shall be."""
AHEAD, AHEAD_OF_BEST, LEVEL = 1.05, 1.1, 0.97
FLOOR = {"lstm": (3, 1.3, 1.3, 1.3, 1.3), "gru": (3, 1.3, 1.3, 1.3, 1.3), "elman": (3, 1.3, 1.3, 1.6, 1.3)}
"""At most so many times the arithmetic floor a training step takes."""
NEAR = (2, 1.1, 1.1, 1.1, 1.1)
"""So near the floor jrnn misses no ratio: a peer that is near it, too, leaves nothing to gain."""

COLUMNS = {
    "peer": "/ jrnn: best JAX peer",
    "torch": "PyTorch default",
    "torch_best": "PyTorch best",
    "xla": "Flax / jrnn xla",
    "floor": "jrnn / floor",
    "compile": "compile, jrnn / scan",
}
AT_MOST = ("floor", "compile")
RATIOS = ("peer", "torch", "torch_best")


def summary(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each case and each of KINDS the ratios, the targets, and which of them were missed."""
    rows = []
    for case in cases:
        for kind in KINDS if REFERENCE in case["contenders"] else ():
            reached, against = ratios(case["contenders"], kind)
            wanted = {name: value for name, value in targets(case["cell"], case["size"], kind).items() if reached[name]}
            missed = [name for name, value in wanted.items() if misses(name, reached, value, case["size"])]
            row = {key: case[key] for key in ("cell", "size", *Size._fields, "real_cores")}
            row |= {"kind": kind, "against": against}
            rows.append(row | {"reached": reached, "targets": wanted, "missed": missed})
    return rows


def ratios(contenders: Mapping[str, Any], kind: str) -> tuple[dict[str, float | None], dict[str, str]]:
    """The ratios of COLUMNS, None where one of the two is absent, and whom they are against."""
    there = {name: found[kind] for name, found in contenders.items()}
    own, xla, scan = there[REFERENCE], there.get(XLA), there.get(SCAN)
    torch = [name for name in there if name.startswith(TORCH)]
    against = {"peer": best(there, PEERS), "torch": TORCH if TORCH in there else None}
    against |= {"torch_best": best(there, torch), "xla": best(there, FLAX)}

    def ratio(name: str | None, base: Mapping[str, Any] | None) -> float | None:
        return paired(there[name]["seconds_by_round"], base["seconds_by_round"]) if name and base else None

    reached = {column: ratio(name, xla if column == "xla" else own) for column, name in against.items()}
    reached["floor"] = own["floor_ratio"]
    reached["compile"] = own["compile_seconds"] / scan["compile_seconds"] if scan else None
    return reached, {column: name for column, name in against.items() if name}


def best(there: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """The fastest by its median."""
    return min((name for name in names if name in there), key=lambda name: there[name]["seconds"], default=None)


def targets(cell: str, size: str, kind: str) -> dict[str, float]:
    """What was asked for; of sizes of no target nothing, of a forward pass neither floor nor compilation."""
    if size not in SIZES:
        return {}
    i = SIZES.index(size)
    common = {"peer": FASTER[cell][i], "torch": AHEAD, "torch_best": AHEAD_OF_BEST, "xla": LEVEL}
    return common if kind == "forward" else common | {"floor": FLOOR[cell][i], "compile": 1.0}


def misses(name: str, reached: Mapping[str, Any], target: float, size: str) -> bool:
    """Whether a target is missed."""
    if name in AT_MOST:
        return reached[name] > target
    return reached[name] < target and not (name in RATIOS and reached["floor"] <= NEAR[SIZES.index(size)])


def show_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary table: what was reached, (the target), and ! where it was missed."""

    def entry(row: Mapping[str, Any], column: str) -> str:
        target = f" ({row['targets'][column]:g})" if column in row["targets"] else ""
        return number(row["reached"][column]) + target + (" !" if column in row["missed"] else "")

    shown = [
        (
            f"{row['cell']} {row['size']}" + ("" if row["real_cores"] else " ?"),
            row["kind"],
            row["against"].get("peer", "-"),
            *(entry(row, column) for column in COLUMNS),
            row["against"].get("torch_best", "-"),
        )
        for row in rows
    ]
    asked = [row["targets"] for row in rows if row["targets"]]
    met = sum(len(row["targets"]) - len(row["missed"]) for row in rows)
    text = table(("case", "what", "best JAX peer", *COLUMNS.values(), "PyTorch's best"), shown)
    text += "\nTimes of others over jrnn's, above 1 jrnn is faster; (target), ! missed; ? threads shared a core."
    return text + (f"\nTargets met: {met} of {sum(map(len, asked))}." if asked else "")
