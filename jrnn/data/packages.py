"""Finds the optional packages that carry data; without one the error says what to install."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from jrnn.types import InputError


def missing_package(name: str, package: str) -> InputError:
    """The error for data set `name` that comes with `package` (as pip calls it)."""
    given = f"{name}, whose data come with {package}, which is not installed here"
    return InputError("--data", given, f'{package}: pip install "jrnn[data]"')


def package_file(name: str, package: str, inside: str) -> Path:
    """The path of file `inside` of an installed package, found without importing it.

    Raises:
      InputError: the package, or the file in it, is not there.
    """
    spec = importlib.util.find_spec(package.split("==")[0])
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / inside
        if path.is_file():
            return path
    raise missing_package(name, package)
