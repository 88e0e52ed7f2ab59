"""python -m benchmarks: the figures of jrnn on this machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks import (
    accelerator,
    bfloat16_gain,
    cures,
    flow_cost,
    gated_linear,
    growth,
    interop_cost,
    jacobian_cost,
    long_adding,
    lyapunov_cost,
    named_problems,
    null_races,
    published_spectra,
    random_sizes,
    remat_memory,
    streaming,
    telemetry_cost,
    training_step,
    verdict_stability,
)
from benchmarks.kept import Kept
from benchmarks.machine import facts

BENCHMARKS = {
    "training_step": training_step,
    "random_sizes": random_sizes,
    "streaming": streaming,
    "bfloat16_gain": bfloat16_gain,
    "growth": growth,
    "remat_memory": remat_memory,
    "flow_cost": flow_cost,
    "jacobian_cost": jacobian_cost,
    "gated_linear": gated_linear,
    "lyapunov_cost": lyapunov_cost,
    "telemetry_cost": telemetry_cost,
    "interop_cost": interop_cost,
    "verdict_stability": verdict_stability,
    "published_spectra": published_spectra,
    "cures": cures,
    "long_adding": long_adding,
    "named_problems": named_problems,
    "null_races": null_races,
    "accelerator": accelerator,
}
COMPARED = {
    "training_step": training_step,
    "random_sizes": random_sizes,
    "streaming": streaming,
    "bfloat16_gain": bfloat16_gain,
    "growth": growth,
}
"""Those that compare answers, and so may find them in disagreement."""
DRAWN = ("training_step", "random_sizes", "growth", "cures", "long_adding")
"""Those with figures."""
RESUMED = ("training_step", "random_sizes")
"""Those that take an hour, and keep their cases until the report is written."""


def main(arguments: list[str] | None = None) -> int:
    """Runs what was asked for; 1 if frameworks disagree about a result, else 0."""
    options = parser().parse_args(arguments)
    report = {"machine": facts(), "quick": options.quick}
    print(describe(report["machine"]))
    start = time.perf_counter()
    cases = options.out and options.out.with_name(f"{options.out.name}.cases")
    kept = Kept(cases, report["machine"] | {"quick": options.quick})
    if kept.cases:
        say(f"{len(kept.cases)} cases of an interrupted run are kept: {kept.path}")
    for name in [options.only] if options.only else BENCHMARKS:
        given = {"kept": kept} if name in RESUMED else {}
        report[name] = BENCHMARKS[name].run(options.quick, say, **given)
        print(f"\n{name}\n{BENCHMARKS[name].show(report[name])}", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.out:
        write(report, options.out)
        kept.forget()
        print(f"Written: {', '.join(map(str, [options.out, *draw(report, options.out)]))}")
    return int(any(COMPARED[name].disagreements(report[name]) for name in COMPARED if name in report))


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs; no figures")
    made.add_argument("--only", choices=BENCHMARKS, help="one benchmark instead of all")
    made.add_argument(
        "--out", type=Path, metavar="FILE.json", help="write everything measured there, and figures beside it"
    )
    return made


def describe(machine: dict) -> str:
    """The machine in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    settings = "".join(f", {name}={value}" for name, value in machine["settings"].items())
    kernel = machine["instructions"] or "no compiled kernel"
    kernel += f" ({machine['hidden']} hidden)" if machine["hidden"] else ""
    return (
        f"{machine['date']}  {machine['cpu']}, {kernel}, {machine['cores']} cores, "
        f"load {machine['load_average']}{settings}\n"
        f"Python {machine['python']}, {versions}"
    )


def write(report: dict, path: Path) -> None:
    """JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(part, path)


def draw(report: dict, path: Path) -> list[Path]:
    """The figures of what was measured, as FILE-name.png; none without matplotlib."""
    if not find_spec("matplotlib"):
        return []
    written = []
    for name in [name for name in DRAWN if name in report]:
        for title, figure in BENCHMARKS[name].draw(report[name]).items():
            written.append(path.with_name(f"{path.stem}-{title}.png"))
            figure.savefig(written[-1], dpi=160)
    return written


if __name__ == "__main__":
    sys.exit(main())
