"""`prescribe`: measures, races what is known to help, and says what to do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
import optax

from jrnn.cells import check_cell
from jrnn.prescribing.arguments import check_target, seconds_of
from jrnn.prescribing.candidates import AS_IT_IS, Arm, arms_for
from jrnn.prescribing.jobs import Job
from jrnn.prescribing.paired import prediction
from jrnn.prescribing.problem import Plan
from jrnn.prescribing.race import Race
from jrnn.prescribing.result import Prescription
from jrnn.prescribing.schedule import Cost, Schedule, rounded, schedule_for
from jrnn.prescribing.splitting import Parts, parts_of
from jrnn.prescribing.words import Facts, evidence, finding, recipe_of
from jrnn.training.arguments import check_objective
from jrnn.training.optimizing import check_rate
from jrnn.training.unroll_options import check_options
from jrnn.types import InputError
from jrnn.unrolling.checks import check_count

PROBED = 3
"""Updates of every arm that tell what one costs."""


def prescribe(
    cell: Any,
    data: Any,
    objective: Any,
    *,
    lag: int | None = None,
    budget: float | str = 600,
    updates: int | None = None,
    seeds: int = 8,
    seed: int = 0,
    candidates: Any = None,
    target: float | None = None,
    learning_rate: float = 1e-3,
    max_norm: float | None = 1.0,
    batch_size: int = 32,
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.adam,
    unroll_options: dict[str, Any] | None = None,
    build: Callable[..., Any] | None = None,
    executor: Executor | None = None,
    say: Callable[[str], object] | None = None,
) -> Prescription:
    """Tries what is known to help a recurrent network on data of yours, and says with evidence whether it does.

    Arms are cures, and the network as it is, each at three learning rates. They are raced by successive halving with
    the same seeds and batches; on the plateau, where no loss tells anything, those go on whose gradient arrives at the
    lag. The best two meet the network as it is with `seeds` new seeds, on cases that took no part in the choice. A cure
    is recommended if its paired interval excludes "no difference", at 5 % for both finalists together; otherwise: keep
    yours. Nothing is said of longer runs than those of the final.

    Args:
      cell: the network as it is.
      data: a data set or a task of `jrnn.data`; a mapping {"x": [cases, T, F], "y": ..., "lengths": [cases]}; or a
        function data(step) -> batch, time-major, as `jrnn.training.fit` takes.
      objective: as for `fit`; None beside `build`.
      lag: what the task needs, in steps; by default the data set's.
      budget: wall clock, in seconds, or as "90s", "10m", "1h", compilation included. It is turned once into a number of
        updates, which is told.
      updates: of a run in the final, instead of a budget: same seed and updates, same result but for times.
      seeds: in the final, at least 8.
      seed: of the final's first run; the others follow, and those of the race after them.
      candidates: cures (`jrnn.cures`), texts such as "chrono:200", or tuples that act together; None for those that
        `jrnn.cures.advise` names.
      target: a held-out loss that counts as solved: then arms are compared by the updates it takes, a run that never
        reaches it counting as the whole run. By default a seventh of the way from the least loss there is to the data's
        plateau, where that is known; where it is not, arms are compared by the held-out loss at the end.
      learning_rate, max_norm, batch_size, unroll_options: as for `fit`, of the network as it is.
      optimizer: a function of the learning rate, such as `optax.adam`.
      build: a training problem of your own around the cell: build(cell, key) -> (params, loss(params, batch, key));
        batches have the cases first, as `data` has them. Only cures that act on the cell are raced then.
      executor: runs the arms, such as a `concurrent.futures.ProcessPoolExecutor`, or dask's or MPI's; what it gets is
        picklable if your arguments are. None runs them here.
      say: is told what is going on, line by line; None for silence.
    Returns:
      a `Prescription`. After Ctrl-C it holds the table so far and recommends nothing.
    Raises:
      InputError: an argument does not fit, the lag is not in the data, the budget is too short for one race (says what
        it needs), or a cure does not fit the cell.
    """
    started = time.perf_counter()
    check_cell(cell)
    tell = say or (lambda line: None)
    if build is None:
        check_objective(objective)
    seeds = check_count("seeds", seeds, 8, "at least 8: with fewer, no interval excludes chance")
    seed = check_count("seed", seed, 0, "a whole number of at least 0")
    batch_size = check_count("batch_size", batch_size, 1, "a positive integer")
    check_rate(learning_rate, None)
    check_options(unroll_options)
    allowed = seconds_of(budget)
    if updates is not None:
        updates = rounded(check_count("updates", updates, 18, "at least 18 updates"))
    data = data.dataset(seed) if hasattr(data, "dataset") else data
    parts = parts_of(data, objective, batch_size, seed)
    plateau = getattr(data, "plateau", None)
    if target is None and plateau is not None:
        best = getattr(data, "best_loss", 0.0)
        target = best + (plateau - best) / 7
    lag = needed_lag(lag, data, parts)
    check_target(target)
    arms = arms_for(cell, lag, candidates, build is not None)
    options = tuple(sorted((unroll_options or {}).items()))
    each = bool(getattr(objective, "each", False))
    plan = Plan(objective, optimizer, max_norm, (), options, each, build)
    held_out = {"choice": parts.choice, "final": parts.final}
    template = Job(cell, (), float(learning_rate), plan, parts.train, held_out, batch_size, (), 0, 0, 1, None, lag)
    race = Race(template, arms, Schedule(18, len(arms), seeds), seed, parts.floor, target, executor, tell)
    interrupted = False
    try:
        if updates is None:
            race.schedule = measured_schedule(race, arms, seeds, allowed, started)
        else:
            race.schedule = Schedule(updates, len(arms), seeds)
        runs = f"{race.schedule.updates} updates for each run of the final, {len(arms)} arms, {seeds} seeds"
        tell(f"{runs} (the same again: updates={race.schedule.updates}, seed={seed}).")
        finalists = race.finalists()
        race.run_final([AS_IT_IS, *finalists])
    except KeyboardInterrupt:
        interrupted = True
    return concluded(race, arms, lag, parts, interrupted)


def measured_schedule(race: Race, arms: tuple[Arm, ...], seeds: int, allowed: float, started: float) -> Schedule:
    """The longest schedule that the budget allows, from a few updates of every arm."""
    ones = [arm for arm in arms if arm.rate == 1]
    race.say(f"measuring {len(ones)} networks ...")
    jobs = [race.job(arm, race.race_seeds, 0, PROBED)._replace(interval=PROBED) for arm in ones]
    costs = {
        arm.cures: Cost(outcome.seconds, outcome.evaluating) for arm, outcome in zip(ones, race.run(jobs), strict=True)
    }
    left = allowed - (time.perf_counter() - started)
    return schedule_for(left, len(arms), seeds, [costs[arm.cures] for arm in arms], costs[()])


def concluded(race: Race, arms: tuple[Arm, ...], lag: int, parts: Parts, interrupted: bool) -> Prescription:
    """What the race says."""
    table = race.table()
    helps = [row for row in table if row.against is not None and row.against.high < 1]
    chosen = min(helps, key=lambda row: row.against.ratio if row.against else math.inf, default=None)
    if interrupted:
        chosen = None
    name = AS_IT_IS if chosen is None else chosen.name
    arm = race.arms[name]
    recommends = None if chosen is None else "learning_rate" if not arm.cures else arm.cure
    rate = race.template.rate * arm.rate
    finished = name in race.final
    expected = prediction(race.figure(name)) if finished else (math.nan, math.nan)
    facts = Facts(race.target, race.schedule.updates, lag, expected)
    return Prescription(
        recommends=recommends,
        sentence=finding(table, chosen, facts, interrupted),
        evidence="" if interrupted else evidence(table, chosen, facts),
        recipe="" if chosen is None else recipe_of(arm, rate, race.template),
        table=table,
        best=race.best(name) if finished and not interrupted else None,
        cures=arm.cures,
        learning_rate=rate,
        lag=lag,
        updates=race.schedule.updates,
        target=race.target,
        floor=parts.floor,
        prediction=expected,
        curves={row.name: race.curve(row.name) for row in table},
        interrupted=interrupted,
    )


def needed_lag(lag: int | None, data: Any, parts: Parts) -> int:
    """The lag that the task needs, or InputError."""
    longest = parts.steps - 1
    if lag is None:
        lag = getattr(data, "lag", None)
        if lag is None:
            raise InputError("lag", "None", f"the lag that the task needs, from 1 to {longest} steps")
    if isinstance(lag, bool) or not isinstance(lag, int | np.integer) or not 1 <= lag <= longest:
        raise InputError(
            "lag", repr(lag), f"a lag from 1 to {longest}, one less than the {parts.steps} steps of the data"
        )
    return int(lag)
