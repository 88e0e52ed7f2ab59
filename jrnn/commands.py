"""What the command line does: train, measure before and after, report."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import sys
from argparse import Namespace
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import cells, data
from jrnn.cures import clipping_proof, global_norm
from jrnn.flow import FlowSummary, summarise
from jrnn.gradients import value_and_grads
from jrnn.report import ClippingProof, Diagnosis, Stage, print_report, write_report
from jrnn.training import Fitted, Objective, evaluate, fit, load, save
from jrnn.training.batches import time_major
from jrnn.training.saving import writable
from jrnn.training.stepping import initial_weights
from jrnn.types import InputError, Params, ravel_state
from jrnn.unrolling import Unrolled

KINDS = {"elman": cells.elman, "lstm": cells.lstm, "gru": cells.gru}
EXTRAS = {"orbax": "train", "rich": "train"}
UPDATES = 8000  # for sequences of up to 64 steps; about a minute on 2 cores
PROOF_SEQUENCES, PROOF_ELEMENTS = 8, 2**25  # on which the split by lag is clipped, and what it may hold
MEASURED = 32  # held-out sequences whose gradient is followed


def diagnose(args: Namespace) -> int:
    """`jrnn diagnose`: where the gradient goes before and after training, or in a saved model."""
    if args.model is not None:
        return diagnose_saved(args)
    require_extras(args, figures=True)
    dataset = load_data(args)
    lag = checked_lag(args.lag, dataset)
    cell, objective, out = build(args, dataset), Objective(dataset.task, dataset.outputs), output_folder(args)
    say(f"{dataset.source}\nWriting to {out}.")
    weights = first_weights(cell, objective, dataset, args)
    before = measure("before training", 0, cell, weights["cell"], objective, weights["loss"], dataset, lag)
    fitted = train_model(args, cell, objective, dataset, out)
    if fitted.interrupted:
        return 130
    after = measure("after training", fitted.step, cell, fitted.params, objective, fitted.loss_params, dataset, lag)
    known = settings(args, dataset) | {"steps": fitted.step}
    proof = prove_clipping(cell, fitted.params, objective, fitted.loss_params, dataset, args.max_norm)
    return report(args, out, cell, fitted.params, dataset, lag, (before, after), known, fitted.history, proof)


def diagnose_saved(args: Namespace) -> int:
    """`jrnn diagnose --model DIR`."""
    require_extras(args, figures=True)
    for name in ("cell", "hidden", "layers", "steps", "max_norm", "learning_rate", "batch_size", "seed"):
        if getattr(args, name) is not None:
            raise InputError(
                f"--{name.replace('_', '-')}",
                getattr(args, name),
                "no such option beside --model, which brings its own",
            )
    if args.resume:
        raise InputError("--resume", "with --model", "one of the two: a saved model is not trained")
    saved = load(args.model)
    known = {**saved.metadata.get("config", {}), **saved.metadata}
    source = args.data or known.get("data")
    if not isinstance(source, str):
        raise InputError("--data", "none, and the model does not say what it was trained on", "a data set")
    dataset = data.load(source, seed=int(known.get("seed", 0)))
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
    lag = checked_lag(args.lag, dataset)
    out = output_folder(args)
    step = int(known.get("step", known.get("steps", 0)))
    stage = measure("as saved", step, saved.cell, saved.params, objective, saved.loss_params, dataset, lag)
    return report(args, out, saved.cell, saved.params, dataset, lag, (stage,), known, {})


def train(args: Namespace) -> int:
    """`jrnn train`: trains and saves; `jrnn diagnose --model DIR` goes on from there."""
    require_extras(args, figures=False)
    dataset = load_data(args)
    cell, objective, out = build(args, dataset), Objective(dataset.task, dataset.outputs), output_folder(args)
    say(f"{dataset.source}\nWriting to {out}.")
    fitted = train_model(args, cell, objective, dataset, out)
    if fitted.interrupted:
        return 130
    scores = evaluate(cell, fitted.params, objective, fitted.loss_params, dataset.subset(dataset.test))
    say("On held-out data: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
    say(f"Saved in {out}. See where its gradient goes: jrnn diagnose --model {shlex.quote(str(out))}")
    return 0


def build(args: Namespace, dataset: data.Dataset) -> Any:
    """The cell that the options describe; the options are completed with their defaults."""
    steps = max(500, UPDATES * 64 // max(dataset.x.shape[1], 64))
    sizes = {"cell": "elman", "hidden": 128, "layers": 1}
    for name, value in (sizes | {"steps": steps, "max_norm": 1.0, "learning_rate": 1e-3, "batch_size": 32}).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.cell not in KINDS:
        raise InputError("--cell", repr(args.cell), f"one of {', '.join(KINDS)}")
    for name in ("hidden", "layers", "steps", "batch_size"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')}", getattr(args, name), "a positive integer")
    for name in ("max_norm", "learning_rate"):
        given = getattr(args, name)
        if not given > 0 or (name == "learning_rate" and np.isinf(given)):
            raise InputError(f"--{name.replace('_', '-')}", given, "a positive number")
    args.batch_size = min(args.batch_size, len(dataset.train))
    layers = [KINDS[args.cell](args.hidden) for _ in range(args.layers)]
    return layers[0] if args.layers == 1 else cells.stack(*layers)


def first_weights(cell: Any, objective: Objective, dataset: data.Dataset, args: Namespace) -> dict[str, Params]:
    """The parameters that `fit` will start from."""
    batch = time_major(dataset.subset(dataset.train[: args.batch_size]), objective.each)
    return initial_weights(
        cell, objective, None, None, jax.eval_shape(lambda: jax.tree.map(jnp.asarray, batch)), args.seed
    )


def train_model(args: Namespace, cell: Any, objective: Objective, dataset: data.Dataset, out: Path) -> Fitted:
    """Trains with a progress bar and checkpoints in `out`, and saves the model there."""
    fitted = fit(
        cell,
        objective,
        dataset.subset(dataset.train),
        steps=args.steps,
        max_norm=None if np.isinf(args.max_norm) else args.max_norm,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        seed=args.seed,
        out=out,
        resume=args.resume,
        progress=True,
        tensorboard=args.tensorboard,
        metadata=settings(args, dataset),
    )
    if not fitted.interrupted:
        known = settings(args, dataset) | {"step": fitted.step, "steps": fitted.step}
        save(out, cell, fitted.params, loss_params=fitted.loss_params, objective=objective, metadata=known)
    return fitted


def measure(
    name: str,
    step: int,
    cell: Any,
    params: Params,
    objective: Objective,
    loss_params: Params,
    dataset: data.Dataset,
    lag: int,
) -> Stage:
    """Scores on the held-out data, and the gradient's way in float64, where long products do not underflow early."""
    say(f"Measuring {name} ...")
    scores = evaluate(cell, params, objective, loss_params, dataset.subset(dataset.test))
    some = dataset.test[np.linspace(0, len(dataset.test) - 1, min(MEASURED, len(dataset.test))).round().astype(int)]
    with jax.enable_x64(True):
        batch = jax.tree.map(wide, time_major(dataset.subset(some), objective.each))
        flow: FlowSummary = summarise(
            cell,
            jax.tree.map(wide, params),
            batch["x"],
            OnBatch(objective),
            loss_params=(jax.tree.map(wide, loss_params), batch),
            lengths=batch.get("lengths"),
            lag=lag,
        )
    return Stage(name, step, scores, flow)


