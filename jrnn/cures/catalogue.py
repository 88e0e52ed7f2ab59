"""All cures by name, and how the command line writes them: NAME or NAME:NUMBER."""

from __future__ import annotations

import dataclasses
import re

from jrnn.cures.adaptive_clips import AutoClip, ZClip
from jrnn.cures.backward_rules import Detached, ScaledGradient
from jrnn.cures.base import Cure
from jrnn.cures.chrono import Chrono
from jrnn.cures.leaky_units import LeakyUnits
from jrnn.cures.measured_starts import Flossed, TunedGain
from jrnn.cures.minimal_gru import MinimalGRU
from jrnn.cures.orthogonal_cell import OrthogonalMatrix
from jrnn.cures.penalised import NormStabilizer, Omega
from jrnn.cures.rate import Rate
from jrnn.cures.uniform_gates import RefinedGates, UniformGates
from jrnn.types import InputError

KINDS: tuple[type[Cure], ...] = (
    Chrono,
    LeakyUnits,
    UniformGates,
    RefinedGates,
    OrthogonalMatrix,
    MinimalGRU,
    TunedGain,
    Flossed,
    ScaledGradient,
    Detached,
    Omega,
    NormStabilizer,
    AutoClip,
    ZClip,
    Rate,
)
"""A new cure is a file in this folder and its class here."""
CURES: dict[str, type[Cure]] = {kind.name: kind for kind in KINDS}
"""By name, as the command line has them."""


def cure(text: str) -> Cure:
    """The cure that a text such as "chrono:200" names.

    Raises:
      InputError: there is none of that name (says which there are), or its number is missing, superfluous or bad.
    """
    name, *given = str(text).split(":")
    if name not in CURES:
        raise InputError("cure", repr(text), f"one of {', '.join(map(usage, KINDS))}")
    fields = dataclasses.fields(CURES[name])  # type: ignore[arg-type]
    least = sum(field.default is dataclasses.MISSING for field in fields)
    try:
        settings = [float(number) for number in given]
    except ValueError:
        raise InputError("cure", repr(text), usage(CURES[name])) from None
    if not least <= len(settings) <= len(fields):
        raise InputError("cure", repr(text), usage(CURES[name]))
    return CURES[name](*settings)


def cures_of(text: str) -> tuple[Cure, ...]:
    """The cures of a text such as "chrono:200", or "chrono:200+leaky:200": those that act together, in that order.

    Raises:
      InputError: as of `cure`.
    """
    return tuple(map(cure, re.split(r"\s*\+\s*(?=[a-z])", str(text).strip())))  # a number may hold a +: 1e+3


def usage(kind: type[Cure]) -> str:
    """How it is written: "chrono:T_MAX", "floss[:K]"."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    required = "".join(f":{field.name.upper()}" for field in fields if field.default is dataclasses.MISSING)
    optional = "".join(f"[:{field.name.upper()}]" for field in fields if field.default is not dataclasses.MISSING)
    return f"{kind.name}{required}{optional}"
