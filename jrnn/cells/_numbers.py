"""Numbers that describe a cell."""

from __future__ import annotations

import math
from numbers import Real

from jrnn.types import InputError


def check_number(name: str, value: object, needed: str, least: float = -math.inf) -> float:
    """A finite number, no bool, of at least `least`, as a float; or InputError."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (least <= number < math.inf and number > -math.inf):
        raise InputError(name, repr(value), needed)
    return number
