"""What `prescribe` is given, checked."""

from __future__ import annotations

import math
import re
from typing import Any

from jrnn.training.evaluation import split_options
from jrnn.training.unroll_options import check_options
from jrnn.types import InputError, number_of

UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds_of(budget: Any) -> float:
    """A budget in seconds: 600, "90s", "10m", "1h".

    Raises:
      InputError: it is none of these, or not positive.
    """
    needed = "seconds, or a text such as '90s', '10m' or '1h'"
    if isinstance(budget, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", budget.lower())
        if found is None or found[2] not in UNITS:
            raise InputError("budget", repr(budget), needed)
        budget = float(found[1]) * UNITS[found[2]]
    if not 0 < number_of(budget) < math.inf:
        raise InputError("budget", f"{budget!r:.60}", needed)
    return float(budget)


def check_target(target: Any, data: Any) -> float | None:
    """The loss that counts as solved: as given, or of data with a plateau a seventh of the way up to it."""
    if target is None:
        plateau = getattr(data, "plateau", None)
        least = getattr(data, "best_loss", None) or 0.0
        return None if plateau is None else least + (plateau - least) / 7
    if not math.isfinite(number_of(target)):
        raise InputError("target", f"{target!r:.60}", "a held-out loss that counts as solved, or None")
    return float(target)


def plain_rate(learning_rate: Any) -> float:
    """The learning rate as a number; arms scale it, so it is no schedule."""
    if callable(learning_rate) or not 0 < number_of(learning_rate) < math.inf:
        raise InputError("learning_rate", f"{learning_rate!r:.80}", "a finite number above 0: arms scale it")
    return float(learning_rate)


def check_optimizer_maker(optimizer: Any) -> None:
    """InputError unless it is a function of the learning rate."""
    if not callable(optimizer) or hasattr(optimizer, "update"):
        given = "an Optax transformation" if hasattr(optimizer, "update") else f"{optimizer!r:.60}"
        raise InputError("optimizer", given, "a function of the learning rate, such as optax.adam")


def check_static(options: Any) -> tuple[tuple[str, Any], ...]:
    """Options of `unroll` as a hashable value, or InputError for one that holds arrays."""
    check_options(options)
    fixed, arrays = split_options(options or {})
    for name, value in (*arrays.items(), *fixed):
        try:
            hash(value)
        except TypeError:
            raise InputError("unroll_options", f"an array as {name!r}", "options without arrays") from None
    return fixed
