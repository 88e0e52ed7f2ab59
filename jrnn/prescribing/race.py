"""The race itself: arms, rungs and the final, and what was seen of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import jax
import numpy as np

from jrnn.cures.base import apply_to_cell
from jrnn.prescribing.candidates import AS_IT_IS, Arm
from jrnn.prescribing.halving import EXPLODES, Record, survivors, updates_to_target
from jrnn.prescribing.jobs import Failure, Job, Outcome, attempt
from jrnn.prescribing.paired import FAMILY, Paired, paired
from jrnn.prescribing.result import Best, Row
from jrnn.prescribing.schedule import FINALISTS, TOGETHER, Schedule


class Race:
    """The arms, what was seen of each, and who is still in."""

    def __init__(
        self,
        template: Job,
        schedule: Schedule,
        seed: int,
        floor: float | None,
        target: float | None,
        executor: Executor | None,
        say: Callable[[str], object],
        workers: int = 1,
    ):
        self.template, self.schedule, self.floor, self.target = template, schedule, floor, target
        self.executor, self.say, self.workers = executor, say, workers
        self.final_seeds = tuple(range(seed, seed + schedule.seeds))
        self.race_seeds = tuple(range(seed + schedule.seeds, seed + schedule.seeds + TOGETHER))
        self.arms: dict[str, Arm] = {}
        self.seen: dict[str, Outcome] = {}
        """Of the race before the final, each with all its losses so far."""
        self.final: dict[str, Outcome] = {}
        self.left: list[str] = []
        """Arms that left the race, in that order."""
        self.failed: dict[str, str] = {}
        """Arms that could not be run, and why."""

    def enter(self, arms: Sequence[Arm]) -> None:
        """Takes the arms in."""
        self.arms = {arm.name: arm for arm in arms}

    def job(self, arm: Arm, seeds: tuple[int, ...], first: int, last: int, carry: object = None) -> Job:
        """Some updates of an arm, evaluated on the cases of the choice."""
        plan = replace(self.template.plan, cures=tuple(cure for cure in arm.cures if cure.trains))
        held_out = {"choice": self.template.held_out["choice"]}
        return self.template._replace(
            cures=arm.cures, rate=self.template.rate * arm.rate, plan=plan, seeds=seeds, first=first, last=last,
            carry=carry, interval=self.schedule.interval, held_out=held_out,
        )  # fmt: skip

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome | Failure]:
        """The outcomes of jobs, in their order, each as soon as it is there; those not begun are given up with it."""
        if self.executor is None:
            yield from map(attempt, jobs)
            return
        futures = [self.executor.submit(attempt, job) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def fails(self, name: str, failure: Failure) -> None:
        """Takes an arm out of the race that could not be run."""
        self.failed[name] = failure.why
        self.say(f"{name} failed: {failure.why}")

    def rung(self, names: Sequence[str], last: int) -> list[str]:
        """Trains these arms on to `last` updates with the seeds of the race; those that did not fail."""
        before = [self.seen.get(name) for name in names]
        jobs = [
            self.job(self.arms[name], self.race_seeds, int(old.updates.max()) if old else 0, last, old and old.carry)
            for name, old in zip(names, before, strict=True)
        ]
        for name, old, new in zip(names, before, self.run(jobs), strict=True):
            if isinstance(new, Failure):
                self.fails(name, new)
                continue
            if old is not None:
                losses = {each: np.concatenate([old.losses[each], new.losses[each]]) for each in new.losses}
                new = new._replace(losses=losses, shares=np.array([old.shares[0], new.shares[1]]))
            self.seen[name] = new
        return [name for name in names if name not in self.failed]

    def records(self, names: Sequence[str]) -> dict[str, Record]:
        """What decides who goes on."""
        return {
            name: Record(self.seen[name].losses["choice"], self.seen[name].shares, self.floor, self.target)
            for name in names
        }

    def finalists(self, exploding: Sequence[str] = ()) -> list[str]:
        """The best arms but the network as it is, after the rungs; those that explode beforehand never start."""
        self.left += exploding
        names = [name for name in self.arms if name not in exploding and name not in self.failed]
        rungs = self.schedule.rungs
        for i, (_, last) in enumerate(rungs):
            self.say(f"{len(names)} arms, to update {last} ...")
            names = self.rung(names, last)
            keep = rungs[i + 1][0] if i + 1 < len(rungs) else FINALISTS
            ranked = list(survivors(self.records(names), len(names)))
            if i + 1 == len(rungs):
                ranked = [name for name in ranked if name != AS_IT_IS]
            self.left += reversed(ranked[keep:])
            names = ranked[:keep]
        return names

    def run_final(self, names: Sequence[str]) -> None:
        """Trains the finalists and the network as it is with new seeds, a few seeds in each job."""
        groups = [self.final_seeds[i : i + TOGETHER] for i in range(0, len(self.final_seeds), TOGETHER)]
        held_out = {name: self.template.held_out[name] for name in ("final", "choice")}
        more = {"stop_below": self.target, "held_out": held_out}
        whole = self.schedule.updates
        jobs = [self.job(self.arms[name], group, 0, whole)._replace(**more) for name in names for group in groups]
        outcomes = self.run(jobs)
        for name in names:
            self.say(f"the final: {name}, {len(self.final_seeds)} seeds ...")
            parts = [next(outcomes) for _ in groups]
            failures = [part for part in parts if isinstance(part, Failure)]
            if failures:
                self.fails(name, failures[0])
            else:
                self.final[name] = joined([part for part in parts if isinstance(part, Outcome)])

    def solved(self, name: str) -> np.ndarray:
        """[seeds] of bool, of the final where the arm was in it."""
        outcome = self.final.get(name) or self.seen[name]
        losses = next(iter(outcome.losses.values()))
        return np.asarray((losses < (-np.inf if self.target is None else self.target)).any(axis=0))

    def figure(self, name: str) -> np.ndarray:
        """[seeds] of a finalist: updates to the target (the whole run where it was not reached), or the held-out loss;
        inf where the run diverged."""
        outcome = self.final[name]
        losses = outcome.losses["final"]
        if self.target is None:
            return np.where(outcome.diverged, np.inf, losses[-1])
        reached = updates_to_target(losses, self.target, self.schedule.interval).astype(float)
        rest = np.where(outcome.diverged, np.inf, self.schedule.updates)
        return np.where(self.solved(name), reached, rest)

    def against(self, name: str) -> Paired:
        """A finalist against the network as it is; the level holds for all finalists together."""
        return paired(self.figure(name), self.figure(AS_IT_IS), 1 - FAMILY / FINALISTS)

    def ahead(self) -> list[str]:
        """The finalists but the network as it is: those that help first, the better before the other."""
        compared = {name: self.against(name) for name in self.final if name != AS_IT_IS and AS_IT_IS in self.final}
        return sorted(compared, key=lambda name: (not compared[name].helps, compared[name].ratio))

    def table(self) -> tuple[Row, ...]:
        """Finalists first, then the network as it is, then the others, the longer in the race the further up; those
        that failed last."""
        known = [name for name in self.arms if name in self.final or name in self.seen or name in self.failed]
        first = [*self.ahead(), *([AS_IT_IS] if AS_IT_IS in known else [])]
        place = {name: i for i, name in enumerate(self.left)}
        behind = sorted(
            (name for name in known if name not in first),
            key=lambda name: (name in self.failed, -place.get(name, math.inf)),
        )
        return tuple(map(self.row, [*first, *behind]))

    def row(self, name: str) -> Row:
        """What was seen of an arm."""
        final = name in self.final
        arm = {
            "name": name,
            "cure": self.arms[name].cure,
            "learning_rate": self.template.rate * self.arms[name].rate,
            "failed": self.failed.get(name, ""),
        }
        if not final and name not in self.seen:
            return Row(
                arriving=math.nan, updates=0, loss=math.nan, solved=0, diverged=0, seeds=0, milliseconds=math.nan, **arm
            )
        outcome = self.final[name] if final else self.seen[name]
        losses = outcome.losses["final" if final else "choice"]
        return Row(
            **arm,
            arriving=float(outcome.shares[0]),
            updates=int(outcome.updates.max()),
            loss=float(np.median(losses[-1])),
            solved=int(self.solved(name).sum()),
            diverged=int(outcome.diverged.sum()),
            seeds=losses.shape[1],
            milliseconds=1000 * outcome.seconds / min(TOGETHER, losses.shape[1]),
            figure=float(np.median(self.figure(name))) if final else None,
            against=self.against(name) if final and name != AS_IT_IS and AS_IT_IS in self.final else None,
        )

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(updates, held-out losses) of an arm that was run."""
        losses = self.final[name].losses["final"] if name in self.final else self.seen[name].losses["choice"]
        return np.arange(len(losses)) * self.schedule.interval, losses

    def best(self, name: str) -> Best | None:
        """The seed of an arm in the final that did best on the cases of the choice; None if all diverged."""
        outcome = self.final[name]
        if outcome.diverged.all():
            return None
        last = np.where(outcome.diverged, np.inf, outcome.losses["choice"][-1])
        row = int(np.argmin(last))
        weights = jax.tree.map(lambda a: a[row], outcome.carry[0])
        own = self.template.plan.build is not None
        params, head = (weights, None) if own else (weights["cell"], weights["loss"])
        cell = apply_to_cell(self.arms[name].cures, self.template.cell)
        return Best(cell, params, head, self.final_seeds[row], int(outcome.updates[row]))


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcomes of different seeds as one; those that ended early, solved, keep their last losses."""
    length = max(len(outcome.losses["final"]) for outcome in outcomes)
    losses = {
        "final": np.concatenate([lengthened(outcome.losses["final"], length) for outcome in outcomes], axis=1),
        "choice": np.concatenate([outcome.losses["choice"] for outcome in outcomes], axis=1),
    }
    return Outcome(
        carry=jax.tree.map(lambda *leaves: np.concatenate(leaves), *[outcome.carry for outcome in outcomes]),
        losses=losses,
        shares=np.median([outcome.shares for outcome in outcomes], axis=0),
        diverged=np.concatenate([outcome.diverged for outcome in outcomes]),
        seconds=float(np.median([outcome.seconds for outcome in outcomes])),
        evaluating=min(outcome.evaluating for outcome in outcomes),
        updates=np.concatenate([outcome.updates for outcome in outcomes]),
    )


def lengthened(losses: np.ndarray, length: int) -> np.ndarray:
    """[length, seeds], the last row repeated."""
    return np.concatenate([losses, np.repeat(losses[-1:], length - len(losses), axis=0)])


def exploding(shares: dict[str, float]) -> list[str]:
    """Arms of which over EXPLODES times as much arrives as was sent, or what is not finite; NaN is not known."""
    return [name for name, share in shares.items() if share > EXPLODES and name != AS_IT_IS]
