"""`jrnn compare`: saved runs and reports side by side, at one lag."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

from jrnn.commands.folders import output_folder
from jrnn.commands.measurement import measure
from jrnn.commands.memory import computing
from jrnn.commands.output import checked_lag, say
from jrnn.commands.saved_runs import SavedRun, open_run
from jrnn.extras import require
from jrnn.flow import Comparison, FlowSummary
from jrnn.report.json_import import read_report
from jrnn.report.writing import write_comparison
from jrnn.types import InputError

FACTS = ("name", "file", "cases", "steps", "features", "series", "source")
NEEDED = "a folder of `jrnn train --out` or `jrnn diagnose --out`"


class Compared(NamedTuple):
    """One RUN, as far as it is known without measuring."""

    name: str
    lag: int
    """That its report, or its data, needs."""
    data: dict[str, Any]
    """What is known of its data: name, cases, steps, features and source, as in a report; the file and the series."""
    flow: FlowSummary | None
    """What its report says at that lag."""
    run: SavedRun | None
    """The network, where it is saved."""


def compare(args: Namespace) -> int:
    """`jrnn compare RUN RUN ...`: a table, and with --out a figure."""
    if args.out is not None:
        require("matplotlib.figure")
    names = names_of(args.runs)
    found = [opened(name, path, args) for name, path in zip(names, args.runs, strict=True)]
    lag = common_lag(args.lag, found)
    with computing("fewer or shorter sequences (--data) need less"):
        comparison = Comparison({each.name: flow_of(each, lag) for each in found})
    say(str(comparison))
    differ = differing({each.name: each.data for each in found})
    if differ:
        say(f"\nThe data differ, so that the networks are not compared on equal terms: {differ}.")
    if args.out is not None:
        with output_folder(args, trains=False) as out:
            say(f"\nThe figure: {write_comparison(comparison, out)}")
    return 0


def differing(known: dict[str, dict[str, Any]]) -> str:
    """How the data of the runs {name: what is known} differ; "" where nothing that is known of two of them does."""
    told = {fact: {run: data[fact] for run, data in known.items() if fact in data} for fact in FACTS}
    fact = next(
        (fact for fact, of in told.items() if any(value != next(iter(of.values())) for value in of.values())), ""
    )
    if fact in ("name", "file"):
        return "; ".join(f"{run}: {value}" for run, value in told[fact].items())
    if fact in ("cases", "steps", "features"):
        return "; ".join(f"{run}: {value:,} {fact}" for run, value in told[fact].items())
    if fact == "series":
        return "the same file with other columns, another scaling, window or horizon"
    return "the same name with another description" if fact else ""


def names_of(runs: list[str]) -> list[str]:
    """The folders' own names, or the paths where two are alike.

    Raises:
      InputError: a folder was given twice.
    """
    names = [Path(run).resolve().name or run for run in runs]
    names = names if len(set(names)) == len(names) else list(runs)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError("RUN", f"{twice!r} twice", "each run once")
    return names


def opened(name: str, path: str, args: Namespace) -> Compared:
    """A report as it is; a saved network too, with its data, where there is no report or it says something else.

    Raises:
      InputError: it is neither, or --lag or --data ask for what only a saved network could answer.
    """
    if not os.path.isdir(path):
        raise InputError("RUN", f"{path!r}, {'a file' if os.path.exists(path) else 'which is not there'}", NEEDED)
    report = Path(path) / "report.json"
    if report.exists() and args.data is None:
        about, stages = read_report(report)
        if not stages:
            raise InputError("RUN", f"{path!r}, a report without stages", NEEDED)
        flow = stages[-1].flow
        if args.lag in (None, flow.lag):
            return Compared(name, flow.lag, {"name": "None"} | about, flow, None)
    if not any((Path(path) / each).exists() for each in ("model", "checkpoints")):
        if report.exists():
            given = f"{path!r}, a report without the network that it is of"
            raise InputError("RUN", given, "none of --lag and --data, or a folder that holds the network, too")
        raise InputError("RUN", f"{path!r}, a folder without a run or a report", NEEDED)
    run = open_run(Namespace(model=path, data=args.data, missing=None, command="compare"))
    dataset = run.dataset
    cases, steps, features = dataset.x.shape
    data = {"name": dataset.name, "cases": cases, "steps": steps, "features": features, "source": dataset.source}
    data |= {"file": args.data or run.known.get("data"), "series": dataset.series}
    return Compared(name, checked_lag(args.lag, dataset), data, None, run)


def common_lag(lag: int | None, found: list[Compared]) -> int:
    """--lag, or the lag that all runs need."""
    lags = sorted({each.lag for each in found})
    if lag is None and len(lags) > 1:
        needed = ", ".join(f"{each.name} {each.lag}" for each in found)
        raise InputError("--lag", f"none, and the runs need different ones ({needed})", "one lag for all")
    return lags[0] if lag is None else lag


def flow_of(each: Compared, lag: int) -> FlowSummary:
    """What a report says, or what is measured now, on held-out data."""
    if each.flow is not None:
        return each.flow
    run: Any = each.run
    saved, step = run.saved, int(run.known.get("step", run.known.get("steps", 0)))
    return measure(each.name, step, saved.cell, saved.params, run.objective, saved.loss_params, run.dataset, lag).flow
