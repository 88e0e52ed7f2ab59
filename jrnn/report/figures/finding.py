"""Finds what a figure draws in what it was given: a result, results by name, or a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jrnn.flow.comparison import Comparison
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.quantities import Found, Quantity, is_history
from jrnn.types import InputError


def find_in_diagnosis(diagnosis: Diagnosis, quantity: Quantity) -> dict[str, Found | None]:
    """What each stage holds, by its name; None for those that lack it, and nothing where all do."""
    whole = quantity.find(diagnosis)
    if whole is None:
        inside = {name: quantity.find(result) for name, result in quantity.within(diagnosis).items()}
    else:
        inside = {"": whole}
    found = {name: each if each is not None and each.of is not None else None for name, each in inside.items()}
    return found if any(each is not None for each in found.values()) else {}


def find_in_results(measured: Any, quantity: Quantity, lacking: str, needed: str) -> dict[str, Found]:
    """What each result of a dict holds, by its name; of one alone, without a name.

    Raises:
      InputError: a result is of another kind, or of the right one and does not hold it.
    """
    kinds = f"{quantity.words}, a dict {{name: any of them}}, or a jrnn.report.Diagnosis"
    measured = measured.summaries if isinstance(measured, Comparison) else measured
    named = isinstance(measured, Mapping) and (not measured or quantity.find(measured) is None)
    if named and not measured:
        raise InputError("measured", "an empty dict", kinds)
    found = {}
    for name, result in measured.items() if named else [("", measured)]:
        each, where = quantity.find(result), f"{name!r}: " if named else ""
        if each is None:
            kind = "a dict of arrays" if is_history(result) else f"a {type(result).__name__}"
            raise InputError("measured", where + kind, kinds)
        if each.of is None:
            raise InputError("measured", where + lacking, needed)
        found[str(name)] = each
    return found