@dataclass(frozen=True)
class OnBatch:
    """The objective's loss with (head, batch) as its parameters: both measurements share one compilation."""

    objective: Objective

    def __call__(self, given: tuple[Params, Any], unrolled: Unrolled) -> jax.Array:
        head, batch = given
        return self.objective(head, unrolled, batch)[0]


def prove_clipping(
    cell: Any, params: Params, objective: Objective, loss_params: Params, dataset: data.Dataset, max_norm: float
) -> ClippingProof | None:
    """What clipping does to each lag's share, on a few held-out sequences; None where all G_tau would not fit.

    The global clip is to `max_norm`, or to half the gradient's norm where that is smaller, so that it clips.
    """
    elements = (dataset.x.shape[1] + 1) * sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    if elements > PROOF_ELEMENTS:
        return None
    say("Measuring what clipping does ...")
    with jax.enable_x64(True):
        batch = jax.tree.map(wide, time_major(dataset.subset(dataset.test[:PROOF_SEQUENCES]), objective.each))
        weights = jax.tree.map(wide, (params, loss_params))

        def arguments(weights: Any, batch: Any) -> tuple[tuple, dict[str, Any]]:
            loss = lambda head, unrolled: objective(head, unrolled, batch)[0]  # noqa: E731
            return (cell, weights[0], batch["x"], loss), {"loss_params": weights[1], "lengths": batch.get("lengths")}

        @jax.jit
        def norm(weights: Any, batch: Any) -> jax.Array:
            given, options = arguments(weights, batch)
            gradients = value_and_grads(*given, **options)[1]
            return global_norm((gradients.params, gradients.loss_params))

        half = 0.5 * float(norm(weights, batch))
        if not 0 < half < np.inf:
            return None
        limit = min(max_norm, half)

        @jax.jit
        def measured(weights: Any, batch: Any) -> Any:
            given, options = arguments(weights, batch)
            return clipping_proof(*given, max_norm=limit, **options)

        found = measured(weights, batch)
    return ClippingProof(
        max_norm=float(found.max_norm),
        lag_norms=np.asarray(found.lag_norms),
        clipped_lag_norms=np.asarray(found.clipped_lag_norms),
        per_step_lag_norms=np.asarray(found.per_step_lag_norms),
        largest_difference=float(found.largest_difference),
        step_max_norm=float(found.step_max_norm),
    )


