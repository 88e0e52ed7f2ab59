"""Integers given as labels, as the classes 0 to K - 1."""

from __future__ import annotations

import numpy as np

from jrnn.types import InputError

MOST_CLASSES = 10_000


def as_classes(labels: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, int, str]:
    """Labels as int64 classes, the number of classes, and a clause where they had to be numbered anew.

    1..4 become 0..3, gaps are closed, and -1 and 1 are two classes. Other negative labels are refused: mostly they
    mark what is to be ignored (-100, -1).

    Args:
      labels: integers or bool [cases] or [cases, T]; valid: bool of that shape; what is not valid becomes 0.
    Raises:
      InputError: a single label, a negative one, or one of `MOST_CLASSES` and more.
    """
    used = np.unique(labels[valid])
    low, high = int(used[0]), int(used[-1])
    if low == high:
        raise InputError("y", f"the label {low} only", "labels of at least two classes")
    if high >= MOST_CLASSES:
        raise InputError("y", f"label {high}", f"labels below {MOST_CLASSES}; floats for numbers to predict")
    if low < 0 and used.tolist() != [-1, 1]:
        place = np.argwhere(valid & (labels < 0))[0]
        where = ", ".join(f"{axis} {i}" for axis, i in zip(("case", "time"), place, strict=False))
        given = f"label {labels[tuple(place)]} at {where}"
        raise InputError("y", given, "labels of at least 0; steps to ignore lie beyond `lengths`, cases are left out")
    classes = np.where(valid, np.searchsorted(used, labels), 0)
    if labels.dtype.kind == "b" or (low == 0 and high == len(used) - 1):
        return classes, len(used), ""
    shown = [str(label) for label in used.tolist()]
    listed = ", ".join(shown if len(shown) <= 8 else [*shown[:3], "...", shown[-1]])
    return classes, len(used), f"the labels {listed} as classes 0 to {len(used) - 1}"
