"""How many updates each arm gets: successive halving (Jamieson, Talwalkar 2016) with eta = 3, then a final."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jrnn.types import InputError

ETA = 3
"""Of the arms in a rung, one in so many goes on; a rung is so many times as long as the one before."""
FINALISTS = 2
INTERVALS = 2 * ETA**2
"""Evaluations in a whole run at least; ETA^2 divides it, so that each rung ends with one."""
GRAIN = 25
"""Updates from one evaluation to the next at most, so that a long race still tells 50 updates from 100."""
TOGETHER = 2
"""Seeds in one vmapped program, and in the race before the final."""


class Cost(NamedTuple):
    """Seconds of TOGETHER seeds of an arm, without compilation."""

    updating: float
    """Of one update."""
    evaluating: float
    """Of one evaluation on held-out cases."""

    def of(self, updates: int, interval: int) -> float:
        """Of so many updates, with an evaluation after each interval."""
        return updates * self.updating + updates / interval * self.evaluating


def mean(costs: Sequence[Cost]) -> Cost:
    """The mean of both."""
    return Cost(*(sum(part) / len(costs) for part in zip(*costs, strict=True)))


class Schedule(NamedTuple):
    """What is fixed before the race begins."""

    updates: int
    """Of a run in the final; a multiple of ETA^2 intervals."""
    interval: int
    """Updates from one evaluation to the next."""
    arms: int
    """In the first rung."""
    seeds: int
    """In the final."""

    @classmethod
    def of(cls, updates: float, arms: int, seeds: int) -> "Schedule":
        """The longest schedule with at most so many updates (INTERVALS at least)."""
        share = max(1, int(updates // INTERVALS))
        if share <= GRAIN:
            return cls(INTERVALS * share, share, arms, seeds)
        share, interval = max((share - share % step, step) for step in range(GRAIN // 2 + 1, GRAIN + 1))
        return cls(INTERVALS * share, interval, arms, seeds)

    @property
    def rungs(self) -> tuple[tuple[int, int], ...]:
        """(arms in it, updates from the start to its end) of each rung before the final."""
        after_first = max(FINALISTS, math.ceil(self.arms / ETA))
        if after_first == FINALISTS:
            return ((self.arms, self.updates // ETA),)
        return ((self.arms, self.updates // ETA**2), (after_first, self.updates // ETA))

    def seconds(self, each: Sequence[Cost], own: Cost, workers: int = 1) -> float:
        """What it takes, from what every arm costs, and the user's own network, with so many jobs side by side.

        Who goes on is not known yet: the arms of later rungs are taken to be the slower half.
        """
        slow = sorted(each, key=lambda cost: cost.updating, reverse=True)
        upper = mean(slow[: max(1, len(slow) // 2)])
        total, done, share = 0.0, 0, mean(slow)
        for count, end in self.rungs:
            total += side_by_side([share.of(end - done, self.interval)] * count, workers)
            done, share = end, upper
        groups, finalists = math.ceil(self.seeds / TOGETHER), min(FINALISTS, self.arms)
        final = [own.of(self.updates, self.interval), *[upper.of(self.updates, self.interval)] * finalists]
        return total + side_by_side(final * groups, workers)


def side_by_side(jobs: Sequence[float], workers: int) -> float:
    """Seconds that jobs take at most where so many run at a time and none waits for nothing.

    sum / w + (1 - 1 / w) longest (Graham 1966).
    """
    workers = max(1, min(workers, len(jobs)))
    return sum(jobs) / workers + (1 - 1 / workers) * max(jobs, default=0.0)


def schedule_for(seconds: float, arms: int, seeds: int, each: Sequence[Cost], own: Cost, workers: int = 1) -> Schedule:
    """The longest schedule that fits in `seconds`, with so many jobs side by side.

    Raises:
      InputError: not even the shortest fits; says what it needs.
    """
    shortest = Schedule.of(INTERVALS, arms, seeds)
    least = shortest.seconds(each, own, workers)
    if least > seconds:
        needed = f"at least {math.ceil(least - seconds)} s more, for {arms} arms and {seeds} seeds"
        raise InputError("budget", f"{max(seconds, 0):.0f} s left after compilation", f"{needed}; or fewer candidates")
    shares, best = 1, shortest
    while True:  # evaluations make the cost no straight line in the length
        longer = Schedule.of(INTERVALS * shares * 1.05 + INTERVALS, arms, seeds)
        if longer.seconds(each, own, workers) > seconds:
            return best
        best, shares = longer, longer.updates // INTERVALS
