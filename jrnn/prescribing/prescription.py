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
from jrnn.cures.base import Cure
from jrnn.prescribing.arguments import check_optimizer_maker, check_static, check_target, plain_rate, seconds_of
from jrnn.prescribing.candidates import AS_IT_IS, Arm, arms_for
from jrnn.prescribing.data_lags import DataLags, data_lags_of
from jrnn.prescribing.jobs import Failure, Job, Outcome
from jrnn.prescribing.paired import prediction
from jrnn.prescribing.problem import Plan
from jrnn.prescribing.race import Race, exploding
from jrnn.prescribing.result import Prescription
from jrnn.prescribing.schedule import INTERVALS, Cost, Schedule, schedule_for
from jrnn.prescribing.splitting import Parts, parts_of
from jrnn.prescribing.words import Facts, evidence, finding, recipe_of
from jrnn.prescribing.workers import workers_of
from jrnn.training.arguments import check_objective
from jrnn.types import InputError
from jrnn.unrolling.checks import check_count

PROBED = 3
"""Updates of every arm that tell what one costs."""
RESERVED = 0.9
"""Of what the budget leaves: the rest is for what the estimate cannot know, such as programs of the final's shapes."""


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
    workers: int | None = None,
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
        function data(step) -> batch, time-major, as `jrnn.training.fit` takes. Of a function, held-out batches are
        those of the steps from 2^20 on, which must hold other cases than the steps that are trained on.
      objective: as for `fit`; None beside `build`.
      lag: what the task needs, in steps; by default the data set's.
      budget: wall clock, in seconds, or as "90s", "10m", "1h", compilation included. It is turned once into a number of
        updates, which is told.
      updates: of a run in the final, instead of a budget, rounded down to one that the rungs divide: same seed and
        updates, same result but for times.
      seeds: in the final, at least 8.
      seed: of the final's first run; the others follow, and those of the race after them.
      candidates: a list of cures (`jrnn.cures`), texts such as "chrono:200", or tuples that act together; None for
        those that fit the cell, and what its gradient does.
      target: a held-out loss that counts as solved: then arms are compared by the updates it takes, a run that never
        reaches it counting as the whole run. By default a seventh of the way from the least loss of a task to its
        plateau, where these are known; where not, arms are compared by the held-out loss at the end.
      learning_rate: of the network as it is, a number; arms have a third and three times of it too.
      max_norm, batch_size, unroll_options: as for `fit`; options without arrays.
      optimizer: a function of the learning rate, such as `optax.adam`; it is called with a traced number.
      build: a training problem of your own around the cell: build(cell, key) -> (params, loss(params, batch, key));
        batches have the cases first, as `data` has them, and key is None on held-out batches: draw nothing then. The
        loss of one key serves all seeds, so it must depend on its arguments alone. Only cures that act on the cell are
        raced.
      executor: runs the arms, such as a `concurrent.futures.ProcessPoolExecutor`, or dask's or MPI's; what it gets is
        picklable if your arguments are. None runs them here.
      workers: how many arms the executor runs at a time, which a budget is turned into updates with; by default what
        it tells (the standard library's, dask's and mpi4py's do), else 1.
      say: is told what is going on, line by line; None for silence.
    Returns:
      a `Prescription`. After Ctrl-C it holds the table so far and recommends nothing. An arm that a cure makes fail
      stands in the table with the reason (`Row.failed`), and the others go on.
    Raises:
      InputError: an argument does not fit, the lag is not in the data, the budget is too short for one race (says what
        it needs), or a cure does not fit the cell.
    """
    started = time.perf_counter()
    check_cell(cell)
    if build is None:
        check_objective(objective)
    seeds = check_count("seeds", seeds, 8, "at least 8: with fewer, no interval excludes chance")
    seed = check_count("seed", seed, 0, "a whole number of at least 0")
    batch_size = check_count("batch_size", batch_size, 1, "a positive integer")
    rate, allowed = plain_rate(learning_rate), seconds_of(budget)
    check_optimizer_maker(optimizer)
    if updates is not None:
        updates = check_count("updates", updates, INTERVALS, f"at least {INTERVALS} updates")
    data = data.dataset(seed) if hasattr(data, "dataset") else data
    own = build is not None
    parts = parts_of(data, objective, batch_size, seed, own)
    lag = needed_lag(lag, data, parts)
    target = check_target(target, data)
    if candidates is not None:
        arms_for(cell, lag, candidates, own, False)  # refused before anything is computed
    each, as_given = bool(getattr(objective, "each", False)), own or callable(parts.train)
    plan = Plan(objective, optimizer, max_norm, (), check_static(unroll_options), each, as_given, build)
    held_out = {"choice": parts.choice, "final": parts.final}
    template = Job(cell, (), rate, plan, parts.train, held_out, batch_size, (), 0, 0, 1, None, lag)
    race = Race(
        template,
        Schedule.of(updates or 0, 3, seeds),
        seed,
        parts.floor,
        target,
        executor,
        say or silent,
        workers_of(executor, workers),
    )
    interrupted, lags = False, None
    try:
        lags = None if own else data_lags_of(parts, objective, lag)
        if lags is not None:
            race.say(lags.sentence)
        wild = prepare(race, candidates, lag, updates, allowed, started)
        finalists = race.finalists(wild)
        race.run_final([AS_IT_IS, *finalists])
    except KeyboardInterrupt:
        interrupted = True
    return concluded(race, lag, parts, lags, interrupted)


def silent(line: str) -> None:
    """Says nothing."""


def prepare(race: Race, candidates: Any, lag: int, updates: int | None, allowed: float, started: float) -> list[str]:
    """Chooses the arms by what the network as it is does, measures a few updates of each, and fixes the schedule; the
    names of arms whose gradient explodes beforehand."""
    own = Arm((), 1.0)
    race.say("measuring the network as it is ...")
    first = done(*race.run([probe(race, own)]))
    growing = bool(exploding({"": float(first.shares[0])}))
    arms = arms_for(race.template.cell, lag, candidates, race.template.plan.build is not None, growing)
    race.enter(arms)
    others = list({arm.cures: arm for arm in reversed(arms) if arm.cures}.values())[::-1]
    race.say(f"measuring {len(others)} cures ...")
    measured: dict[tuple[Cure, ...], Outcome] = {(): first}
    again = [own] * (race.workers > 1)  # it too is timed with others beside it
    for arm, outcome in zip([*others, *again], race.run([probe(race, a) for a in [*others, *again]]), strict=True):
        if isinstance(outcome, Failure):
            for same in (each for each in arms if each.cures == arm.cures):
                race.fails(same.name, outcome)
        else:
            measured[arm.cures] = outcome
    arms = [arm for arm in arms if arm.cures in measured]
    costs = {cures: Cost(outcome.seconds, outcome.evaluating) for cures, outcome in measured.items()}
    seeds = len(race.final_seeds)
    if updates is None:
        left = RESERVED * (allowed - (time.perf_counter() - started))
        race.schedule = schedule_for(
            left, len(arms), seeds, [costs[arm.cures] for arm in arms], costs[()], race.workers
        )
    else:
        race.schedule = Schedule.of(updates, len(arms), seeds)
    length = race.schedule.updates
    said = f"{length} updates for each run of the final, {len(arms)} arms, {seeds} seeds"
    race.say(f"{said} (the same again: updates={length}, seed={race.final_seeds[0]}).")
    return exploding({arm.name: float(measured[arm.cures].shares[0]) for arm in arms})


def done(outcome: Outcome | Failure) -> Outcome:
    """What came of the network as it is, which fails in its own words."""
    assert isinstance(outcome, Outcome)
    return outcome


def probe(race: Race, arm: Arm) -> Job:
    """A few updates of an arm."""
    return race.job(arm, race.race_seeds, 0, PROBED)._replace(interval=PROBED)


def concluded(race: Race, lag: int, parts: Parts, lags: DataLags | None, interrupted: bool) -> Prescription:
    """What the race says."""
    table = race.table()
    helps = [row for row in table if row.against is not None and row.against.helps]
    chosen = None if interrupted or not helps else helps[0]
    name = AS_IT_IS if chosen is None else chosen.name
    arm = race.arms.get(name, Arm((), 1.0))
    recommends = None if chosen is None else arm.cure if arm.cures else "learning_rate"
    rate = race.template.rate * arm.rate
    finished = name in race.final and not interrupted
    whole = finished and (race.target is None or bool(race.solved(name).all()))
    expected = prediction(race.figure(name)) if whole else (math.nan, math.nan)
    facts = Facts(race.target, race.schedule.updates, lag, expected, parts.floor, parts.floor_name)
    best = race.best(name) if finished else None
    return Prescription(
        recommends=recommends,
        sentence=finding(table, chosen, facts, interrupted),
        evidence="" if interrupted else evidence(table, chosen, facts),
        recipe="" if chosen is None or best is None else recipe_of(arm, rate, race.template, best),
        table=table,
        best=best,
        cures=arm.cures,
        learning_rate=rate,
        lag=lag,
        updates=race.schedule.updates,
        target=race.target,
        floor=parts.floor,
        floor_name=parts.floor_name,
        prediction=expected,
        train=parts.train,
        curves={row.name: race.curve(row.name) for row in table if row.seeds},
        data_lags=lags,
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
        needed = f"a lag from 1 to {longest}, one less than the {parts.steps} steps of the longest sequence"
        raise InputError("lag", repr(lag), needed)
    return int(lag)
