"""The long expressive memory on the adding problem of 2,000 steps, beside its authors' own log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.charts import LOOK, sheet
from benchmarks.tables import table

LAG, UNITS, DT, BATCH, RATE, UPDATES, HELD_OUT, EVERY = 1000, 128, 0.0242, 50, 0.0026, 3000, 1000, 100
TARGET, SEEDS = 0.01, (0, 1)
FOLDER = Path(__file__).parent / "runs" / "long_adding"
AUTHORS = (
    0.162797, 0.176116, 0.172132, 0.166258, 0.166226, 0.178898, 0.167384, 0.169841, 0.171798, 0.176966, 0.162852,
    0.163943, 0.163108, 0.167172, 0.141458, 0.216298, 0.110139, 0.072934, 0.041148, 0.006378, 0.004597, 0.003722,
    0.003814, 0.002433, 0.00231, 0.002784, 0.001952, 0.001907, 0.001523, 0.002188, 0.001609,
)  # fmt: skip
"""Held-out losses of Rusch, Mishra, Erichson, Mahoney (2022) after 0, 100, ... updates, from their repository's log."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """As the authors trained it (Adam, no clipping), seed by seed; goes on where an interrupted run stopped."""
    import jrnn

    with TemporaryDirectory() as folder:
        runs, sizes = (Path(folder), (10, 6, 4, 2, 20)) if quick else (FOLDER, (LAG, UNITS, UPDATES, EVERY, HELD_OUT))
        losses = {str(seed): train(runs / str(seed), seed, *sizes, say) for seed in SEEDS}
    plateau = jrnn.data.adding(sizes[0]).plateau
    return {"lag": sizes[0], "units": sizes[1], "plateau": plateau, "target": TARGET, "losses": losses}


def train(
    folder: Path,
    seed: int,
    lag: int,
    units: int,
    updates: int,
    every: int,
    held_out: int,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Trains from checkpoint to checkpoint, writes each held-out loss beside them, returns them by updates."""
    import jax
    import optax

    import jrnn
    from jrnn.training import Objective, fit

    task, cell = jrnn.data.adding(lag), jrnn.lem(units, dt=DT)
    draw = jax.jit(lambda step: task.batch(jax.random.fold_in(jax.random.key(seed), step), BATCH))
    unseen = task.batch(jax.random.key(10**6), held_out)
    objective, optimizer = Objective.of(task), optax.adam(RATE)

    @jax.jit
    def held_out_loss(params: Any, loss_params: Any) -> jax.Array:
        value = objective(loss_params, jrnn.unroll(cell, params, unseen["x"]), unseen)
        return value[0] if isinstance(value, tuple) else value

    kept = folder.with_suffix(".json")
    losses = json.loads(kept.read_text()) if kept.exists() else {}
    for end in range(every, updates + 1, every):
        if str(end) in losses:
            continue
        fitted = fit(
            cell, objective, draw, steps=end, optimizer=optimizer, max_norm=None, out=folder, resume=folder.exists(),
            checkpoint_every=every, log_every=every, flow_every=None, seed=seed,
        )  # fmt: skip
        losses[str(end)] = float(held_out_loss(fitted.params, fitted.loss_params))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(losses))
        say(f"long_adding, seed {seed}: {end} updates, held-out loss {losses[str(end)]:.5f}")
    return losses


def first_below(losses: dict[int, float], target: float) -> int | None:
    """The first count of updates with a loss below the target."""
    return next((count for count, loss in sorted(losses.items()) if loss < target), None)


def curves(report: dict[str, Any]) -> dict[str, dict[int, float]]:
    """Held-out losses by the count of updates: ours, seed by seed, and the authors'."""
    ours = {
        f"jrnn, seed {seed}": {int(count): loss for count, loss in losses.items()}
        for seed, losses in report["losses"].items()
    }
    return ours | {"authors": {EVERY * index: loss for index, loss in enumerate(AUTHORS)}}


def show(report: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for name, losses in curves(report).items():
        last = max(losses)
        rows.append((name, str(first_below(losses, report["target"]) or "-"), f"{losses[last]:.5f}", str(last)))
    return table(("run", f"updates to {report['target']}", "loss", "after"), rows) + (
        f"\nAdding, T = {2 * report['lag']:,}, LEM with H = {report['units']}, dt = {DT}, B = {BATCH}, "
        f"Adam {RATE}, no clipping;\nheld-out loss every {EVERY} updates on {HELD_OUT:,} cases; "
        f"the best constant has {report['plateau']:.3f}."
    )


def draw(report: dict[str, Any]) -> dict[str, Any]:
    """Loss against updates, ours and the authors'."""
    from jrnn.report.figures import style

    figure, axes = sheet(1, 1, (6.4, 3.6))
    panel = axes[0][0]
    style.furnish(panel, LOOK, "update", "held-out loss")
    for (name, losses), color in zip(curves(report).items(), LOOK.lines, strict=False):
        panel.plot(list(losses), list(losses.values()), color=color, label=name)
    panel.axhline(report["plateau"], color=LOOK.soft, linewidth=1, linestyle="--", label="best constant")
    panel.set_yscale("log")
    panel.legend(frameon=False)
    return {"long_adding": figure}
