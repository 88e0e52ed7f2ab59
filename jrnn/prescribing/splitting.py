"""The user's data in three parts: to train on, to choose by, and to compare the finalists on."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jrnn.training.arguments import check_batch
from jrnn.training.batches import check_cases, time_major
from jrnn.training.simple_answers import constant_loss
from jrnn.types import InputError

CHOICE, FINAL = 0.15, 0.2
"""Shares of the cases that are held out."""
MOST = 512
"""Held-out cases that are evaluated at most, evenly spread."""
FAR = 2**20
"""A function data(step) is asked for held-out batches from these steps on, FAR for the choice and 2 FAR for the final;
it is trained on far fewer."""


class Parts(NamedTuple):
    """Held-out parts are batches as the loss takes them, with an axis of batches in front."""

    train: Any
    """Arrays, the cases first, or a user's function of the step."""
    choice: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    steps: int
    """The longest sequence."""
    floor: float | None
    """The plateau of a task with a known answer, or the loss of the best constant answer on the cases of the choice;
    None where the objective does not tell."""
    floor_name: str
    """Which of the two."""
    by_time: bool = False
    """Whether cases may be overlapping windows of one series: the data are split by time."""


def parts_of(data: Any, objective: Any, batch_size: int, seed: int, as_given: bool = False) -> Parts:
    """The three parts. A data set (`jrnn.data`) keeps its held-out cases for the final; where it is split by time, so
    is the choice, with a gap of T + H - 1 cases, for windows overlap and look H steps ahead; of arrays, cases are drawn
    at random.

    Args:
      as_given: whether batches keep the cases first, for a loss of the user's own.
    Raises:
      InputError: the data fit no objective, or there are too few cases to hold some out.
    """
    if callable(data) and not isinstance(data, Mapping):
        return generated(data, objective, batch_size)
    if isinstance(data, Mapping):
        arrays, train, final = check_cases(data, objective), None, None
    elif all(hasattr(data, name) for name in ("subset", "train", "test", "x")):
        train, final = np.asarray(data.train), np.asarray(data.test)
        arrays = check_cases(data.subset(np.arange(len(data.x))), objective)
    else:
        needed = (
            "a data set of jrnn.data, a mapping of arrays {'x': [cases, T, F], 'y': ...}, or a function of the step"
        )
        raise InputError("data", f"a {type(data).__name__}", needed)
    rng, cases = np.random.default_rng(seed), len(arrays["x"])
    if train is None or final is None:
        order = rng.permutation(cases)
        count = max(1, round(FINAL * cases))
        final, train = order[:count], order[count:]
    ahead = getattr(getattr(data, "series", None), "horizon", 1)
    train, choice = chosen(data, train, final, arrays["x"].shape[1] + ahead - 1, rng)
    if min(map(len, (train, choice, final))) < 1:
        raise InputError("data", f"{cases} cases", "enough to train on some, choose by some and compare on some")
    each = bool(getattr(objective, "each", False))

    def take(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: array[rows] for name, array in arrays.items()}

    def held_out(rows: np.ndarray) -> dict[str, np.ndarray]:
        if len(rows) > MOST:
            rows = rows[np.linspace(0, len(rows) - 1, MOST).round().astype(int)]
        batch = take(rows) if as_given else time_major(take(rows), each)
        return {name: np.asarray(array)[None] for name, array in batch.items()}

    lengths = arrays.get("lengths", np.full(cases, arrays["x"].shape[1]))
    floor, name = getattr(data, "plateau", None), "plateau"
    if floor is None:
        floor, name = constant_loss(objective, time_major(take(choice), each)), "best constant answer"
    by_time = earlier(train, final) and not len(getattr(data, "validation", ()))
    return Parts(take(np.sort(train)), held_out(choice), held_out(final), int(lengths.max()), floor, name, by_time)


def chosen(data: Any, train: np.ndarray, final: np.ndarray, span: int, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """(train, choice): the data's own part to choose by, else a share of those trained on; windows share what they hold
    with the next `span` cases."""
    own = np.asarray(getattr(data, "validation", ()), int)
    if len(own):
        return train, own
    by_time = earlier(train, final)
    rest = train if by_time else rng.permutation(train)
    count = max(1, round(CHOICE * len(rest)))
    gap = span if by_time and len(rest) > 2 * (count + span) else 0
    return rest[: max(len(rest) - count - gap, 0)], rest[len(rest) - count :]


def earlier(train: np.ndarray, final: np.ndarray) -> bool:
    """Whether all cases that are trained on come before those of the final."""
    return bool(len(train) and len(final) and train.max() < final.min())


def generated(data: Callable[[int], Any], objective: Any, batch_size: int) -> Parts:
    """Of a function data(step) -> batch: held-out batches are those of steps that no run trains on."""

    def held_out(first: int) -> dict[str, Any]:
        batch = check_batch("data", data(first), "[T, B, F]", f" from data({first})")
        cases = np.shape(jax.tree.leaves(batch["x"])[0])[1]
        batches = [batch, *(data(first + i) for i in range(1, max(1, MOST // 2 // max(cases, 1))))]
        kept = [{name: array for name, array in each.items() if array is not None} for each in batches]
        return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *kept)

    choice = held_out(FAR)
    floor = constant_loss(objective, jax.tree.map(lambda a: a[0], choice))
    steps = np.shape(jax.tree.leaves(choice["x"])[0])[1]
    return Parts(data, choice, held_out(2 * FAR), steps, floor, "best constant answer")
