"""`jrnn diagnose`: a network before and after training, one that was saved, or one that comes from elsewhere."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jrnn import data
from jrnn.commands.folders import output_folder
from jrnn.commands.measurement import Probe, held_out_sample, measure, measure_inside, prove_clipping
from jrnn.commands.memory import computing
from jrnn.commands.output import checked_lag, report, require_extras, say
from jrnn.commands.over_seeds import say_member, say_scores
from jrnn.commands.running import LESS, build, chosen_cures, first_weights, load_data, settings, train_model
from jrnn.commands.saved_runs import open_run, refuse_beside_model
from jrnn.commands.series_options import series_options
from jrnn.report import Stage
from jrnn.training import Objective
from jrnn.types import InputError

WEIGHTS = (".safetensors", ".npz", ".onnx", ".pt", ".pth", ".bin", ".ckpt", ".h5", ".keras", ".pkl", ".msgpack")
"""Endings of files of weights, those that cannot be read among them: the error says what can."""

FEWER = "fewer or shorter sequences (--data) need less"
"""What helps where memory runs out."""


def diagnose(args: Namespace, network_of: Callable[..., Any]) -> int:
    """`jrnn diagnose`: where the gradient goes before and after training, in a saved model or in one from elsewhere.

    Args:
      network_of: (model, rnn=, head=, direction=) -> a network of a file or a function.
    """
    if args.model is not None and from_elsewhere(args.model):
        return diagnose_given(args, network_of)
    for name in ("rnn", "head", "direction"):
        if getattr(args, name) is not None:
            needed = "--model with the file or function that it chooses from"
            raise InputError(f"--{name}", getattr(args, name), needed)
    if args.model is not None:
        return diagnose_saved(args)
    require_extras(args, figures=True)
    dataset = load_data(args)
    lag = checked_lag(args.lag, dataset)
    cell, objective = build(args, dataset), Objective.of(dataset)
    with output_folder(args, trains=True) as out, computing(LESS):
        say(f"{dataset.source}\nWriting to {out}.")
        before = None if args.seeds else untrained(args, args.seed, cell, objective, dataset, lag)
        fitted, every = train_model(args, cell, objective, dataset, out)
        if fitted.interrupted:
            return 130
        cured, known = fitted.cell, settings(args, dataset) | {"steps": fitted.step}
        if every is not None:
            say_scores(every)
            known |= {"seed": every.typical}
        # which of several is shown is known when all are trained
        before = before or untrained(args, known["seed"], cell, objective, dataset, lag)
        after = measure(
            "after training", fitted.step, cured, fitted.params, objective, fitted.loss_params, dataset, lag
        )
        proof = prove_clipping(cured, fitted.params, objective, fitted.loss_params, dataset, args.max_norm)
        stages = (before, after)
        return report(
            args, out, cured, fitted.params, dataset, lag, stages, known, fitted.history, proof, over_seeds=every
        )


def untrained(args: Namespace, seed: int, cell: Any, objective: Objective, dataset: data.Dataset, lag: int) -> Stage:
    """The network that training from this seed begins with."""
    begun = Namespace(**{**vars(args), "seed": seed})
    cured, weights = first_weights(cell, objective, dataset, begun, chosen_cures(args))
    return measure("before training", 0, cured, weights["cell"], objective, weights["loss"], dataset, lag)


def diagnose_saved(args: Namespace) -> int:
    """`jrnn diagnose --model DIR`."""
    check_alone(args)
    refuse_beside_model(args, ("target", "horizon", "history"))
    saved, known, dataset, objective = open_run(args)
    lag = checked_lag(args.lag, dataset)
    step = int(known.get("step", known.get("steps", 0)))
    say_member(known, args.model)
    with output_folder(args, trains=False) as out, computing(FEWER):
        stage = measure("as saved", step, saved.cell, saved.params, objective, saved.loss_params, dataset, lag)
        return report(args, out, saved.cell, saved.params, dataset, lag, (stage,), known, {})


def diagnose_given(args: Namespace, network_of: Callable[..., Any]) -> int:
    """`jrnn diagnose --model FILE` or `--model package.module:function`."""
    check_alone(args)
    if args.data is None:
        raise InputError("--data", "none", "the sequences to run the model on")
    given = network_of(args.model, rnn=args.rnn, head=args.head, direction=args.direction)
    dataset = data.load(args.data, **series_options(args))
    whole = hasattr(given, "tapped")
    dataset = dataset if whole else given.fed(dataset)
    lag = checked_lag(args.lag, dataset)
    objective: Any = Objective.of(dataset)
    if not whole and given.head is None:
        objective = Probe(objective.each)
    with output_folder(args, trains=False) as out, computing(FEWER):
        return report_given(args, out, given, whole, objective, dataset, lag)


def report_given(
    args: Namespace, out: Path, given: Any, whole: bool, objective: Any, dataset: data.Dataset, lag: int
) -> int:
    """Measures the network, or the RNN inside the whole model."""
    known = {"model": args.model}
    if whole:
        inside = given.tapped(objective, dataset.subset(held_out_sample(dataset)))
        cell, params = inside.cell, inside.params
        stage = measure_inside("as given", given, inside, objective, dataset, lag)
    else:
        cell, params = given.cell, given.params
        stage = measure("as given", 0, cell, params, objective, given.head, dataset, lag)
        notes = [given.note] * bool(given.note)
        if given.reverse:
            notes.append("It reads from the end: lag 0 is at the start of a sequence.")
        if isinstance(objective, Probe):
            known["loss"] = objective.sentence
            notes.append(f"{objective.sentence[0].upper()}{objective.sentence[1:]}.")
        for note in notes:
            say(note)
    return report(args, out, cell, params, dataset, lag, (stage,), known, {})


def from_elsewhere(model: str) -> bool:
    """Whether --model is a file of weights or module:function, and no folder of `jrnn train`."""
    return not os.path.isdir(model) and (":" in model or os.path.isfile(model) or Path(model).suffix.lower() in WEIGHTS)


def check_alone(args: Namespace) -> None:
    """InputError for what --model leaves no room for, and for a package that is missing."""
    require_extras(args, figures=True)
    names = ("cell", "hidden", "layers", "cure", "steps", "max_norm", "learning_rate", "batch_size", "seed", "seeds")
    refuse_beside_model(args, names)
    if args.resume:
        raise InputError("--resume", "with --model", "one of the two: a saved model is not trained")
