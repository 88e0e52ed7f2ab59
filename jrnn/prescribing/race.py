"""`prescribe`: races what is known to help against the network as it is, and says with evidence what helped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np

from jrnn.cures.base import apply_to_cell
from jrnn.prescribing.candidates import AS_IT_IS, Arm
from jrnn.prescribing.halving import EXPLODES, Record, survivors, updates_to_target
from jrnn.prescribing.jobs import Job, Outcome, run_job
from jrnn.prescribing.paired import FAMILY, Paired, paired
from jrnn.prescribing.result import Best, Row
from jrnn.prescribing.schedule import FINALISTS, TOGETHER, Schedule


class Race:
    """The arms, what was seen of each, and who is still in."""

    def __init__(
        self,
        template: Job,
        arms: Sequence[Arm],
        schedule: Schedule,
        seed: int,
        floor: float | None,
        target: float | None,
        executor: Executor | None,
        say: Callable[[str], object],
    ):
        self.template, self.schedule, self.floor, self.target = template, schedule, floor, target
        self.arms = {arm.name: arm for arm in arms}
        self.executor, self.say = executor, say
        self.final_seeds = tuple(range(seed, seed + schedule.seeds))
        self.race_seeds = tuple(range(seed + schedule.seeds, seed + schedule.seeds + TOGETHER))
        self.seen: dict[str, Outcome] = {}
        """Of the race before the final, each with all its losses so far."""
        self.done: dict[str, int] = {}
        self.final: dict[str, Outcome] = {}
        self.left: list[str] = []
        """Arms that left the race, in that order."""

    def job(self, arm: Arm, seeds: tuple[int, ...], first: int, last: int, carry: Any = None) -> Job:
        """Some updates of an arm."""
        plan = replace(self.template.plan, cures=tuple(cure for cure in arm.cures if cure.trains))
        rate = self.template.rate * arm.rate
        return self.template._replace(
            cures=arm.cures, rate=rate, plan=plan, seeds=seeds, first=first, last=last, carry=carry,
            interval=self.schedule.interval, held_out={"choice": self.template.held_out["choice"]},
        )  # fmt: skip

    def run(self, jobs: Sequence[Job]) -> Iterable[Outcome]:
        """The outcomes of jobs, in their order."""
        if self.executor is None:
            return map(run_job, jobs)
        return [future.result() for future in [self.executor.submit(run_job, job) for job in jobs]]

    def rung(self, names: Sequence[str], last: int) -> None:
        """Trains these arms on to `last` updates with the seeds of the race."""
        before = [self.seen.get(name) for name in names]
        jobs = [
            self.job(self.arms[name], self.race_seeds, self.done.get(name, 0), last, old and old.carry)
            for name, old in zip(names, before, strict=True)
        ]
        for name, old, new in zip(names, before, self.run(jobs), strict=True):
            if old is not None:
                losses = {each: np.concatenate([old.losses[each], new.losses[each]]) for each in new.losses}
                new = new._replace(losses=losses, shares=np.array([old.shares[0], new.shares[1]]))
            self.seen[name], self.done[name] = new, last

    def records(self, names: Sequence[str]) -> dict[str, Record]:
        """What decides who goes on."""
        found = {}
        for name in names:
            losses = self.seen[name].losses["choice"]
            floor = float(np.median(losses[0])) if self.floor is None else self.floor
            found[name] = Record(losses, self.seen[name].shares, floor, self.target)
        return found

    def finalists(self) -> list[str]:
        """The best arms but the network as it is, after the rungs."""
        names = list(self.arms)
        for count, last in self.schedule.rungs:
            names = names[:count]
            self.say(f"{len(names)} arms, to update {last} ...")
            self.rung(names, last)
            if last == self.schedule.rungs[0][1]:
                exploding = [name for name in names if self.seen[name].shares[0] > EXPLODES and name != AS_IT_IS]
                names = [name for name in names if name not in exploding]
                self.left += exploding
            index = self.schedule.rungs.index((count, last)) + 1
            keep = self.schedule.rungs[index][0] if index < len(self.schedule.rungs) else FINALISTS
            records = self.records(names)
            ranked = list(survivors(records, len(names)))
            if index == len(self.schedule.rungs):
                ranked = [name for name in ranked if name != AS_IT_IS]
            self.left += [name for name in reversed(ranked[keep:])]
            names = ranked[:keep]
        return [name for name in names if name != AS_IT_IS][:FINALISTS]

    def run_final(self, names: Sequence[str]) -> None:
        """Trains the finalists and the network as it is with new seeds, a few seeds in each job."""
        groups = [self.final_seeds[i : i + TOGETHER] for i in range(0, len(self.final_seeds), TOGETHER)]
        stop, held_out = self.target, self.template.held_out
        sets = {"final": held_out["final"], "choice": held_out["choice"]}
        jobs = [
            self.job(self.arms[name], group, 0, self.schedule.updates)._replace(stop_below=stop, held_out=sets)
            for name in names
            for group in groups
        ]
        outcomes = iter(self.run(jobs))
        for name in names:
            self.say(f"the final: {name}, {len(self.final_seeds)} seeds ...")
            self.final[name] = joined([next(outcomes) for _ in groups])

    def figure(self, name: str) -> np.ndarray:
        """[seeds] of a finalist: updates to the target, or the held-out loss, inf where the run diverged."""
        outcome = self.final[name]
        losses = outcome.losses["final"]
        if self.target is not None:
            found = updates_to_target(losses, self.target, self.schedule.interval).astype(float)
            found = np.where((losses < self.target).any(axis=0), found, self.schedule.updates)
            return np.where(outcome.diverged & ~(losses < self.target).any(axis=0), np.inf, found)
        return np.where(outcome.diverged, np.inf, losses[-1])

    def against(self, name: str, finalists: int) -> Paired:
        """A finalist against the network as it is; the level holds for all finalists together."""
        return paired(self.figure(name), self.figure(AS_IT_IS), 1 - FAMILY / max(finalists, 1))

    def table(self) -> tuple[Row, ...]:
        """Finalists first, the best of them before the other."""
        others = [name for name in [*self.final, *self.seen] if name != AS_IT_IS]
        ahead = sorted((name for name in self.final if name != AS_IT_IS), key=lambda name: self.against(name, 2).ratio)
        behind = [name for name in dict.fromkeys([*others, *reversed(self.left)]) if name not in self.final]
        behind.sort(key=lambda name: self.left.index(name) if name in self.left else math.inf, reverse=True)
        names = [*ahead, *([AS_IT_IS] if AS_IT_IS in self.final or AS_IT_IS in self.seen else []), *behind]
        return tuple(self.row(name, len(ahead)) for name in names)

    def row(self, name: str, finalists: int) -> Row:
        """What was seen of an arm."""
        final = name in self.final
        outcome = self.final[name] if final else self.seen[name]
        losses = outcome.losses["final" if final else "choice"]
        solved = 0 if self.target is None else int((losses < self.target).any(axis=0).sum())
        updates = self.schedule.updates if final else self.done[name]
        compared = final and name != AS_IT_IS and AS_IT_IS in self.final
        together = min(TOGETHER, losses.shape[1])
        return Row(
            name,
            self.arms[name].cure,
            self.template.rate * self.arms[name].rate,
            float(outcome.shares[0]),
            updates,
            float(np.median(losses[-1])),
            solved,
            int(outcome.diverged.sum()),
            losses.shape[1],
            1000 * outcome.seconds / together,
            float(np.median(self.figure(name))) if final else None,
            self.against(name, finalists) if compared else None,
        )

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(updates, held-out losses) of an arm."""
        final = name in self.final
        losses = self.final[name].losses["final"] if final else self.seen[name].losses["choice"]
        return np.arange(len(losses)) * self.schedule.interval, losses

    def best(self, name: str) -> Best:
        """The seed of an arm in the final that did best on the cases of the choice."""
        import jax

        outcome = self.final[name]
        last = np.where(outcome.diverged, np.inf, outcome.losses["choice"][-1])
        row = int(np.argmin(last))
        weights = jax.tree.map(lambda a: a[row], outcome.carry[0])
        own = self.template.plan.build is not None
        params, head = (weights, None) if own else (weights["cell"], weights["loss"])
        return Best(apply_to_cell(self.arms[name].cures, self.template.cell), params, head, self.final_seeds[row])


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcomes of different seeds as one; those that ended early, solved, keep their last losses."""
    import jax

    length = max(len(outcome.losses["final"]) for outcome in outcomes)
    losses = {
        "final": np.concatenate([lengthened(outcome.losses["final"], length) for outcome in outcomes], axis=1),
        "choice": np.concatenate([outcome.losses["choice"] for outcome in outcomes], axis=1),
    }
    return Outcome(
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *[outcome.carry for outcome in outcomes]),
        losses,
        np.median([outcome.shares for outcome in outcomes], axis=0),
        np.concatenate([outcome.diverged for outcome in outcomes]),
        float(np.median([outcome.seconds for outcome in outcomes])),
        min(outcome.evaluating for outcome in outcomes),
        outcomes[0].cell,
    )


def lengthened(losses: np.ndarray, length: int) -> np.ndarray:
    """[length, seeds], the last row repeated."""
    return np.concatenate([losses, np.repeat(losses[-1:], length - len(losses), axis=0)])
