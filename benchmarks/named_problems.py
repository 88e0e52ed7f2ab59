"""Cures and cells on the problem each is made for, beside the network without: where they win, and where they lose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jrnn
from benchmarks.cures import BATCH, HELD_OUT, Fresh, held_out_batch
from benchmarks.tables import number, table
from jrnn import cures
from jrnn.cures import Cure, cure
from jrnn.prescribing.jobs import Job, run_job
from jrnn.prescribing.problem import Plan
from jrnn.training import Objective

UNITS, EVERY, SEEDS = 64, 50, (0, 1, 2)
USUAL = (2e-3, 6e-3, 2e-3 / 3)
"""A cure that changes the scale of what is learnt from is tried at all of them, and so is the network without it."""


class Trial(NamedTuple):
    """A network on a problem, as it is or under cures."""

    problem: str
    network: str
    label: str
    cures: tuple[Any, ...] = ()
    rates: tuple[float, ...] = USUAL[:1]
    updates: int = 600
    max_norm: float | None = 1.0


@dataclass(frozen=True)
class Adds(Cure):
    """A penalty that is no cure of the catalogue."""

    penalty: Any
    name = "penalty"

    def on_training(self, training: cures.Training) -> cures.Training:
        return training._replace(penalties=(*training.penalties, self.penalty))


@dataclass(frozen=True)
class Zones(Cure):
    """Zoneout, which the catalogue does not have."""

    rate: float
    name = "zoneout"

    def on_cell(self, cell: Any) -> Any:
        return cures.zoneout(cell, self.rate)


def trials() -> list[Trial]:
    """All of them; a problem's first row of a network is the network as it is."""
    bit, long_bit, coin, copy = "marked-bit:50", "marked-bit:200", "two-lag-coin:20", "copy:40"
    digits = "digits by rows"
    found = [Trial(bit, "elman", "as it is", (), USUAL, 1000)]
    found += [Trial(bit, "elman", "omega:2", ("omega:2",), USUAL)]
    found += [Trial(bit, "elman", "lyapunov_penalty(1)", (Adds(cures.lyapunov_penalty(1.0)),), USUAL)]
    found += [
        Trial(bit, name, "as it is") for name in ("min_gru, t_max=50", "min_gru", "min_lstm, t_max=50", "min_lstm")
    ]
    found += [Trial(bit, name, "as it is") for name in ("rg_lru, t_max=50", "rg_lru")]
    for label, given, max_norm in (("no clip", (), None), ("clip 1", (), 1.0)):
        found.append(Trial(bit, "lstm", label, given, USUAL[:2], max_norm=max_norm))
    for text in ("auto-clip:10", "z-clip:2.5"):
        found.append(Trial(bit, "lstm", text, (text,), USUAL[:2], max_norm=None))
    found += [Trial(long_bit, "gru", label, given) for label, given in (
        ("as it is", ()), ("uniform-gate:200", ("uniform-gate:200",)), ("refine", ("refine",)),
        ("uniform-gate:200, refine", ("uniform-gate:200", "refine")),
    )]  # fmt: skip
    found += [Trial(coin, name, "as it is", updates=300) for name in ("elman", "lru", "linear")]
    for text in ("", "scale-gradient:0.5", "h-detach:0.25"):
        found.append(Trial(copy, "lstm, t_max=40", text or "as it is", (text,) if text else (), USUAL[:2], 1000))
    for label, given in (
        ("as it is", ()),
        ("zoneout(.5)", (Zones(0.5),)),
        ("activation_penalty(2)", (Adds(cures.activation_penalty(2.0)),)),
        ("temporal_activation_penalty(1)", (Adds(cures.temporal_activation_penalty(1.0)),)),
        ("norm-stabilizer:1", ("norm-stabilizer:1",)),
    ):
        found.append(Trial(digits, "lstm", label, given, USUAL))
    return found


def network(name: str, units: int) -> Any:
    """A cell by its name and, after a comma, its time constant."""
    kind, _, option = name.partition(", t_max=")
    return getattr(jrnn, kind)(units, **({"t_max": float(option)} if option else {}))


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Every trial at each of its rates, the seeds side by side in one program."""
    units, seeds = (5, (0, 1)) if quick else (UNITS, SEEDS)
    rows = []
    for trial in trials()[1:2] if quick else trials():
        say(f"named_problems {trial.problem}, {trial.network}, {trial.label}")
        problem = "marked-bit:6" if quick else trial.problem
        data, held_out, objective, target = problem_of(problem, 50 if quick else HELD_OUT)
        applied = tuple(cure(each) if isinstance(each, str) else each for each in trial.cures)
        for rate in trial.rates[:1] if quick else trial.rates:
            updates, every = (4, 2) if quick else (trial.updates, EVERY)
            training = tuple(each for each in applied if each.trains)
            plan = Plan(objective, optax.adam, trial.max_norm, training, as_given=callable(data))
            job = Job(
                network(trial.network, units), applied, rate, plan, data, held_out, BATCH, seeds, 0, updates, every
            )
            losses = run_job(job).losses["final"]
            described = {name: value for name, value in trial._asdict().items() if name not in ("cures", "rates")}
            rows.append(described | {"rate": rate, "target": target, "every": every, "losses": losses.tolist()})
    return {"rows": rows}


def problem_of(name: str, cases: int) -> tuple[Any, dict[str, Any], Any, float | None]:
    """(data, held-out cases, objective, the loss that counts as solved); 200 digits, row by row, have no such loss."""
    if name != "digits by rows":
        task = jrnn.data.task(name)
        solved = task.best_loss + (task.plateau - task.best_loss) / 7
        return Fresh(task), {"final": held_out_batch(task, jax.random.key(10**6), cases)}, Objective.of(task), solved
    digits = jrnn.data.load("digits")
    x, y = digits.x.reshape(len(digits.x), 8, 8), np.asarray(digits.y)
    train = digits.train[:200]
    held_out = {"x": np.swapaxes(x[digits.test], 0, 1)[None], "y": y[digits.test][None]}
    return {"x": x[train], "y": y[train]}, {"final": held_out}, Objective("classify", 10), None


def show(report: dict[str, Any]) -> str:
    """The table: a line for each rate."""
    rows = []
    for row in report["rows"]:
        losses = np.asarray(row["losses"])
        solved = losses < (-np.inf if row["target"] is None else row["target"])
        first = sorted(int(curve.argmax()) * row["every"] for curve in solved.T if curve.any())
        rows.append((
            row["problem"], row["network"], row["label"], f"{row['rate']:.2g}",
            "-" if row["target"] is None else f"{len(first)}/{losses.shape[1]}",
            ", ".join(map(str, first)) or "-", number(float(np.median(losses.min(axis=0)))), str(row["updates"]),
        ))  # fmt: skip
    head = ("problem", "network", "", "rate", "solved", "updates", "best loss", "of")
    return table(head, rows) + (
        f"\nH = {UNITS}, B = {BATCH}, Adam, clip 1 where nothing else is said, {len(SEEDS)} seeds; held-out loss every "
        f"{EVERY} updates; best loss: the median over seeds.\nSolved: a seventh of the way from the least loss to that "
        "without the lag; 200 digits by rows have no such loss."
    )
