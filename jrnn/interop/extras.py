"""The libraries that this room is about are extras, imported when first used."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from jrnn.types import InputError

EXTRAS = {
    **{"flax": "flax", "equinox": "equinox", "haiku": "haiku", "safetensors": "weights"},
    **{"onnx": "onnx", "google": "onnx"},  # google.protobuf, which onnx brings
    **{"g2p_en": "trained", "g2pM": "trained"},
}
ALONE = {"silero_vad": "silero-vad==6.2.3"}  # read without what else they bring, which no extra can say


def require(name: str) -> ModuleType:
    """The module of this name, or an InputError that names the extra to install."""
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise missing(package) from error


def missing(package: str) -> InputError:
    """The error for a package that is not there."""
    needed = f"pip install --no-deps {ALONE[package]}" if package in ALONE else f'pip install "jrnn[{EXTRAS[package]}]"'
    return InputError(f"package {package}", "not installed", needed)


def file_in(package: str, inside: str) -> Path:
    """Where a file of an installed package lies; the package is not imported. InputError where it is not there."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        if (path := Path(folder, inside)).is_file():
            return path
    raise missing(package)
