"""How many updates each arm gets: successive halving (Jamieson, Talwalkar 2016) with eta = 3, then a final."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from jrnn.types import InputError

ETA = 3
"""Of the arms in a rung, one in so many goes on; a rung is so many times as long as the one before."""
FINALISTS = 2
INTERVALS = 18
"""Evaluations in the whole of a run: ETA^2 = 9 divides it, so that each rung ends with one."""
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
    """Of a run in the final; a multiple of INTERVALS."""
    arms: int
    """In the first rung."""
    seeds: int
    """In the final."""

    @property
    def interval(self) -> int:
        """Updates from one evaluation to the next."""
        return self.updates // INTERVALS

    @property
    def rungs(self) -> tuple[tuple[int, int], ...]:
        """(arms in it, updates from the start to its end) of each rung before the final."""
        after_first = max(FINALISTS, math.ceil(self.arms / ETA))
        if self.arms <= FINALISTS:
            return ()
        if after_first >= self.arms or after_first == FINALISTS:
            return ((self.arms, self.updates // ETA),)
        return ((self.arms, self.updates // ETA**2), (after_first, self.updates // ETA))

    def seconds(self, each: Sequence[Cost], own: Cost) -> float:
        """What it takes, from what every arm costs, and the user's own network.

        Who goes on is not known yet: the arms of later rungs are taken to be the slower half.
        """
        slow = sorted(each, key=lambda cost: cost.updating, reverse=True)
        upper = mean(slow[: max(1, len(slow) // 2)])
        total, done, share = 0.0, 0, mean(slow)
        for count, end in self.rungs:
            total += count * share.of(end - done, self.interval)
            done, share = end, upper
        groups, finalists = math.ceil(self.seeds / TOGETHER), min(FINALISTS, self.arms)
        return total + groups * (
            own.of(self.updates, self.interval) + finalists * upper.of(self.updates, self.interval)
        )


def rounded(updates: float) -> int:
    """The largest multiple of INTERVALS that is not above, at least one."""
    return max(1, int(updates // INTERVALS)) * INTERVALS


def schedule_for(seconds: float, arms: int, seeds: int, each: Sequence[Cost], own: Cost) -> Schedule:
    """The longest schedule that fits in `seconds`; the evaluations take as long whatever its length.

    Raises:
      InputError: not even the shortest fits; says what it needs.
    """
    shortest = Schedule(INTERVALS, arms, seeds)
    least = shortest.seconds(each, own)
    if least > seconds:
        needed = f"at least {math.ceil(least - seconds)} s more, for {arms} arms and {seeds} seeds"
        raise InputError("budget", f"{max(seconds, 0):.0f} s left after compilation", f"{needed}; or fewer candidates")
    more = (shortest._replace(updates=2 * INTERVALS).seconds(each, own) - least) / INTERVALS
    return shortest._replace(updates=rounded(INTERVALS + (seconds - least) / more))
