"""The lag profile of the data: how much of the answer its last k steps explain, before any network is asked."""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from jrnn.displays import plotted_by
from jrnn.prescribing.lag_features import Fit, LagFeatures
from jrnn.prescribing.lag_samples import Samples, samples_of_parts
from jrnn.prescribing.splitting import Parts
from jrnn.wording import brief, percentage, steps

LEVEL = 0.99
"""Of the intervals."""
BLOCKS, FEWEST = 20, 6
"""Blocks of consecutive held-out cases whose gains are compared: neighbours may hold overlapping windows."""
LEAST = 0.01
"""Of the variance: what explains less counts as nothing."""
TEACH, SHORT, ALONE, UNKNOWN = "short lags teach", "short lags tell a part", "the lag alone", "cannot tell"


class DataLags(NamedTuple):
    """What the data say of a needed lag L, without a network.

    E(k) = 1 - sum ||y - f_k||^2 / sum ||y - mean y||^2 over held-out cases: the share of the answer's variance that f_k
    explains, the least-squares predictor from the last k steps (lags 0 to k - 1), fitted on cases trained on; classes
    count as one-hot vectors. f_k is linear in the features z of a step (its inputs, and of up to 4 inputs the products
    of any two): in their sums over stretches of lags ([0, 1), [1, 2), [2, 4), ..., to L and beyond), which find what
    wanders within them, and in their values at the 8 lags that explain most alone.

    It is a lower bound: what only two steps together tell (an exclusive or), or a deeper function of a step, it does
    not see; then it says that it cannot tell. It speaks of the data: what a network makes of it the race shows.
    """

    kind: str
    """"short lags teach": lags below L explain something, and the rule that holds for their sum, one for all lags,
    explains clearly more when it goes on over all steps; "short lags tell a part": they explain something, and that
    rule does not go on; "the lag alone": they explain nothing, all steps something; "cannot tell"."""
    sentence: str
    lag: int
    """L."""
    near: float
    """E(L): of the lags below L. NaN where too few cases are held out."""
    near_interval: tuple[float, float]
    """At 99 %, Student's, over blocks of held-out cases."""
    whole: float
    """E(T): of all steps."""
    whole_interval: tuple[float, float]
    carried: tuple[float, float]
    """What w . sum of z over lags below L explains, and what the same w explains with the sum over all steps."""
    windows: np.ndarray
    """[n]: numbers k of last steps."""
    explained: np.ndarray
    """[n]: E(k)."""

    def __repr__(self) -> str:
        return brief(self, f"{self.kind}, lag {self.lag}", f"{len(self.windows)} windows")

    plot = plotted_by("plot_data_lags")


def data_lags_of(parts: Parts, objective: Any, lag: int) -> DataLags | None:
    """The profile of the data in parts, on cases that take no part in the final; None where nothing is known of what is
    asked."""
    samples = samples_of_parts(parts, objective, lag)
    return None if samples is None else data_lags(*samples, lag)


