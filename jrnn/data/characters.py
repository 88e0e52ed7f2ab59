"""English text, one character a step, asking at every step for the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from jrnn.data.checks import error_text
from jrnn.data.dataset import Dataset
from jrnn.data.lags import information_lag
from jrnn.data.splits import chronological_starts
from jrnn.types import InputError

STEPS = 64
MOST_WINDOWS = 2000
MOST_SYMBOLS = 95
RARE = 20  # a symbol seen less often than this in the training part counts as 'other'


def text(seed: int, alphabet: str | None = None) -> Dataset:
    """Python's own help texts: x one-hot float32 [2000, 64, V], y int32 [2000, 64] the next character; V < 100.

    Symbol 0 stands for every character that is rare in, or absent from, the training part. The split is by time, so
    `seed` changes nothing. The text differs a little between Python versions.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError("--data", "text, but this Python has no pydoc_data", "a Python with its help texts") from error
    source = "The help texts of Python's standard library (pydoc_data.topics), PSF licence."
    return next_character("text", "\n".join(topics.values()), source, alphabet)


def book(path: Path, alphabet: str | None = None) -> Dataset:
    """A text file in UTF-8, as `next_character`; `source` says how long it is and how many symbols it has.

    Raises:
      InputError: it cannot be read as text, or is too short.
    """
    characters = characters_of(path)
    data = next_character(path.name, characters, "", alphabet)
    why = "as in training" if alphabet else f"seen less than {RARE} times in the training part"
    source = (
        f"{path.name}: {len(characters):,} characters, read one by one; {data.outputs - 1} symbols and one "
        f"for all others ({why})."
    )
    return replace(data, source=source)


def characters_of(path: Path) -> str:
    """What a text file in UTF-8 holds."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        given = f"{path.name}, which cannot be read ({error_text(error)})"
        raise InputError("--data", given, "a text in UTF-8") from error


def next_character(name: str, characters: str, source: str, alphabet: str | None = None) -> Dataset:
    """Windows of 64 characters spread over a text, as a `classify_each` data set; the last 20 % are held out.

    Args:
      alphabet: that of a saved model, whose symbols are used; by default the text's own.
    """
    codes = np.array([ord(character) for character in characters])
    if len(codes) < 2 * STEPS + 2:
        raise InputError("--data", f"{name} with {len(codes)} characters", f"at least {2 * STEPS + 2}")
    train, test, boundary = chronological_starts(len(codes), STEPS, MOST_WINDOWS)
    known, counts = np.unique(codes[:boundary], return_counts=True)
    common = np.sort(known[np.argsort(-counts, kind="stable")][:MOST_SYMBOLS])
    common = common[np.isin(common, known[counts >= min(RARE, counts.max())])]
    common = common if alphabet is None else np.array([ord(character) for character in alphabet])
    place = np.minimum(np.searchsorted(common, codes), len(common) - 1)  # an alphabet is in the order of its codes
    symbols = np.where(common[place] == codes, place + 1, 0)
    index = np.concatenate([train, test])[:, None] + np.arange(STEPS)
    x, y = symbols[index], symbols[index + 1]
    lag, reason = information_lag(x[: len(train)], x[: len(train)])
    cases, outputs = np.arange(len(index)), len(common) + 1
    parts = cases[: len(train)], cases[len(train) :]
    one_hot = np.eye(outputs, dtype=np.float32)[x]
    return Dataset(
        name, one_hot, y, None, "classify_each", outputs, *parts, lag, reason, source,
        alphabet="".join(map(chr, common)),
    )  # fmt: skip
