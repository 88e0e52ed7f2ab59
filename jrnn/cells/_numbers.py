"""One number that a user gives: a rate, a gain, a norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jrnn.types import InputError


def check_number(name: str, value: Any, good: Callable[[float], bool], needed: str) -> float:
    """A plain float of which `good` holds (never of a NaN); no bool, no text, nothing traced, one number."""
    kind, number = getattr(getattr(value, "dtype", None), "kind", ""), math.nan
    try:
        if not isinstance(value, bool | str | bytes) and kind not in ("b", "c") and not getattr(value, "ndim", 0):
            number = float(value)
    except (TypeError, ValueError, OverflowError):  # a tracer's error is a TypeError
        pass
    if not good(number):
        raise InputError(name, f"{value!r:.60}", needed)
    return number
