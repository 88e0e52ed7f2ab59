"""Finds the optional packages that carry data; without one the error says what to install."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from jrnn.types import InputError


def missing_package(name: str, package: str) -> InputError:
    """The error for data set `name` whose `package` (as pip calls it) is not there."""
    return InputError(f"package {package}", "not installed", f'pip install "jrnn[data]" for the data set {name}')


def shipped_with(package: str) -> str:
    """For example `mlxtend 0.25.0`: the package with its installed version, or alone where that is not recorded."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def package_file(name: str, package: str, inside: str) -> Path:
    """The path of file `inside` of an installed package, found without importing it.

    Raises:
      InputError: the package, or the file in it, is not there.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise missing_package(name, package)
    for folder in spec.submodule_search_locations or []:
        path = Path(folder) / inside
        if path.is_file():
            return path
    given = f"{shipped_with(package)}, which lacks {inside}"
    raise InputError(f"package {package}", given, f'pip install "jrnn[data]" for the data set {name}')