def wide(a: Any) -> jax.Array:
    """Floats as float64; other arrays as they are."""
    a = np.asarray(a)
    return jnp.asarray(a, jnp.float64 if jnp.issubdtype(a.dtype, jnp.floating) else a.dtype)


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
) -> int:
    """Shows the diagnosis in the terminal and writes the page, the figures and the JSON file."""
    state = jax.eval_shape(lambda p: ravel_state(cell.initial_state(p, ()), 0), params)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    layers = len(cell.cells) if isinstance(cell, cells.Stack) else 1
    one = cell.cells[0] if isinstance(cell, cells.Stack) else cell
    kind = type(one).__name__
    hidden = getattr(one, "hidden", None)
    facts = {"cell": kind, "hidden": hidden, "layers": layers, "parameters": parameters, "state": state.size}
    wanted = ("max_norm", "optimizer", "learning_rate", "batch_size", "steps", "seed")
    size = f"{state.size} numbers of state" if hidden is None else f"{hidden} units"
    size += f" in each of {layers} layers" if layers > 1 else ""
    found = Diagnosis(
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
        },
        model=facts | {name: known[name] for name in wanted if name in known},
        stages=stages,
        history={name: column for name, column in history.items() if name != "step"},
        versions={"jrnn": version("jrnn"), "jax": jax.__version__, "python": platform.python_version()},
        command=shlex.join(["jrnn", *sys.argv[1:]]),
        clipping_proof=proof,
    )
    print_report(found)
    written = write_report(found, out)
    page = next(path for path in written if path.suffix == ".html")
    say(f"\nThe report: {page} (figures and JSON beside it)")
    return 0


def settings(args: Namespace, dataset: data.Dataset) -> dict[str, Any]:
    """What a run is known by: its options, and the data it was trained on."""
    names = ("cell", "hidden", "layers", "learning_rate", "batch_size", "steps", "seed")
    source = args.data or "digits"
    facts = {"data": source if source in data.NAMES else os.path.abspath(source), "features": dataset.x.shape[2]}
    clip = None if np.isinf(args.max_norm) else args.max_norm
    return {name: getattr(args, name) for name in names} | facts | {"optimizer": "Adam", "max_norm": clip}


def load_data(args: Namespace) -> data.Dataset:
    """--data, split by --seed."""
    args.seed = 0 if args.seed is None else args.seed
    return data.load("digits" if args.data is None else args.data, seed=args.seed)


def require_extras(args: Namespace, figures: bool) -> None:
    """InputError before anything is computed if a package that the command ends with is not there."""
    packages = EXTRAS | ({"matplotlib": "plots"} if figures else {})
    packages |= {"tensorboardX": "train"} if args.tensorboard else {}
    for package, extra in packages.items():
        if importlib.util.find_spec(package) is None:
            raise InputError(f"package {package}", "not installed", f'pip install "jrnn[{extra}]"')


def checked_lag(lag: int | None, dataset: data.Dataset) -> int:
    """The lag to judge: the option's, or the data's."""
    longest = dataset.x.shape[1] - 1
    if lag is not None and not min(1, longest) <= lag <= longest:
        raise InputError(
            "--lag", lag, f"a lag from 1 to {longest}, one less than the {longest + 1} steps of {dataset.name}"
        )
    return dataset.lag if lag is None else lag


def output_folder(args: Namespace) -> Path:
    """--out, or the first free of jrnn-report, jrnn-report-2, ...; with --resume the last one there is."""
    if args.out == "":
        raise InputError("--out", "''", "a folder")
    if args.out is not None:
        return writable("--out", Path(args.out))
    taken = [path for path in names_from("jrnn-report") if path.exists()]
    if args.resume:
        runs = [path for path in taken if (path / "checkpoints").is_dir()]
        if not runs:
            raise InputError("--resume", "no run in jrnn-report*", "--out DIR, the folder of the run to go on with")
        return writable("--out", runs[-1])
    return writable("--out", next(path for path in names_from("jrnn-report") if not path.exists()))


def names_from(stem: str) -> list[Path]:
    """stem, stem-2, stem-3, ..."""
    return [Path(stem if i == 1 else f"{stem}-{i}") for i in range(1, 10_000)]


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, flush=True)
