"""Who goes on, and what a whole race says, on recorded curves: against a plain NumPy race, and races of equal arms."""

import math
from concurrent.futures import Future

import numpy as np
import pytest

import jrnn
from jrnn.prescribing.candidates import AS_IT_IS, Arm
from jrnn.prescribing.halving import Record, survivors, updates_to_target
from jrnn.prescribing.jobs import Job, Outcome
from jrnn.prescribing.problem import Plan
from jrnn.prescribing.race import Race, exploding
from jrnn.prescribing.schedule import INTERVALS, Cost, Schedule, schedule_for
from jrnn.types import InputError

POINTS = INTERVALS + 1


class Recorded:
    """An executor that trains nothing: it looks losses up, by arm and seed."""

    def __init__(self, curves, shares):
        self.curves, self.shares = curves, shares

    def submit(self, function, job):
        """[POINTS, seeds] of the arm, from job.first to job.last."""
        name = " + ".join(str(cure) for cure in job.cures) or AS_IT_IS
        start, stop = job.first // job.interval, job.last // job.interval
        rows = self.curves[name][(start + 1 if job.carry is not None else start) : stop + 1, list(job.seeds)]
        first = next(iter(job.held_out))
        losses = {key: rows if key == first else rows[-1:] for key in job.held_out}
        before, later = self.shares[name][start], self.shares[name][stop]
        done = Future()
        diverged, updates = ~np.isfinite(rows[-1]), np.full(len(job.seeds), job.last)
        done.set_result(
            Outcome(np.zeros(len(job.seeds)), losses, np.array([before, later]), diverged, 1.0, 1.0, updates)
        )
        return done


class Named:
    """In the place of a cure."""

    trains = False

    def __init__(self, name):
        self.option = name

    def __str__(self):
        return self.option


def race_of(curves, shares, target, floor, seeds=8):
    arms = [Arm(() if name == AS_IT_IS else (Named(name),), 1.0) for name in curves]
    schedule = Schedule.of(INTERVALS, len(arms), seeds)
    held_out = {"choice": {}, "final": {}}
    job = Job(jrnn.elman(2), (), 1e-3, Plan(None, None, None), {}, held_out, 1, (), 0, 0, 1, None, 5)
    race = Race(job, schedule, 0, floor, target, Recorded(curves, shares), lambda line: None)
    race.enter(arms)
    return race


def run(race):
    """(finalists, those recommended)."""
    finalists = race.finalists(wild(race))
    race.run_final([AS_IT_IS, *finalists])
    return finalists, [name for name in finalists if race.against(name).helps]


def wild(race):
    """Those that explode beforehand."""
    return exploding({name: float(race.executor.shares[name][0]) for name in race.arms})


def random_curves(rng, arms):
    """Losses that wander, some off the plateau, some diverging, and shares of any size."""
    names = [AS_IT_IS, *(f"cure {i}" for i in range(arms - 1))]
    curves, shares = {}, {}
    for name in names:
        slope = rng.choice([0.0, 0.0, 0.05, 0.3])
        noise = rng.normal(0, 0.02, (POINTS, 12)).cumsum(axis=0)
        curves[name] = 0.7 * np.exp(-slope * np.arange(POINTS)[:, None] + noise)
        if rng.random() < 0.1:
            curves[name][rng.integers(1, POINTS) :, rng.integers(12)] = np.nan
        shares[name] = 10.0 ** (rng.uniform(-20, 1) + rng.normal(0.1, 0.2, POINTS).cumsum())
    return curves, shares


def plain_finalists(curves, shares, target, floor, seeds=(8, 9)):
    """Successive halving in a few lines: rank, keep a third, go on; written from the description alone."""
    names = list(curves)
    kept = max(2, math.ceil(len(names) / 3))
    rungs = [(2, kept), (6, 2)] if kept > 2 else [(6, 2)]
    names = [name for name in names if shares[name][0] <= 100 or name == AS_IT_IS]
    for last, keep in rungs:
        ranks = {}
        for name in names:
            losses = curves[name][: last + 1, list(seeds)]
            end = losses[-1]
            hits = [next((i for i, x in enumerate(column) if x < target), None) for column in losses.T]
            if np.isnan(end).any():
                ranks[name] = (4, np.isnan(end).sum())
            elif any(hit is not None for hit in hits):
                count = sum(hit is not None for hit in hits)
                soon = np.mean([last + 1 if hit is None else hit for hit in hits])
                ranks[name] = (0, -count, soon, np.median(end))
            elif np.median(end) < 0.9 * floor:
                ranks[name] = (1, np.median(end))
            else:
                now, then = math.log(shares[name][last]), math.log(shares[name][0])
                ranks[name] = (2, max(0.0, then - 2 * now), max(0.0, -now), np.median(end))
        order = sorted(names, key=lambda name: ranks[name])
        names = [n for n in order if n != AS_IT_IS][:keep] if last == 6 else order[:keep]
    return names


@pytest.mark.parametrize("arms", [3, 6, 7, 10, 21])
def test_survivors_are_those_of_a_plain_halving(arms):
    for seed in range(20):
        curves, shares = random_curves(np.random.default_rng(seed), arms)
        race = race_of(curves, shares, 0.1, 0.69)
        assert race.finalists(wild(race)) == plain_finalists(curves, shares, 0.1, 0.69), seed


