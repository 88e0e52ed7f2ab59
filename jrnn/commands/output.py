"""The report that a command ends with, and what it says on the way."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import sys
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jrnn import cells, data
from jrnn.cells._advance import flat_state
from jrnn.commands.console import complain
from jrnn.commands.series_options import series_words
from jrnn.cures.advice import advise
from jrnn.extras import missing
from jrnn.report import ClippingProof, Diagnosis, OverSeeds, Stage, print_report, write_report
from jrnn.training import Objective, baselines
from jrnn.types import InputError, Params


def report(
    args: Namespace,
    out: Path,
    cell: Any,
    params: Params,
    dataset: data.Dataset,
    lag: int,
    stages: tuple[Stage, ...],
    known: dict[str, Any],
    history: dict[str, np.ndarray],
    proof: ClippingProof | None = None,
    prescription: Any = None,
    over_seeds: OverSeeds | None = None,
) -> int:
    """Writes the page, the figures and the JSON file, then shows the diagnosis in the terminal; 1 if nothing could be
    written."""
    state = flat_state(cell, params)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    layers = len(cell.cells) if isinstance(cell, cells.Stack) else 1
    layer = cell.cells[0] if isinstance(cell, cells.Stack) else cell
    while isinstance(layer, cells.Wrapper):
        layer = layer.cell
    kind = getattr(layer, "kind", type(layer).__name__)
    hidden = getattr(layer, "hidden", None)
    facts = {"cell": kind, "hidden": hidden, "layers": layers, "parameters": parameters, "state": state.size}
    settings = ("model", "loss", "max_norm", "optimizer", "learning_rate", "batch_size", "steps", "seed")
    size = f"{state.size} numbers of state" if hidden is None else f"{hidden} units"
    size += f" in each of {layers} layers" if layers > 1 else ""
    # a network that was never trained is not compared
    judged = "loss" in stages[-1].scores and (prescription is None or stages[-1].step > 0)
    diagnosis = Diagnosis(
        title=f"{kind}, {size}, on {dataset.name}",
        data={
            "name": dataset.name,
            "source": dataset.source,
            "cases": len(dataset.x),
            "steps": dataset.x.shape[1],
            "features": dataset.x.shape[2],
            "task": dataset.task,
            "lag": lag,
            "lag_reason": dataset.lag_reason if args.lag is None else "given on the command line",
            **(
                {}
                if dataset.plateau is None
                else {"plateau": dataset.plateau, "plateau_reason": dataset.plateau_reason}
            ),
        },
        model=facts | {name: known[name] for name in settings if name in known},
        stages=stages,
        history={name: column for name, column in history.items() if name != "step"},
        versions={"jrnn": version("jrnn"), "jax": jax.__version__, "python": platform.python_version()},
        command=shlex.join(["jrnn", *sys.argv[1:]]),
        clipping_proof=proof,
        prescription=prescription,
        over_seeds=over_seeds,
        baselines=baselines(Objective.of(dataset), dataset) if judged else (),
        **of_its_stage(next_step(args, cell, stages[0], out), stages),
    )
    try:
        written = write_report(diagnosis, out)
    except InputError as error:  # what was measured is shown all the same
        print_report(diagnosis)
        complain(f"jrnn {args.command}", f"the report could not be written: {error}")
        return 1
    print_report(diagnosis)
    page = next(path for path in written if path.suffix == ".html")
    beside = sorted(path.name for path in out.iterdir() if path != page and not path.name.startswith("."))
    say(f"\nThe report: {page}\nBeside it: {', '.join(beside)}")
    return 0


def next_step(args: Namespace, cell: Any, stage: Stage, out: Path) -> dict[str, str]:
    """What to try after a diagnosis, and the command: of the network before it was trained, as reach after training is
    no score. A saved network, and one with cures, is raced by its folder."""
    if args.command != "diagnose" or stage.flow.lag == 0:
        return {}
    advice = advise(cell, stage.flow.judgement)
    command = ""
    folder = str(out) if args.cure else args.model
    if advice.cures and folder is not None and os.path.isdir(folder):
        words = ["jrnn", "prescribe", "--model", folder, *(["--data", args.data] if args.data and args.model else [])]
        command = shlex.join([*words, "--lag", str(stage.flow.lag)])
    elif advice.cures and args.cell is not None:
        lag, source = str(stage.flow.lag), args.data or "digits"
        words = ["jrnn", "prescribe", "--data", source, "--cell", args.cell, "--lag", lag]
        given = ("hidden", "layers", "learning_rate", "batch_size", "max_norm", "seed")
        words += series_words(args)
        words += [word for name in given for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
        command = shlex.join(words)
    return {"advice": advice.sentence, "next_command": command}


def of_its_stage(step: dict[str, str], stages: tuple[Stage, ...]) -> dict[str, str]:
    """What to try, which says of which stage it speaks where the last one got another verdict."""
    first, last = stages[0], stages[-1]
    if not step or first.flow.verdict == last.flow.verdict:
        return step
    return step | {"advice": f"As the network was {first.name}: {step['advice']}"}


def require_extras(args: Namespace, figures: bool) -> None:
    """InputError before anything is computed where a package is missing that the command needs at its end."""
    packages = ["orbax", "rich", *["matplotlib", "jinja2"] * figures, *["tensorboardX"] * args.tensorboard]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise missing(package)


def checked_lag(lag: int | None, dataset: data.Dataset) -> int:
    """The lag to judge: the option's, or the data's."""
    longest = dataset.x.shape[1] - 1
    if lag is not None and not min(1, longest) <= lag <= longest:
        raise InputError(
            "--lag", lag, f"a lag from 1 to {longest}, one less than the {longest + 1} steps of {dataset.name}"
        )
    return dataset.lag if lag is None else lag


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, flush=True)
