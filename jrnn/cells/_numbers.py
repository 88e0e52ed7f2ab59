"""One number that a user gives: a rate, a gain, a norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jrnn.types import InputError, number_of


def check_number(name: str, value: Any, good: Callable[[float], bool], needed: str) -> float:
    """A plain float of which `good` holds (never of a NaN); no bool, no text, nothing traced, one number."""
    number = number_of(value)
    if not good(number):
        raise InputError(name, f"{value!r:.80}", needed)
    return number


def check_positive(name: str, value: Any, needed: str = "a positive number") -> float:
    """A plain finite float above 0, or InputError."""
    return check_number(name, value, lambda number: 0 < number < math.inf, needed)


def check_not_negative(name: str, value: Any, needed: str = "a finite number, 0 or more") -> float:
    """A plain finite float from 0 on, or InputError."""
    return check_number(name, value, lambda number: 0 <= number < math.inf, needed)


def check_t_max_alone(t_max: Any, name: str, value: Any, default: Any, need: str) -> None:
    """InputError where `value`, which t_max would draw, is given as well: it is not its default."""
    if type(value) is not type(default) or value != default:
        raise InputError("t_max", f"{t_max!r} beside {name}={value!r:.60}", f"one of the two: {need}")
