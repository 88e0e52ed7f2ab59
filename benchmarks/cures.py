"""Cure by cure: updates until a bit marked 200 steps ago is learnt, and what arrives at that lag before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.charts import LOOK, sheet
from benchmarks.tables import table

LAG, UNITS, BATCH, HELD_OUT, EVERY = 200, 64, 50, 1000, 50
TARGET = 0.1
SEEDS = (0, 1, 2, 3, 4)


class Arm(NamedTuple):
    """A network, what is done to it, and what the acceptance asks of it."""

    label: str
    cell: str
    cures: tuple[str, ...] = ()
    updates: int = 300
    rate: float = 2e-3
    max_norm: float = 1.0
    needed: str = ""


SMALL = {"rate": 5e-4, "max_norm": 0.1}
ARMS = (
    Arm("LSTM", "lstm", updates=1000, needed="above .6"),
    Arm("LSTM, chrono", "lstm", (f"chrono:{LAG}",), needed="5/5"),
    Arm("GRU", "gru", updates=1000, needed="above .6"),
    Arm("GRU, chrono", "gru", (f"chrono:{LAG}",), needed="5/5"),
    Arm("GRU, uniform-gate", "gru", (f"uniform-gate:{LAG}",), 1000),
    Arm("Elman", "elman", updates=1000, needed="above .6"),
    Arm("Elman, leaky", "elman", (f"leaky:{LAG}",), needed="5/5"),
    Arm("Elman, orthogonal modReLU", "elman", ("orthogonal",), needed="5/5"),
    Arm("min-gru", "gru", (f"min-gru:{LAG}",), 1500, needed="5/5"),
    Arm("Elman, tune-gain, rate 5e-4", "gaussian", ("tune-gain",), **SMALL),
    Arm("Elman, floss, rate 5e-4", "gaussian", ("floss",), needed="3/5", **SMALL),
    Arm("Elman Gaussian, rate 5e-4", "gaussian", (), **SMALL),
)


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Every arm with five seeds side by side in one program."""
    import jax
    import numpy as np
    import optax

    import jrnn
    from jrnn.cures import cure
    from jrnn.prescribing.jobs import Job, run_job
    from jrnn.prescribing.problem import Plan
    from jrnn.training import Objective

    lag, units, seeds = (12, 6, (0, 1)) if quick else (LAG, UNITS, SEEDS)
    task = jrnn.data.marked_bit(lag)
    cells = {
        "lstm": jrnn.lstm(units),
        "gru": jrnn.gru(units),
        "elman": jrnn.elman(units),
        "gaussian": jrnn.elman(units, w_rec="gaussian"),
    }
    held_out = {"final": held_out_batch(task, jax.random.key(10**6), 50 if quick else HELD_OUT)}
    rows = []
    for arm in ARMS[6:8] if quick else ARMS:
        say(f"cures {arm.label}")
        applied = tuple(cure(text.replace(str(LAG), str(lag))) for text in arm.cures)
        training = tuple(each for each in applied if each.trains)
        plan = Plan(Objective.of(task), optax.adam, arm.max_norm, training, as_given=True)
        updates, every = (6, 3) if quick else (arm.updates, EVERY)
        found = run_job(
            Job(
                cells[arm.cell], applied, arm.rate, plan, Fresh(task), held_out, BATCH, seeds, 0, updates, every,
                lag=lag, stop_below=TARGET,
            )
        )  # fmt: skip
        losses = found.losses["final"]
        reached = losses < TARGET
        first = np.where(reached.any(axis=0), reached.argmax(axis=0) * every, -1)
        rows.append(
            {
                "label": arm.label,
                "arrives": found.shares.tolist(),
                "updates": first.tolist(),
                "losses": losses.tolist(),
                "milliseconds": 1000 * found.seconds / len(seeds),
                "every": every,
                "budget": updates,
                "needed": arm.needed,
            }
        )
    return {"lag": lag, "units": units, "plateau": task.plateau, "target": TARGET, "rows": rows}


class Fresh:
    """data(step): fresh cases for every update."""

    def __init__(self, task: Any):
        import jax

        self.draw = jax.jit(lambda step: task.batch(jax.random.fold_in(jax.random.key(0), step), BATCH))

    def __call__(self, step: int) -> dict[str, Any]:
        return self.draw(step)


def held_out_batch(task: Any, key: Any, count: int) -> dict[str, Any]:
    """Held-out cases as one batch."""
    import numpy as np

    return {name: np.asarray(array)[None] for name, array in task.batch(key, count).items()}


def show(report: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for row in report["rows"]:
        solved = [count for count in row["updates"] if count >= 0]
        last = sorted(row["losses"][-1])
        rows.append(
            (
                row["label"],
                f"{100 * row['arrives'][0]:.1e} %",
                f"{len(solved)}/{len(row['updates'])}",
                ", ".join(map(str, sorted(solved))) or "-",
                f"{last[len(last) // 2]:.3f}",
                f"{row['budget']}",
                f"{row['milliseconds']:.1f}",
                row["needed"] or "-",
            )
        )
    head = ("network", "arrives before", "solved", f"updates to {report['target']}", "loss", "of", "ms", "needed")
    return table(head, rows) + (
        f"\nMarked bit, lag {report['lag']}, H = {report['units']}, B = {BATCH}, Adam, fresh cases; held-out loss "
        f"every {EVERY} updates on {HELD_OUT:,} cases;\n"
        f"without the lag it is {report['plateau']:.3f}. Arrives: of a pull on "
        "the last output. ms: of one update of one seed."
    )


def draw(report: dict[str, Any]) -> dict[str, Any]:
    """Loss against updates, and what arrives at the lag before training, cure by cure; networks as they are in grey."""
    from jrnn.report.figures import style

    figure, axes = sheet(1, 2, (9.6, 3.9), width_ratios=(5, 3))
    curves, bars = axes[0]
    style.furnish(curves, LOOK, "update", "held-out loss, median of 5 seeds")
    style.furnish(bars, LOOK, "share that arrives before training", "")
    shown = [row for row in report["rows"] if "rate" not in row["label"] or "floss" in row["label"]]
    treated = [row["label"] for row in shown if "," in row["label"] or row["label"] == "min-gru"]
    colors = dict(zip(treated, (*LOOK.lines, LOOK.text), strict=False))
    for i, row in enumerate(shown):
        color = colors.get(row["label"], LOOK.soft)
        solved = row["updates"].count(-1) == 0
        style_of = {"color": color, "linewidth": 2, "linestyle": "-" if solved else (0, (4, 1.5))}
        middle = [sorted(losses)[len(losses) // 2] for losses in row["losses"]]
        curves.plot([j * row["every"] for j in range(len(middle))], middle, **style_of)
        bars.barh(i, max(row["arrives"][0], 1e-30), color=color)
    curves.axhline(report["target"], color=LOOK.good, linewidth=1.5, linestyle="-.")
    curves.set_yscale("log")
    curves.set_ylim(1e-3, 2)
    curves.set_xlim(0, 1000)
    bars.set_xscale("log")
    bars.set_xlim(1e-30, 3)
    bars.grid(False, axis="y")
    bars.set_yticks(range(len(shown)), [row["label"] for row in shown], color=LOOK.text)
    bars.invert_yaxis()
    title = f"A bit to be kept for {report['lag']} steps: seven cures, and the networks as they are (grey)"
    figure.suptitle(title, x=0.01, ha="left", color=LOOK.text, fontsize=11, fontweight="bold")
    return {"cures": figure}
