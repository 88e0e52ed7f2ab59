"""What `jrnn train` saved, with the data that it was trained on."""

import os
from argparse import Namespace
from typing import Any, NamedTuple

from jrnn import data
from jrnn.training import Objective, load
from jrnn.training.storage.saving import Saved
from jrnn.types import InputError


class SavedRun(NamedTuple):
    """A saved network with its data."""

    saved: Saved
    known: dict[str, Any]
    """What it was saved with: its options, and the data it was trained on."""
    dataset: data.Dataset
    objective: Objective


def open_run(args: Namespace) -> SavedRun:
    """The run in the folder --model; --data takes the place of its own.

    Raises:
      InputError: there is none, or the data do not fit it.
    """
    if not os.path.isdir(args.model):
        needed = "a folder of `jrnn train`"
        needed += ", a file of weights, or package.module:function" if args.command == "diagnose" else ""
        what = "a file" if os.path.exists(args.model) else "which is not there"
        raise InputError("--model", f"{args.model!r}, {what}", needed)
    saved = load(args.model)
    known = {**saved.metadata.get("config", {}), **saved.metadata}
    source = args.data or known.get("data")
    if not isinstance(source, str):
        raise InputError("--data", "none, and the model does not say what it was trained on", "a data set")
    like = data.Series.from_json(known["series"]) if "series" in known else None
    missing = args.missing or known.get("missing")
    seed, tokens = int(known.get("seed", 0)), known.get("tokens")
    names = {"classes": known.get("classes"), "alphabet": known.get("alphabet")}
    dataset = data.load(source, seed=seed, like=like, missing=missing, tokens=tokens, **names)
    objective = saved.objective
    if not isinstance(objective, Objective):
        raise InputError("--model", f"{args.model}, without an objective that jrnn knows", "a model of `jrnn train`")
    if (objective.task, objective.outputs) != (dataset.task, dataset.outputs):
        given = f"{source} ({dataset.task}, {dataset.outputs} outputs)"
        raise InputError("--data", given, f"data for this model ({objective.task}, {objective.outputs} outputs)")
    features = known.get("features", dataset.x.shape[2])
    if features != dataset.x.shape[2]:
        raise InputError(
            "--data", f"{source}, with {dataset.x.shape[2]} features", f"{features} features for this model"
        )
    return SavedRun(saved, known, dataset, Objective.of(dataset))


def refuse_beside_model(args: Namespace, names: tuple[str, ...]) -> None:
    """InputError for an option that --model leaves no room for."""
    for name in names:
        if getattr(args, name) is not None:
            needed = "no such option beside --model, which brings its own"
            raise InputError(f"--{name.replace('_', '-')}", getattr(args, name), needed)