def data_lags(train: Samples, held_out: Samples, lag: int) -> DataLags:
    """Measures the profile of the data at a lag.

    Args:
      train: answers to fit predictors on, each with at least `lag` steps before it.
      held_out: others, to measure on; in the order of their cases.
      lag: L, at least 1.
    """
    blocks = min(BLOCKS, len(np.unique(held_out.cases)) // 2)
    target, truth = (each.y - train.y.mean(axis=0) for each in (train, held_out))
    if blocks < FEWEST or not len(target):
        return unknown(lag, "too few cases are held out")
    if not all(np.isfinite(array).all() for each in (train, held_out) for array in (each.x, each.y)):
        return unknown(lag, "some numbers are not finite")
    if not (truth**2).sum() > 0 or not (target**2).sum() > 0:
        return unknown(lag, "the answer does not vary")
    features = LagFeatures.of(train, target, lag)
    windows, seen, unseen = features.windows, features.given(train), features.given(held_out)
    score = Score.of(held_out, truth, blocks)
    gains = [score.gain(Fit.of(seen.of_window(i, k), target)(unseen.of_window(i, k))) for i, k in enumerate(windows)]
    at = windows.index(lag)
    rule, before, after = Fit.of(seen.sum_of(at), target), *(seen.sum_of(i).mean(axis=0) for i in (at, -1))
    rules = [
        score.gain(rule._replace(mean=mean)(unseen.sum_of(i))) for i, mean in ((at, before), (-1, after))
    ]  # the same slopes, about the mean of the longer sum
    near, whole = score.interval(gains[at]), score.interval(gains[-1])
    goes_on = score.interval(rules[1] - rules[0])[0] > LEAST
    found = DataLags(
        kind_of(near, whole, goes_on), "", lag, score.share(gains[at]), near, score.share(gains[-1]), whole,
        (score.share(rules[0]), score.share(rules[1])), np.array(windows), np.array([score.share(g) for g in gains]),
    )  # fmt: skip
    further = score.interval(gains[-1] - gains[at])[0] > 0
    return found._replace(sentence=said(found, features.steps, further))


def kind_of(near: tuple[float, float], whole: tuple[float, float], goes_on: bool) -> str:
    """Which of the kinds: only what an interval leaves no doubt of is said."""
    if near[0] > LEAST:
        return TEACH if goes_on else SHORT
    return ALONE if whole[0] > max(LEAST, near[1]) else UNKNOWN


class Score(NamedTuple):
    """How predictors of held-out answers are scored."""

    truth: np.ndarray
    """[n, K]: the answers, about the mean of those trained on."""
    sizes: np.ndarray
    """[n]: their squared norms."""
    of_block: np.ndarray
    """[n]: the block of consecutive cases that each is in."""

    @classmethod
    def of(cls, held_out: Samples, truth: np.ndarray, blocks: int) -> "Score":
        """With so many blocks."""
        places = np.unique(held_out.cases, return_inverse=True)[1]
        return cls(truth, (truth**2).sum(axis=1), places * blocks // (places.max() + 1))

    def gain(self, predicted: np.ndarray) -> np.ndarray:
        """[n]: ||y||^2 - ||y - f||^2."""
        return self.sizes - ((self.truth - predicted) ** 2).sum(axis=1)

    def share(self, gains: np.ndarray) -> float:
        """E."""
        return float(gains.sum() / self.sizes.sum())

    def interval(self, gains: np.ndarray) -> tuple[float, float]:
        """Student's interval of E, a ratio of sums: from what each block's gain differs by from E of its size."""
        middle = self.share(gains)
        off = np.bincount(self.of_block, gains - middle * self.sizes)
        count = len(off)
        half = scipy.special.stdtrit(count - 1, (1 + LEVEL) / 2) * off.std(ddof=1) * math.sqrt(count)
        half /= self.sizes.sum()
        return float(middle - half), float(middle + half)


def unknown(lag: int, why: str) -> DataLags:
    """Nothing could be measured."""
    nothing = (math.nan, math.nan)
    sentence = f"Whether shorter lags teach lag {lag} cannot be told from the data: {why}."
    return DataLags(
        UNKNOWN, sentence, lag, math.nan, nothing, math.nan, nothing, nothing, np.zeros(0, int), np.zeros(0)
    )


def said(found: DataLags, length: int, further: bool) -> str:
    """The finding in words."""
    lag, near, whole = found.lag, share(found.near), share(found.whole)
    most = percentage(max(found.near_interval[1], LEAST))
    if found.kind == TEACH:
        before, after = map(share, found.carried)
        return (
            f"Shorter lags teach the long one: a rule that explains {before} of the answer's variance from lags below "
            f"{lag} explains {after} when the same rule goes on over all {steps(length)}. A network can climb there."
        )
    if found.kind == SHORT:
        rest = f"all {steps(length)} {whole}" if further else "what lies further back adds nothing that can be seen"
        return (
            f"Shorter lags tell a part: lags below {lag} explain {near} of the answer's variance, {rest}. A network "
            "can learn that part first; no rule that is one for all lags goes on from there: it need not open the way."
        )
    if found.kind == ALONE:
        return (
            f"No shorter lag teaches this one: lags below {lag} explain at most {most} of the answer's variance, all "
            f"{steps(length)} {whole}. Nothing is learnt before a gradient arrives from {steps(lag)} back."
        )
    return (
        f"Whether shorter lags teach lag {lag} cannot be told from the data: of the answer's variance, inputs and "
        f"their products, step by step, explain {near} below that lag and {whole} over all {steps(length)}."
    )


def share(value: float) -> str:
    """A share of the variance in words; below 0 it is nothing."""
    return percentage(round(max(value, 0.0), 3))
