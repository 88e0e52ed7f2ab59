"""How often a race of equal arms recommends one of them: races resampled from recorded curves of the same network."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from benchmarks.tables import table

ARMS, RACES, ALLOWED = 10, 2000, 0.065
LAG, UNITS, BATCH, RATE, CASES = 10, 8, 32, 1e-2, 600
UPDATES, TOGETHER, RUNS = 360, 10, 10
"""Of each recorded run; runs in one program; runs of each arm."""
REACH = (0.9, 0.5)
"""Shares of the recorded runs that reach a target: runs that do not, and ties, are the hard part."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Records ten arms that are the same network with other seeds, then races arms made of those runs."""
    import numpy as np

    arms, races, updates, runs = (3, 20, 18, 4) if quick else (ARMS, RACES, UPDATES, RUNS)
    curves = []
    for arm in range(arms):
        say(f"null_races, recording arm {arm + 1} of {arms}")
        curves.append(recorded(range(arm * runs, (arm + 1) * runs), updates, 40 if quick else CASES))
    losses = np.concatenate([each for each, _ in curves], axis=1)  # [evaluations, arms * runs]
    shares = np.array([each for _, each in curves])
    lowest, rows = losses.min(axis=0), []
    targets = {
        f"updates to a target that {100 * share:.0f} % reach": float(np.quantile(lowest, share)) for share in REACH
    }
    for figure, target in {**targets, "held-out loss": None}.items():
        say(f"null_races, {races} races by {figure}")
        rng = np.random.default_rng(0)
        false = sum(recommends(rng, losses, shares, arms, updates, target) for _ in range(races))
        row = {"figure": figure, "target": target, "races": races, "false": false}
        rows.append(row | {"interval": interval(false, races)})
    return {"arms": arms, "runs": losses.shape[1], "updates": updates, "rows": rows}


def recorded(seeds: range, updates: int, cases: int) -> tuple[Any, Any]:
    """(held-out losses [evaluations, seeds], shares at the lag before and after) of one network."""
    import numpy as np
    import optax

    import jrnn
    from jrnn.prescribing.jobs import Job, run_job
    from jrnn.prescribing.problem import Plan
    from jrnn.prescribing.schedule import Schedule
    from jrnn.prescribing.splitting import parts_of
    from jrnn.training import Objective

    task = jrnn.data.adding(LAG)
    objective = Objective.of(task)
    parts = parts_of(task.dataset(0, cases=cases), objective, BATCH, 0)
    plan, interval = Plan(objective, optax.adam, 1.0), Schedule.of(updates, 3, 8).interval
    losses, shares = [], []
    for first in range(seeds.start, seeds.stop, TOGETHER):
        group = tuple(range(first, min(first + TOGETHER, seeds.stop)))
        found = run_job(
            Job(
                jrnn.gru(UNITS), (), RATE, plan, parts.train, {"choice": parts.choice}, BATCH, group, 0, updates,
                interval, lag=LAG,
            )
        )  # fmt: skip
        losses.append(found.losses["choice"])
        shares.append(found.shares)
    return np.concatenate(losses, axis=1), np.median(shares, axis=0)


def recommends(rng: Any, losses: Any, shares: Any, arms: int, updates: int, target: float | None) -> bool:
    """Whether a race of so many arms, each of runs drawn anew from all of them, ends with a recommendation."""
    import optax

    import jrnn
    from jrnn.cures import Rate
    from jrnn.prescribing.candidates import AS_IT_IS, Arm
    from jrnn.prescribing.jobs import Job
    from jrnn.prescribing.problem import Plan
    from jrnn.prescribing.race import Race
    from jrnn.prescribing.schedule import TOGETHER, Schedule

    schedule = Schedule.of(updates, arms, 8)
    entered = [Arm((), 1.0), *(Arm((Rate(1.0 + i),), 1.0) for i in range(1, arms))]
    runs = {arm.name: losses[:, rng.integers(losses.shape[1], size=8 + TOGETHER)] for arm in entered}
    arrives = {arm.name: shares[rng.integers(len(shares))] for arm in entered}
    job = Job(jrnn.gru(UNITS), (), RATE, Plan(None, optax.adam, None), {}, {"choice": {}, "final": {}}, 1, (), 0, 0, 1)
    race = Race(job, schedule, 0, 1 / 6, target, Played(runs, arrives), lambda line: None)
    race.enter(entered)
    race.run_final([AS_IT_IS, *race.finalists()])
    return any(race.against(name).helps for name in race.final if name != AS_IT_IS)


class Played(Executor):
    """Trains nothing: it plays the recorded curves of an arm, one for each seed of the race."""

    def __init__(self, runs: dict[str, Any], shares: dict[str, Any]):
        self.runs, self.shares = runs, shares

    def submit(self, function: Any, job: Any, /) -> Future:  # type: ignore[override]
        """The losses from job.first to job.last."""
        import numpy as np

        from jrnn.prescribing.candidates import Arm
        from jrnn.prescribing.jobs import Outcome

        name = Arm(job.cures, 1.0).name
        start, stop = job.first // job.interval, job.last // job.interval
        rows = self.runs[name][(start + (job.carry is not None)) : stop + 1, list(job.seeds)]
        first = next(iter(job.held_out))
        played = {each: rows if each == first else rows[-1:] for each in job.held_out}
        seeds = np.zeros(len(job.seeds))
        done: Future = Future()
        done.set_result(
            Outcome(seeds, played, self.shares[name], ~np.isfinite(rows[-1]), 1.0, 1.0, seeds.astype(int) + job.last)
        )
        return done


def interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share, by the binomial distribution's tails (Clopper, Pearson 1934)."""
    import scipy.special

    low = scipy.special.betaincinv(count, total - count + 1, 0.025) if count else 0.0
    high = scipy.special.betaincinv(count + 1, total - count, 0.975) if count < total else 1.0
    return float(low), float(high)


def show(report: dict[str, Any]) -> str:
    """The table."""
    rows = [
        (
            row["figure"],
            f"{row['races']:,}",
            str(row["false"]),
            f"{100 * row['false'] / row['races']:.2f} %",
            f"{100 * row['interval'][0]:.2f} % to {100 * row['interval'][1]:.2f} %",
            f"{100 * ALLOWED:.1f} %",
        )
        for row in report["rows"]
    ]
    return table(("arms compared by", "races", "recommend", "share", "95 % interval", "at most"), rows) + (
        f"\n{report['arms']} equal arms, each of runs drawn anew from {report['runs']} recorded runs of one network\n"
        f"(GRU, H = {UNITS}, adding:{LAG}, {report['updates']} updates). A recommendation is false: nothing differs.\n"
        "By design at most 5 % for both finalists together, of which one side, 2.5 %, is a recommendation."
    )
