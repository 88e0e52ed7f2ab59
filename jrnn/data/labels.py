"""Labels as they stand in a file, as the classes 0 to K - 1; integers as symbols, one-hot."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jrnn.types import UNKNOWN, InputError

MOST_CLASSES = 10_000
MOST_SYMBOLS, MOST_VALUES = 4096, 500_000_000


class Classes(NamedTuple):
    """Labels numbered from 0."""

    y: np.ndarray
    """int64, the shape of the labels: classes, and -100 where a label is missing."""
    names: tuple[str, ...]
    """The label of each class as it stands in the file."""
    said: str
    """A clause where they had to be numbered anew; else empty."""
    missing: bool
    """Whether some are missing."""


def as_classes(
    labels: np.ndarray, valid: np.ndarray, missing: bool = False, known: Sequence[str] | None = None
) -> Classes:
    """Labels as classes: 1..4 become 0..3, gaps are closed, -1 and 1 are two classes, texts are numbered in order.

    Other negative labels are refused: mostly they mark what is to be ignored.

    Args:
      labels: integers, bool or text [cases] or [cases, T]; valid: bool of that shape; what is not valid becomes 0.
      missing: whether -100 stands for a label that is not known.
      known: the names of a model's classes, by which labels are then numbered; some of them may not occur.
    Raises:
      InputError: a single label, a negative one, one of `MOST_CLASSES` and more, or one that is not among `known`.
    """
    text = labels.dtype.kind in "SU"
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    unknown = valid & (labels == UNKNOWN) if missing and not text else np.zeros(valid.shape, bool)
    used = np.unique(labels[valid & ~unknown])
    if not len(used):
        raise InputError("y", "no label that is known", "labels of at least two classes")
    if known:
        return _numbered(labels, valid, unknown, used, list(known))
    if len(used) == 1:
        raise InputError("y", f"the label {labelled(used[0])} only", "labels of at least two classes")
    if len(used) > MOST_CLASSES or (not text and int(used[-1]) >= MOST_CLASSES):
        given = f"{len(used):,} different texts" if text else f"label {used[-1]}"
        raise InputError("y", given, f"labels below {MOST_CLASSES}; floats for numbers to predict")
    if not text and used[0] < 0 and used.tolist() != [-1, 1]:
        place = np.argwhere(valid & ~unknown & (labels < 0))[0]
        where = ", ".join(f"{axis} {i}" for axis, i in zip(("case", "time"), place, strict=False))
        needed = (
            "labels of at least 0; -100 is a missing label with --missing mask, steps to ignore lie beyond `lengths`"
        )
        raise InputError("y", f"label {labels[tuple(place)]} at {where}", needed)
    classes = np.where(valid, np.searchsorted(used, labels), 0)
    classes = np.where(unknown, UNKNOWN, classes)
    names = tuple(map(_name, used))
    plain = not text and (labels.dtype.kind == "b" or (int(used[0]) == 0 and int(used[-1]) == len(used) - 1))
    shown = [labelled(label) for label in used]
    listed = ", ".join(shown if len(shown) <= 8 else [*shown[:3], "...", shown[-1]])
    said = [] if plain else [f"the labels {listed} as classes 0 to {len(used) - 1}"]
    said += [f"{int(unknown.sum()):,} missing labels"] * bool(unknown.any())
    return Classes(classes, names, "; ".join(said), bool(unknown.any()))


def _numbered(
    labels: np.ndarray, valid: np.ndarray, unknown: np.ndarray, used: np.ndarray, known: list[str]
) -> Classes:
    """Labels by a model's classes."""
    names = list(map(_name, used))
    foreign = next((name for name in names if name not in known), None)
    if foreign is not None:
        given = f"the label {foreign!r}, which the model has no class for"
        raise InputError("y", given, f"its labels: {', '.join(known[:20])}{', ...' * (len(known) > 20)}")
    places = np.array([known.index(name) for name in names])
    place = np.minimum(np.searchsorted(used, labels), len(used) - 1)  # of what is not valid, anything
    y = np.where(unknown, UNKNOWN, np.where(valid, places[place], 0))
    said = [f"{int(unknown.sum()):,} missing labels"] * bool(unknown.any())
    return Classes(y, tuple(known), "; ".join(["numbered as in training", *said]), bool(unknown.any()))


def _name(label: np.generic) -> str:
    return str(int(label)) if label.dtype.kind == "b" else str(label)


def labelled(label: object) -> str:
    """A label as it is shown: 3, 'cat', 1 for True."""
    return repr(str(label)) if isinstance(label, str) else str(int(label))  # type: ignore[call-overload]


def one_hot(x: np.ndarray, kinds: int | None, lengths: np.ndarray | None = None) -> np.ndarray:
    """Integers [cases, T] or [cases, T, 1] as float32 [cases, T, V], a column a symbol.

    V is `kinds`, or one more than the largest.

    Raises:
      InputError: no integers of at least 0, more symbols than V or than `MOST_SYMBOLS`.
    """
    symbols = x[..., 0] if x.ndim == 3 and x.shape[2] == 1 else x
    if symbols.ndim != 2 or symbols.dtype.kind not in "iu":
        raise InputError("--tokens", f"x of {x.dtype} and shape {list(x.shape)}", "integers [cases, time]")
    if lengths is not None:
        symbols = np.where(np.arange(symbols.shape[1]) < lengths[:, None], symbols, 0)
    low, high = int(symbols.min()), int(symbols.max())
    most = kinds or min(MOST_SYMBOLS, max(2, MOST_VALUES // symbols.size))
    if low < 0 or high >= most:
        raise InputError("--tokens", f"the symbol {low if low < 0 else high}", f"symbols from 0 to {most - 1}")
    return np.eye(kinds or max(high + 1, 2), dtype=np.float32)[symbols]
