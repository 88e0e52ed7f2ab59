"""What `prescribe` is given, checked."""

from __future__ import annotations

import math
import re
from typing import Any

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


def check_target(target: Any) -> None:
    """InputError unless it is None or a number."""
    if target is not None and not math.isfinite(number_of(target)):
        raise InputError("target", f"{target!r:.60}", "a held-out loss that counts as solved, or None")
