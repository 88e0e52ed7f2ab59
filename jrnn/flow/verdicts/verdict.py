"""The verdict on a network at one lag, with its numbers, its intervals and what would change it. For the host."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jrnn.cells import check_number
from jrnn.flow.verdicts.arrival import Arrival, interval
from jrnn.flow.verdicts.decay import decay, judged_share
from jrnn.wording import brief, confidence, from_to, halving, nats, part_of, percentage, steps

VANISHED, EXPLODED = 0.01, 100.0
OVERSHOOT = 10.0  # a rise by so much that is lost again is transient growth
LEVEL = 0.995

Interval = tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """What becomes of the gradient `lag` steps back: a kind and the numbers behind it (Python floats)."""

    kind: str
    """'vanishing': under 1 % arrives in the typical (median) sequence, and not because of the first step alone: under
    1 % of what entered arrives (`of_entered`), or under 1 % enters at all (`entry`); 'exploding': over 100 times as
    much; 'chaotic': exploding, with a growth above 0 at late lags, while the states stay bounded; 'both': it vanishes
    in the typical sequence and explodes in the mean; 'transient growth': at some shorter lag over 10 times as much
    arrives as was sent, and at `lag` less than a tenth of that; 'healthy': none of these; 'undecided': the intervals
    hold a boundary; 'not finite'. Each only if the whole intervals say so."""
    lag: int
    """The lag it holds for, in steps."""
    arriving: float
    """The median over sequences of sum_t ||part(t, t - lag)|| / sum_t ||part(t, t)||."""
    arriving_interval: Interval
    """Its interval: bootstrap over sequences and blocks of outputs; with few of them, by Student's t in logarithms;
    from 0 to infinity with one sequence whose ways back all overlap, which says nothing of others."""
    mean: float
    """The mean over sequences of the same ratio: a few sequences in which the gradient explodes show here."""
    mean_interval: Interval
    growth: float
    """Nats per step: the slope of ln(what is left) at late lags, so that a loss of the first step does not count: the
    median over sequences of ln(sum_t ||part(t, t - lag)|| / sum_t ||part(t, t - m)||) / (lag - m), m = lag // 2, below
    lag 8 m = 1; at lag 1, 0."""
    growth_interval: Interval
    """Its interval; as the next two, made like that of `arriving`."""
    entry: float
    """The share that is left after one step, the median of sum_t ||part(t, t - 1)|| / sum_t ||part(t, t)|| over the
    same outputs: the loss of an LSTM's gradient on entering its memory shows here."""
    entry_interval: Interval
    of_entered: float
    """The share of what entered that arrives: arriving / (entry e^-growth), taken sequence by sequence; it is
    `arriving` where the first step takes as much as later ones."""
    of_entered_interval: Interval
    peak: float
    """The largest fraction that arrives at any lag up to `lag`."""
    peak_lag: int
    reach: int
    """The largest lag of all at which at least 1 % arrives in the typical sequence."""
    reach_is_bound: bool
    """Whether that is the longest lag there is, so that it may be longer."""
    level: float
    """Of all intervals: at 0.995, 1 in 200 misses."""
    sequences: int
    outputs: int
    """How many of each have a way back of that length."""
    between: tuple[str, ...] = ()
    """If undecided: the kinds it may be."""
    caution: str = ""
    """What is wrong with the measurement itself, in a sentence; empty if nothing is."""

    def __repr__(self) -> str:
        arrives = f"{percentage(self.arriving)} of the gradient arrives ({from_to(*self.arriving_interval)})"
        return brief(self, f"{self.kind} at lag {self.lag}", arrives, f"{self.sequences} sequences")

    @property
    def half_life(self) -> float:
        """Steps after which half is left of what entered, ln(1/2) / growth; infinite if nothing is lost."""
        return math.log(0.5) / self.growth if self.growth < 0 else math.inf

    @property
    def lost_on_entering(self) -> bool:
        """Whether the first step takes over half of what a later one leaves, or so much that 1 % depends on it."""
        return self.of_entered >= 2 * self.arriving > 0 or self.arriving < VANISHED <= self.of_entered

    @property
    def sentence(self) -> str:
        """The verdict with its numbers, its interval and its lag; then the caution, if there is one."""
        return f"{self._said} {self.caution}".rstrip()

    @property
    def _said(self) -> str:
        if self.lag == 0 and self.reach == 0 and self.reach_is_bound:
            return "The sequences are one step long: there is no way back for the gradient to lose anything on."
        if self.lag == 0:
            return "At lag 0 nothing is lost yet: ask for the lag that the task needs."
        head = f"{self.kind.capitalize()}: the task needs a lag of {steps(self.lag)}"
        if self.kind == "not finite":
            return f"{head}, and the gradient there is not finite."
        low, high = self.arriving_interval
        arrives = f"where {part_of(self.arriving, 'the gradient')} arrives"
        if percentage(low) != percentage(high):
            arrives += f" ({from_to(low, high)} at {confidence(self.level)})"
        few = ""
        if self.sequences == 1 and self.arriving_interval == (0.0, math.inf):
            few = f"one sequence and {'one output' if self.outputs == 1 else 'outputs whose ways back overlap'}: "
        grows = f"{nats(self.growth)} per step"
        if self.lost_on_entering:
            arrives += f"; the first step alone leaves {percentage(self.entry)}"
            left = part_of(self.of_entered, "what entered")
            after = f"after it the gradient {halving(self.growth)} ({grows}), so {left} arrives"
            if self.kind in ("healthy", "vanishing"):
                return f"{head}, {arrives}; {after}."
            arrives += f", and {after}"
        reach = steps(self.reach, self.reach_is_bound)
        tail = {
            "exploding": f"{grows} back",
            "chaotic": f"it keeps growing ({grows} back) while the states stay bounded",
            "both": f"but {percentage(self.mean)} in the mean over sequences, for it explodes in some of them",
            "transient growth": f"on the way it grows to {part_of(self.peak, 'its size')}, at lag {self.peak_lag}",
            "undecided": f"{few}these data cannot tell {' from '.join(self.between)}",
        }.get(self.kind, f"1 % still reaches {reach} back ({grows})")
        return f"{head}, {arrives}; {tail}."

    @property
    def advice(self) -> str:
        """What to try, and what a verdict is not; `jrnn.cures.advise` says it for a cell."""
        from jrnn.cures.advice import advise  # the cures know the flow, not the other way round

        return advise(None, self).sentence

    @property
    def change(self) -> str:
        """What would make it another verdict."""
        if self.lag == 0 or self.kind == "not finite":
            return ""
        low, high = (math.log(bound) / self.lag for bound in (VANISHED, EXPLODED))
        healthy = f"between {low:+.3f} and {nats(high)} per step, which leave 1 % and 100 times over {steps(self.lag)}"
        if self.kind == "undecided":
            return f"More sequences would decide it. It is healthy if the growth lies {healthy}."
        if self.kind == "healthy":
            return f"It holds at this lag as long as the growth lies {healthy}."
        if self.kind == "vanishing" and self.entry < VANISHED <= self.of_entered:
            return f"It would be healthy if the first step left 1 % or more; now it leaves {percentage(self.entry)}."
        share = max(self.arriving, self.of_entered) if self.arriving < VANISHED else self.arriving
        now = math.log(share) / self.lag if share > 0 else -math.inf
        return f"It would be healthy if the growth lay {healthy}; now it is {now:+.3f} in the mean over them."


