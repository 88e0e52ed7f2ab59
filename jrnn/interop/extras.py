"""The libraries that this room is about are extras, imported when first used."""

from __future__ import annotations

import importlib
from types import ModuleType

from jrnn.types import InputError

EXTRAS = {"flax": "flax", "equinox": "equinox", "haiku": "haiku", "safetensors": "weights"}


def require(name: str) -> ModuleType:
    """The module of this name, or an InputError that names the extra to install."""
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise InputError(f"package {package}", "not installed", f'pip install "jrnn[{EXTRAS[package]}]"') from error
