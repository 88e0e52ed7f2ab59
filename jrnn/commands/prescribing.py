"""`jrnn prescribe`: races what is known to help against the network as it is, and saves the best."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.commands.folders import output_folder
from jrnn.commands.measurement import measure
from jrnn.commands.memory import computing
from jrnn.commands.output import checked_lag, report, require_extras, say
from jrnn.commands.running import LESS, build, first_weights, load_data, settings
from jrnn.prescribing import Prescription
from jrnn.prescribing import prescribe as run_race
from jrnn.prescribing.arguments import seconds_of
from jrnn.training import Objective, save

BUDGET = "10m"


def prescribe(args: Namespace) -> int:
    """`jrnn prescribe`: 0 if the race was finished, 130 after Ctrl-C, which keeps the table so far."""
    require_extras(args, figures=True)
    dataset = load_data(args)
    lag = checked_lag(args.lag, dataset)
    cell, objective = build(args, dataset), Objective.of(dataset)
    budget = seconds_of(BUDGET if args.budget is None else args.budget)
    with output_folder(args, trains=False) as out, computing(LESS):
        say(f"{dataset.source}\nWriting to {out}.")
        _, weights = first_weights(cell, objective, dataset, args)
        before = measure("as it is", 0, cell, weights["cell"], objective, weights["loss"], dataset, lag)
        found = run_race(
            cell,
            dataset,
            objective,
            lag=lag,
            budget=budget,
            updates=args.updates,
            seeds=8 if args.seeds is None else args.seeds,
            seed=args.seed,
            candidates=args.cure or None,
            target=args.target,
            learning_rate=args.learning_rate,
            max_norm=None if np.isinf(args.max_norm) else args.max_norm,
            batch_size=args.batch_size,
            say=say,
        )
        stages = [before]
        best = found.best
        if best is not None:
            name = "yours, trained" if found.recommends is None else f"{found.recommends}, trained"
            if found.recommends == "learning_rate":
                name = f"learning rate {found.learning_rate:.3g}, trained"
            keep(out, found, objective, settings(args, dataset))  # before anything else can go wrong
            say(f"\n{found.sentence}\n")
            after = best.cell, best.params, objective, best.loss_params
            stages.append(measure(name, best.updates, *after, dataset, lag))
        known = settings(args, dataset) | {"steps": found.updates, "learning_rate": found.learning_rate}
        if found.recommends is not None:
            say(f"\nOn the command line: {command_line(args, found)}")
        used = cell if best is None else best.cell
        params = weights["cell"] if best is None else best.params
        done = report(args, out, used, params, dataset, lag, tuple(stages), known, {}, prescription=found)
    return 130 if found.interrupted else done


def keep(out: Path, found: Prescription, objective: Any, known: dict[str, Any]) -> None:
    """Saves the best model, as `jrnn train` would."""
    best = found.best
    assert best is not None
    known |= {"step": best.updates, "steps": best.updates, "learning_rate": found.learning_rate}
    known |= {"run_seed": best.seed}  # "seed" is that of the split
    save(out, best.cell, best.params, loss_params=best.loss_params, objective=objective, metadata=known)
    say(f"Saved the best network in {out}.")


def command_line(args: Namespace, found: Prescription) -> str:
    """The command that trains with what is recommended."""
    words = ["jrnn", "train", "--data", args.data or "digits", "--cell", args.cell, "--hidden", str(args.hidden)]
    words += ["--layers", str(args.layers)] * (args.layers > 1)
    words += [word for cure in found.cures for word in ("--cure", cure.option)]
    steps = args.steps if found.best is None else max(found.best.updates, 1)
    words += [
        "--steps",
        str(steps),
        "--learning-rate",
        f"{found.learning_rate:.12g}",
        "--batch-size",
        str(args.batch_size),
    ]
    return shlex.join([*words, "--max-norm", repr(args.max_norm), "--seed", str(args.seed)])
