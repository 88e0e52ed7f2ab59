"""`jrnn prescribe`: races what is known to help against the network as it is, and saves the best."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from jrnn import data
from jrnn.commands.folders import output_folder
from jrnn.commands.measurement import measure
from jrnn.commands.memory import computing
from jrnn.commands.output import checked_lag, report, require_extras, say
from jrnn.commands.running import KINDS, LESS, build, complete, first_weights, load_data, settings, spelled
from jrnn.commands.saved_runs import open_run, refuse_beside_model
from jrnn.commands.series_options import series_words
from jrnn.cures.base import Cure, apply_to_cell
from jrnn.cures.catalogue import cure, cures_of
from jrnn.prescribing import Prescription
from jrnn.prescribing import prescribe as run_race
from jrnn.prescribing.arguments import seconds_of
from jrnn.training import Objective, save
from jrnn.training.intervals import held_out_intervals
from jrnn.wording import listed

BUDGET = "10m"


def prescribe(args: Namespace) -> int:
    """`jrnn prescribe`: 0 if the race was finished, 130 after Ctrl-C, which keeps the table so far."""
    require_extras(args, figures=True)
    if args.model is None:
        dataset = load_data(args)
        cell, own = build(args, dataset), ()
    else:
        cell, own, dataset = saved_network(args)
    lag, objective = checked_lag(args.lag, dataset), Objective.of(dataset)
    budget = seconds_of(BUDGET if args.budget is None else args.budget)
    for text in args.cure or ():
        apply_to_cell(cures_of(text), cell)  # refused before anything is computed
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
            target=args.solved,
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
            cures = {"cures": spelled([*own, *found.cures])} if own or found.cures else {}
            known = settings(args, dataset) | cures
            known |= held_out_intervals(best.cell, best.params, objective, best.loss_params, dataset)
            keep(out, found, objective, known)  # before anything else can go wrong
            say(f"\n{found.sentence}\n")
            after = best.cell, best.params, objective, best.loss_params
            stages.append(measure(name, best.updates, *after, dataset, lag))
        known = settings(args, dataset) | {"steps": found.updates, "learning_rate": found.learning_rate}
        if found.recommends is not None and args.cell is not None:
            say(f"\nOn the command line: {command_line(args, found, own)}")
        used = cell if best is None else best.cell
        params = weights["cell"] if best is None else best.params
        done = report(args, out, used, params, dataset, lag, tuple(stages), known, {}, prescription=found)
    return 130 if found.interrupted else done


def saved_network(args: Namespace) -> tuple[Any, tuple[Cure, ...], data.Dataset]:
    """(cell, its own cures, data) of --model: the network that `jrnn train` saved, from its start, with its options.

    args.cell is None afterwards where its options do not tell how the command line would make that cell.
    """
    refuse_beside_model(args, ("target", "horizon", "history", "cell", "hidden", "layers", "seed"))
    saved, known, dataset, _ = open_run(args)
    args.data = args.data or known.get("data")
    args.seed = int(known.get("seed", 0))
    kind = known.get("cell")
    for name in ("hidden", "layers", "learning_rate", "batch_size", "max_norm"):
        if getattr(args, name) is None and name in known:
            setattr(args, name, np.inf if known[name] is None else known[name])
    if args.batch_size is not None:
        args.batch_size = min(args.batch_size, len(dataset.train))
    cures = tuple(map(cure, str(known.get("cures", "")).split()))
    left = [each.option for each in cures if each.trains or each.measures]
    if left:
        say(f"Left out: {listed(left)}, which the saved network was trained with; the race begins without.")
    own = tuple(each for each in cures if not (each.trains or each.measures))
    args.cell = kind if kind in KINDS else None
    told = args.cell is not None and apply_to_cell(own, build(args, dataset)) == saved.cell
    if not told:
        complete(args, dataset)
        args.cell = args.hidden = args.layers = None
    return saved.cell, own, dataset


def keep(out: Path, found: Prescription, objective: Any, known: dict[str, Any]) -> None:
    """Saves the best model, as `jrnn train` would."""
    best = found.best
    assert best is not None
    known |= {"step": best.updates, "steps": best.updates, "learning_rate": found.learning_rate}
    known |= {"run_seed": best.seed}  # "seed" is that of the split
    save(out, best.cell, best.params, loss_params=best.loss_params, objective=objective, metadata=known)
    say(f"Saved the best network in {out}.")


def command_line(args: Namespace, found: Prescription, own: tuple[Cure, ...] = ()) -> str:
    """The command that trains with what is recommended; `jrnn diagnose` takes the same options.

    Args:
      own: cures that the network as it is was made with.
    """
    words = ["jrnn", "train", "--data", args.data or "digits", "--cell", args.cell, "--hidden", str(args.hidden)]
    words += series_words(args)
    words += ["--layers", str(args.layers)] * (args.layers > 1)
    words += [word for each in (*own, *found.cures) for word in ("--cure", each.option)]
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
