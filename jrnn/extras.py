"""Packages that only an extra brings: imported when first used; the error for a missing one says what to install."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

from jrnn.types import InputError

EXTRA_OF = {
    **{"orbax": "train", "rich": "train", "tensorboardX": "train", "matplotlib": "plots", "jinja2": "plots"},
    **{"sklearn": "data", "mlxtend": "data", "statsmodels": "data", "pandas": "data"},
    **{"flax": "flax", "equinox": "equinox", "haiku": "haiku", "safetensors": "weights"},
    **{"onnx": "onnx", "google": "onnx"},  # google.protobuf, which onnx brings
    **{"g2p_en": "trained", "g2pM": "trained"},
}
"""The extra of jrnn that brings a package, by the name that is imported."""
WITHOUT_DEPENDENCIES = {"silero_vad": "silero-vad==6.2.3"}
"""Packages to install without their dependencies, which an extra cannot express."""
NAME_FOR_PIP = {"orbax": "orbax-checkpoint", "sklearn": "scikit-learn"}


def require(module: str, purpose: str = "") -> Any:
    """The module of this name, imported.

    Raises:
      InputError: its package is not installed. What the package itself fails to import is raised as it is.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise missing(package, purpose) from error


def missing(package: str, purpose: str = "", found: str = "not installed") -> InputError:
    """The error for a package that is not there: its name for pip, the extra that brings it, and what for."""
    name = NAME_FOR_PIP.get(package, package)
    to_install = f'"jrnn[{EXTRA_OF[package]}]"' if package in EXTRA_OF else name
    if package in WITHOUT_DEPENDENCIES:
        to_install = f"--no-deps {WITHOUT_DEPENDENCIES[package]}"
    return InputError(f"package {name}", found, f"pip install {to_install} {purpose}".rstrip())


def package_file(package: str, inside: str, purpose: str = "") -> Path:
    """The path of the file `inside` of an installed package, which is not imported.

    Raises:
      InputError: the package, or the file in it, is not there.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise missing(package, purpose)
    for folder in spec.submodule_search_locations or []:
        if (path := Path(folder, inside)).is_file():
            return path
    raise missing(package, purpose, f"{with_version(package)}, which lacks {inside}")


def with_version(package: str) -> str:
    """For example `scikit-learn 1.7.2`; the name alone where the version is not recorded."""
    name = NAME_FOR_PIP.get(package, package)
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name
