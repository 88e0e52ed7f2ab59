"""What a network must beat: answers that need no network, scored on the held-out data in the unit of the loss."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jrnn.training.batches import time_major
from jrnn.types import UNKNOWN


class Baseline(NamedTuple):
    """An answer that needs no network."""

    name: str
    """"majority class", "mean", "persistence" or "seasonal naive"."""
    meaning: str
    """What it answers, in a few words."""
    scores: dict[str, float]
    """On held-out data: "loss" in the unit of the objective's, "accuracy" (0..1) for classes."""
    advice: str = ""
    """What to try where it wins; empty for nothing in particular."""


def baselines(objective: Any, data: Any) -> tuple[Baseline, ...]:
    """The answers that need no network, learnt from the training part and scored on the held-out part.

    For classes the majority class: its accuracy is the share of the class that is most frequent in training; its loss
    that of the training frequencies p_c = (n_c + 1) / (n + K) (Laplace's rule, so that a class which is not trained on
    costs a finite loss), the mean of -ln p_y. For labels the same, each by itself. For numbers the mean over the
    training part: the mean of (y - mean)^2.
    For a series also those that `jrnn.data` knows: persistence, y_{t+h} = x_t, and the seasonal naive forecast, the
    value of the last whole period, y_{t+h} = x_{t+h-mp} with m = ceil(h / p).

    Args:
      objective: an `Objective`; for any other there is nothing to compare.
      data: a `jrnn.data.Dataset`.
    Returns:
      none, one or three of them.
    """
    parts = [time_major(data.subset(part), objective_each(objective)) for part in (data.train, data.test)]
    seen, asked = (counted_targets(objective, part) for part in parts)
    if seen is None or asked is None or not len(seen) or not len(asked):
        return ()
    if objective.classifies:
        counts = np.bincount(seen, minlength=objective.outputs)
        share = (counts + 1) / (len(seen) + objective.outputs)
        scores = {"loss": float(-np.log(share[asked]).mean()), "accuracy": float((asked == counts.argmax()).mean())}
        constant = Baseline("majority class", "always the class that is most frequent in training", scores)
    elif objective.labels:
        share = (np.nansum(seen, axis=0) + 1) / ((~np.isnan(seen)).sum(axis=0) + 2)
        right = np.where(np.isnan(asked), np.nan, (asked > 0) == (share > 0.5))
        scores = {"loss": _nats(asked, share), "accuracy": float(np.nanmean(right))}
        constant = Baseline("majority of each label", "always what is more frequent in training", scores)
    else:
        error = np.nanmean((asked - np.nanmean(seen, axis=0)) ** 2)
        constant = Baseline("mean", "always the mean of the training part", {"loss": float(error)})
    changes = getattr(getattr(data, "series", None), "change", True)
    naive = getattr(data, "naive", ())
    return (constant, *(_naive(name, meaning, loss, changes) for name, meaning, loss in naive))


def _naive(name: str, meaning: str, loss: float, changes: bool) -> Baseline:
    """A forecast without a network; persistence wins where a series drifts, unless changes are forecast already."""
    drifts = name == "persistence" and not changes
    advice = "let the network forecast changes (--change), if the series drifts" if drifts else ""
    return Baseline(name, meaning, {"loss": loss}, advice)


def constant_loss(objective: Any, batch: Mapping[str, Any]) -> float | None:
    """The loss of the best answer that is the same for every case: the entropy of the classes, or the variance.

    -sum_c p_c ln p_c with the frequencies p_c, or the mean of (y - mean y)^2 with a mean for each output, over what the
    objective counts of a time-major batch; None for an objective that is no `Objective`.
    """
    counted = counted_targets(objective, batch)
    if counted is None or not len(counted):
        return None
    if objective.classifies:
        share = np.bincount(counted, minlength=objective.outputs) / len(counted)
        return float(-np.sum(share[share > 0] * np.log(share[share > 0])))
    mean = np.nanmean(counted, axis=0)
    return _nats(counted, mean) if objective.labels else float(np.nanmean((counted - mean) ** 2))


def _nats(labels: np.ndarray, share: np.ndarray) -> float:
    """The mean of -ln of the share of what is there; a share of 0 or 1 costs nothing where it is right."""
    with np.errstate(divide="ignore"):
        cost = np.where(labels > 0, -np.log(share), -np.log1p(-share))
    return float(np.nanmean(np.where(np.isnan(labels), np.nan, cost)))


def counted_targets(objective: Any, batch: Mapping[str, Any]) -> np.ndarray | None:
    """The targets of a time-major batch that the objective counts: [n] classes or [n, K] numbers, those with no known
    number left out; None where there are none, or for an objective that is no `Objective`."""
    if not hasattr(objective, "scored") or "y" not in batch:
        return None
    x, y = batch["x"], np.asarray(batch["y"])
    steps, cases = np.shape(x)[:2]
    valid = np.ones((steps, cases), bool)
    if "lengths" in batch:
        valid &= np.arange(steps)[:, None] < np.asarray(batch["lengths"])[None]
    if "mask" in batch:
        valid &= np.asarray(batch["mask"], bool)
    counted = y[np.asarray(objective.scored(valid))]
    if objective.classifies:
        return counted[counted != UNKNOWN]
    counted = counted.reshape(len(counted), -1)
    return counted[~np.isnan(counted).all(axis=1)]


def objective_each(objective: Any) -> bool:
    """Whether targets have a time axis."""
    return bool(getattr(objective, "each", False))
