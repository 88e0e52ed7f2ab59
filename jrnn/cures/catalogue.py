"""All cures by name, and how the command line writes them: NAME or NAME:NUMBER."""

from __future__ import annotations

import dataclasses

from jrnn.cures.base import Cure
from jrnn.cures.chrono import Chrono
from jrnn.cures.rate import Rate
from jrnn.types import InputError

CURES: dict[str, type[Cure]] = {cure.name: cure for cure in (Chrono, Rate)}
"""By name. A new cure is a file in this folder and its class here."""


def cure(text: str) -> Cure:
    """The cure that a text such as "chrono:200" names.

    Raises:
      InputError: there is none of that name (says which there are), or its number is missing, superfluous or bad.
    """
    name, *given = str(text).split(":")
    if name not in CURES:
        raise InputError("cure", repr(text), f"one of {', '.join(map(usage, CURES.values()))}")
    fields = dataclasses.fields(CURES[name])  # type: ignore[arg-type]
    least = sum(field.default is dataclasses.MISSING for field in fields)
    if not least <= len(given) <= len(fields):
        raise InputError("cure", repr(text), usage(CURES[name]))
    try:
        settings = [float(number) for number in given]
    except ValueError:
        raise InputError("cure", repr(text), usage(CURES[name])) from None
    return CURES[name](*settings)


def usage(kind: type[Cure]) -> str:
    """How it is written: "chrono:T_MAX", "floss[:K]"."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    required = "".join(f":{field.name.upper()}" for field in fields if field.default is dataclasses.MISSING)
    optional = "".join(f"[:{field.name.upper()}]" for field in fields if field.default is not dataclasses.MISSING)
    return f"{kind.name}{required}{optional}"
