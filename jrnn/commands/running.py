"""`jrnn train`, and the training that `jrnn diagnose` watches."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import cells, data
from jrnn.commands.folders import output_folder
from jrnn.commands.kinds import KINDS
from jrnn.commands.memory import check_memory, computing
from jrnn.commands.output import require_extras, say
from jrnn.commands.over_seeds import kept, say_scores, seed_of
from jrnn.commands.series_options import series_options
from jrnn.cures.base import Cure, apply_to_cell
from jrnn.cures.catalogue import cures_of
from jrnn.report import OverSeeds
from jrnn.report.red_card import red_card
from jrnn.training import Fitted, Objective, baselines, evaluate, fit
from jrnn.training.batches import source_of, time_major
from jrnn.training.telemetry.tangent_probe import EVERY
from jrnn.training.weights import cured_weights, initial_weights
from jrnn.types import InputError, Params
from jrnn.wording import number, score

UPDATES = 8000  # for sequences of up to 64 steps; about a minute on 2 cores
BATCH = 32
LAYERS = 256  # a stack is one program: so many layers take 4 s to compile, and a diagnosis has over a hundred programs
LESS = "a smaller --hidden or --batch-size needs less"
"""What helps where memory runs out."""


def train(args: Namespace) -> int:
    """`jrnn train`: trains and saves; `jrnn diagnose --model DIR` goes on from there."""
    require_extras(args, figures=False)
    dataset = load_data(args)
    cell, objective = build(args, dataset), Objective.of(dataset)
    with output_folder(args, trains=True) as out, computing(LESS):
        say(f"{dataset.source}\nWriting to {out}.")
        fitted, every = train_model(args, cell, objective, dataset, out)
        if fitted.interrupted:
            return 130
        scores = evaluate(fitted.cell, fitted.params, objective, fitted.loss_params, dataset.subset(dataset.test))
    known = baselines(objective, dataset)
    if warning := red_card(known, scores, fitted.history["loss"]):
        say(f"\n{warning}\n")
    if every is not None:
        say_scores(every)
    own = ", ".join(f"{name} {score(name, value)}" for name, value in scores.items())
    say(f"On held-out data{'' if every is None else f', seed {every.typical}'}: {own}")
    for each in known:
        own = ", ".join(f"{name} {score(name, value)}" for name, value in each.scores.items())
        say(f"Without a network, {each.name} ({each.meaning}): {own}")
    if dataset.plateau is not None:
        plateau = f"{number(dataset.plateau)} ({dataset.plateau_reason})"
        say(f"Without what lies {dataset.lag} steps back the loss is {plateau}.")
    folder = shlex.quote(str(out))
    if every is not None:
        say(f"Each seed is saved in {out}/seed-N, and seed {every.typical}, whose loss is the median, in {out} itself.")
    say(f"Saved in {out}. See where its gradient goes: jrnn diagnose --model {folder}")
    if dataset.series is not None:
        say(f"Forecast what follows: jrnn predict --model {folder} --data NEW.csv")
    if dataset.alphabet:
        say(f"Go on with a text: jrnn predict --model {folder} --data PROMPT.txt")
    return 0


def build(args: Namespace, dataset: data.Dataset) -> Any:
    """The cell that the options describe; the options are completed with their defaults."""
    complete(args, dataset)
    one = KINDS[args.cell](args.hidden)
    check_memory(args, one, dataset.x.shape[2], dataset.x.shape[1])
    return one if args.layers == 1 else cells.stack(*[one] * args.layers)


def complete(args: Namespace, dataset: data.Dataset) -> None:
    """Gives the options that were not given their defaults, and checks their numbers."""
    length, cases = dataset.x.shape[1], len(dataset.train)
    steps = max(500, UPDATES * 64 // max(length, 64))
    sizes = {"cell": "elman", "hidden": 128, "layers": 1, "steps": steps, "batch_size": min(BATCH, cases)}
    for name, value in (sizes | {"max_norm": 1.0, "learning_rate": 1e-3}).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name, most in (("hidden", None), ("layers", LAYERS), ("steps", 2**31 - 1), ("batch_size", cases)):
        given = getattr(args, name)
        if given < 1 or (most is not None and given > most):
            needed = "a positive integer" if most is None else f"a positive integer, from 1 to {most}"
            needed += ", the sequences trained on" if name == "batch_size" else ""
            raise InputError(f"--{name.replace('_', '-')}", given, needed)
    least, largest = (float(edge) for edge in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))
    for name, most in (("max_norm", np.inf), ("learning_rate", largest)):
        given = getattr(args, name)
        if not least <= given <= most:
            raise InputError(f"--{name.replace('_', '-')}", given, f"a positive number, from {least:.2g} to {most:.2g}")


def chosen_cures(args: Namespace) -> tuple[Cure, ...]:
    """--cure, as often as it was given: all of them act together."""
    return tuple(cure for text in args.cure or () for cure in cures_of(text))


def first_weights(
    cell: Any, objective: Objective, dataset: data.Dataset, args: Namespace, cures: tuple[Cure, ...] = ()
) -> tuple[Any, dict[str, Params]]:
    """(the cell after the cures, the parameters that `fit` will start from)."""
    cell = apply_to_cell(cures, cell)
    train = dataset.subset(dataset.train)
    batch = time_major({name: array[: args.batch_size] for name, array in train.items()}, objective.each)
    shapes = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, batch))
    weights = initial_weights(cell, objective, None, None, shapes, args.seed)
    if any(each.measures for each in cures):
        source: Any = source_of(train, objective, args.batch_size, args.seed)
        weights = cured_weights(cures, cell, weights, source.batch(source.arguments(0)), args.seed)
    return cell, weights


def train_model(
    args: Namespace, cell: Any, objective: Objective, dataset: data.Dataset, out: Path
) -> tuple[Fitted, OverSeeds | None]:
    """Trains with a progress bar and checkpoints in `out`, and saves the model there; with --seeds several."""
    fitted = fit(
        cell,
        objective,
        dataset.subset(dataset.train),
        steps=args.steps,
        max_norm=None if np.isinf(args.max_norm) else args.max_norm,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        seed=seed_of(args),
        out=out,
        resume=args.resume,
        progress=True,
        tensorboard=args.tensorboard,
        flow_every=min(EVERY, max(args.steps // 50, 1)),  # enough points for the figure
        metadata=settings(args, dataset),
        cures=chosen_cures(args),
    )
    return (fitted, None) if fitted.interrupted else kept(out, fitted, objective, dataset, settings(args, dataset))


def settings(args: Namespace, dataset: data.Dataset) -> dict[str, Any]:
    """What a run is known by: its options, and the data it was trained on."""
    names = ("cell", "hidden", "layers", "learning_rate", "batch_size", "steps", "seed")
    source = args.data or "digits"
    facts = {"data": source if data.is_named(source) else os.path.abspath(source), "features": dataset.x.shape[2]}
    if dataset.series is not None:
        facts |= {"series": dataset.series.as_json(), "scaling": dataset.series.scaling}
    facts |= {"tokens": dataset.x.shape[2]} if args.tokens else {}
    facts |= {"classes": list(dataset.classes)} if dataset.classes else {}
    facts |= {"alphabet": dataset.alphabet} if dataset.alphabet else {}
    facts |= {"missing": "mask"} if dataset.missing and dataset.series is None else {}
    clip = None if np.isinf(args.max_norm) else args.max_norm
    cures = {"cures": spelled(chosen_cures(args))} if args.cure and args.command != "prescribe" else {}
    return {name: getattr(args, name) for name in names} | facts | {"optimizer": "Adam", "max_norm": clip} | cures


def spelled(cures: Sequence[Cure]) -> str:
    """How the settings of a run name its cures."""
    return " ".join(cure.option for cure in cures)


def load_data(args: Namespace) -> data.Dataset:
    """--data, split by --seed."""
    args.seed = 0 if args.seed is None else args.seed
    if not 0 <= args.seed < 2**63:
        raise InputError("--seed", args.seed, f"an integer from 0 to {2**63 - 1}")
    return data.load("digits" if args.data is None else args.data, seed=args.seed, **series_options(args))