def judge(arrival: Arrival, lag: int, bounded: bool, level: float = LEVEL, seed: int = 0) -> Verdict:
    """The `Verdict` at `lag` (0..T-1); `bounded`: whether the states stay so.

    Raises:
      InputError: a level that is no probability.
    """
    level = check_number("level", level, lambda p: 0 < p < 1, "a probability between 0 and 1")
    curve = np.array([arrival.typical(tau) for tau in range(arrival.by_lag.shape[1])])
    far, known = np.flatnonzero(curve >= VANISHED), np.flatnonzero(~np.isnan(curve))
    reach = int(far[-1]) if len(far) else 0
    upto = np.where(np.isnan(curve[: lag + 1]), -np.inf, curve[: lag + 1])
    peak, way = int(np.argmax(upto)), decay(arrival, lag)
    shares = way.entry, way.of_entered, way.later
    typical, mean = arrival.draws([lag, peak], seed, shares)
    low, high = arrival.typical_interval(lag, typical[:, 0], level)
    mean_interval, peak_interval = interval(mean[:, 0], level), arrival.typical_interval(peak, typical[:, 1], level)
    entry, of_entered, later = (arrival.typical(lag, ratio) for ratio in shares)
    entry_ends, of_entered_ends, later_ends = (
        arrival.typical_interval(lag, typical[:, 2 + i], level, ratio) for i, ratio in enumerate(shares)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        growth, *ends = (float(np.log(x) / way.steps) if way.steps else 0.0 for x in (later, *later_ends))
    judged_low, judged_high = (judged_share(*end) for end in zip((low, high), entry_ends, of_entered_ends, strict=True))
    each = arrival.by_sequence(lag)
    kind, between = "undecided", ()
    if lag == 0:
        kind = "healthy"
    elif not np.isfinite(curve[lag]) or np.isnan([low, high]).any():
        kind = "not finite"
    elif peak_interval[0] > OVERSHOOT and high < peak_interval[0] / OVERSHOOT:
        kind = "transient growth"
    elif judged_high < VANISHED:
        kind = "both" if mean_interval[0] > EXPLODED else "vanishing"
    elif low > EXPLODED:
        kind = "chaotic" if bounded and ends[0] > 0 else "exploding"
    elif judged_low >= VANISHED and high <= EXPLODED:
        kind = "healthy"
    else:
        sides = (("vanishing", judged_low < VANISHED), ("healthy", True), ("exploding", high > EXPLODED))
        between = tuple(name for name, possible in sides if possible)
    return Verdict(
        kind=kind,
        lag=int(lag),
        arriving=float(curve[lag]),
        arriving_interval=(low, high),
        mean=float(np.mean(each)) if len(each) else math.nan,
        mean_interval=mean_interval,
        growth=growth,
        growth_interval=(ends[0], ends[1]),
        entry=entry,
        entry_interval=entry_ends,
        of_entered=of_entered,
        of_entered_interval=of_entered_ends,
        peak=float(curve[peak]),
        peak_lag=peak,
        reach=reach,
        reach_is_bound=bool(len(far) and reach == known[-1]),
        level=level,
        sequences=len(each),
        outputs=len(arrival.ratios(lag)[0]),
        between=between,
    )


def stays_bounded(norms: np.ndarray, reverse: bool) -> bool:
    """Whether the states' norms [T+1, *B] (NaN: padding) in a sequence's last quarter are at most twice those of its
    second, in the median sequence; False where no sequence is long enough, or nothing moves, to tell."""
    sizes = (norms[::-1] if reverse else norms).reshape(len(norms), -1)
    rises = []
    for each in sizes.T:
        own = each[~np.isnan(each)]
        quarter = len(own) // 4
        second = np.median(own[quarter : 2 * quarter]) if quarter else 0.0
        if 0 < second < np.inf:
            rises.append(np.median(own[-quarter:]) / second)
    return bool(rises) and bool(np.median(rises) <= 2)


def sum_caution(error: float, exact: bool, eps: float) -> str:
    """What to say where all outputs were followed and yet the parts miss dL/dh_k or dL/dparams by `error` of the sum of
    their norms. Rounding leaves a few eps, a long run costs digits, but not half of them: sqrt(eps), eps that of the
    states' dtype."""
    if not exact or not error > np.sqrt(eps):
        return ""
    rounding = " (or rounding on a long way: float64 would tell)" if eps > 1e-10 else ""
    return (
        "Caution: the parts of the gradient do not add up to what training uses; they miss it by "
        f"{part_of(error, 'their size')}. Usually the step has a backward pass of its own (jax.custom_vjp) that "
        f"is not linear, such as a clip{rounding}: then what one output alone sends back is not its share of the whole."
    )