def test_what_goes_on_first():
    """Solved, then off the plateau, then where the share at the lag is heading, then the rest; diverged last."""
    flat, low, solved = np.full((3, 2), 0.69), np.full((3, 2), 0.5), np.array([[0.69] * 2, [0.3] * 2, [0.05] * 2])
    shares = {"dead": (1e-27, 1e-27), "opening": (1e-6, 1e-3), "open": (0.2, 0.2), "off": (1e-9, 1e-9)}
    records = {name: Record(flat, np.array(pair), 0.69, 0.1) for name, pair in shares.items()}
    records["off"] = Record(low, np.array(shares["off"]), 0.69, 0.1)
    records["solved"] = Record(solved, np.array([1e-9, 1e-9]), 0.69, 0.1)
    records["diverged"] = Record(np.where([[0], [0], [1]], np.nan, low), np.array([1.0, 1.0]), 0.69, 0.1)
    assert survivors(records, 9) == ["solved", "off", "opening", "open", "dead", "diverged"]
    assert survivors({"a": records["dead"], "b": records["dead"]}, 1) == ["a"]


def test_updates_to_target():
    losses = np.array([[0.7, 0.05, 0.7], [0.09, 0.05, 0.7], [0.2, 0.7, 0.7]])
    assert updates_to_target(losses, 0.1, 10).tolist() == [10, 10, 20]


@pytest.mark.parametrize("target", [0.45, None])
def test_equal_arms_are_seldom_recommended(target):
    """Races of 10 equal arms, resampled from recorded curves: at most 6.5 % end with a recommendation."""
    rng = np.random.default_rng(0)
    pool = 0.7 * np.exp(-rng.gamma(2.0, 0.02, (400, 1)) * np.arange(POINTS) + rng.normal(0, 0.03, (400, POINTS)))
    names = [AS_IT_IS, *(f"cure {i}" for i in range(9))]
    false = 0
    for _ in range(500):
        curves = {name: pool[rng.integers(400, size=10)].T for name in names}
        shares = {name: np.full(POINTS, 0.1) for name in names}
        false += bool(run(race_of(curves, shares, target, 0.69))[1])
    assert false <= 0.065 * 500
    assert false > 0, "a test that recommends nothing at all says nothing"


def test_a_better_arm_is_recommended():
    rng = np.random.default_rng(2)
    curves = {AS_IT_IS: 0.7 + rng.normal(0, 0.01, (POINTS, 10)), "good": None, "poor": 0.7 + np.zeros((POINTS, 10))}
    curves["good"] = 0.7 * np.exp(-0.2 * np.arange(POINTS)[:, None] + rng.normal(0, 0.01, (POINTS, 10)))
    shares = {name: np.full(POINTS, 0.1) for name in curves}
    for target in (0.1, None):
        assert run(race_of(curves, shares, target, 0.69))[1] == ["good"]


def test_what_explodes_is_left_out():
    curves = {name: np.full((POINTS, 10), 0.7) for name in (AS_IT_IS, "wild", "tame", "dull")}
    curves["wild"] = curves["wild"] - 0.1 * np.arange(POINTS)[:, None] / POINTS
    shares = {name: np.full(POINTS, 1e3 if name == "wild" else 0.1) for name in curves}
    race = race_of(curves, shares, None, 0.69)
    assert "wild" not in race.finalists(wild(race)) and "wild" in race.left and "wild" not in race.seen


def test_without_a_floor_the_loss_decides_only_where_nothing_is_known_of_the_gradient():
    better, worse = np.full((3, 2), 0.5), np.full((3, 2), 0.6)
    known = {
        "a": Record(worse, np.array([0.2, 0.2]), None, None),
        "b": Record(better, np.array([1e-9, 1e-9]), None, None),
    }
    assert survivors(known, 2) == ["a", "b"]
    unknown = {name: record._replace(shares=np.full(2, np.nan)) for name, record in known.items()}
    assert survivors(unknown, 2) == ["b", "a"]
    negative = Record(np.full((3, 2), -1.0), np.array([1e-9, 1e-9]), -1.0, None)
    assert not negative.off_the_plateau(-1.05) and negative.off_the_plateau(-1.2)


def test_the_schedule_fits_its_budget():
    costs = [Cost(0.01, 0.05), *[Cost(0.02, 0.1)] * 8]
    found = schedule_for(100.0, 9, 8, costs, costs[0])
    assert found.seconds(costs, costs[0]) <= 100
    assert Schedule.of(1.3 * found.updates, 9, 8).seconds(costs, costs[0]) > 100
    with pytest.raises(InputError, match="budget"):
        schedule_for(1.0, 9, 8, costs, costs[0])


@pytest.mark.parametrize("updates", [1, 18, 100, 459, 1000, 9007])
def test_evaluations_divide_every_rung(updates):
    """At least 18 of them, at most 25 updates apart, and nearly all of the updates asked for."""
    found = Schedule.of(updates, 9, 8)
    assert found.interval <= 25 and found.updates <= max(updates, INTERVALS) < found.updates + 0.1 * updates + INTERVALS
    assert all(last % found.interval == 0 for _, last in found.rungs) and found.updates >= INTERVALS * found.interval

    assert Schedule.of(found.updates, 9, 8) == found
