"""What is said first: that the network does no better than an answer that needs no network."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jrnn.training.simple_answers import Baseline
from jrnn.wording import listed, number, score

LATE = 100
"""The last updates, whose losses are taken for that of the training part."""


class Lost(NamedTuple):
    """A score in which a network does no better than a baseline."""

    baseline: Baseline
    score: str
    """"loss" or "accuracy"."""
    own: float
    theirs: float


def losses(baselines: Sequence[Baseline], scores: Mapping[str, float]) -> list[Lost]:
    """Where the network is no better, the best baseline of each score first; a score that is not finite is worse."""
    found = []
    for name, sign in (("loss", 1), ("accuracy", -1)):
        if name not in scores:
            continue
        own = float(scores[name])
        rivals = [Lost(each, name, own, each.scores[name]) for each in baselines if name in each.scores]
        better = [rival for rival in rivals if not sign * own < sign * rival.theirs]
        found += sorted(better, key=lambda rival: sign * rival.theirs)
    return found


def red_card(baselines: Sequence[Baseline], scores: Mapping[str, float], trained: Any = ()) -> str:
    """The warning in plain sentences; empty where the network beats all baselines.

    `trained` has the losses of the training batches, one an update, where they are known. Where the last ones are less
    than half of the held-out loss, more updates make it worse, and the advice is another.
    """
    lost = losses(baselines, scores)
    if not lost:
        return ""
    said, told = [], set()
    for name in dict.fromkeys(each.score for each in lost):
        best, *others = [each for each in lost if each.score == name]
        also = f"; it also loses to {listed(_named(each) for each in others)}" if others else ""
        meaning = "" if best.baseline.name in told else f" ({best.baseline.meaning})"
        told.add(best.baseline.name)
        has = f"{_named(best)}{meaning} has {score(name, best.theirs)}{_times(best)}"
        said.append(f"its {name} is {score(name, best.own)}, and {has}{also}")
    other = next((each.baseline.advice for each in lost if each.baseline.advice), "take another target")
    verb = "does no better than" if all(each.own == each.theirs for each in lost) else "loses to"
    now, longer = "", "train it longer" if len(trained) else "train it longer or shorter"
    learnt = float(np.median(np.asarray(trained, float)[-LATE:])) if len(trained) else np.nan
    if learnt < 0.5 * scores.get("loss", np.nan):
        longer = "train it shorter (--steps), make it smaller"
        now = (
            f"On the training data its loss is {score('loss', learnt)}: it knows these by heart, or what follows them "
            "is different. "
        )
    return (
        f"The network {verb} an answer that needs no network. On held-out data {', and '.join(said)}. {now}"
        f"Until it wins, where its gradient goes is of little interest: {longer}, give it more data, or {other}."
    )


def _named(lost: Lost) -> str:
    name = lost.baseline.name
    return name if name == "persistence" else f"the {name}" + " forecast" * (name == "seasonal naive")


def _times(lost: Lost) -> str:
    ratio = lost.own / lost.theirs if lost.score == "loss" and lost.theirs > 0 else 0.0
    return f", {number(ratio)} times less" if 1.1 < ratio < float("inf") else ""
