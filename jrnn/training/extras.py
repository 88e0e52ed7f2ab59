"""What the extra `train` brings (rich, Orbax, tensorboardX) is imported when first used."""

from __future__ import annotations

import importlib
from types import ModuleType

from jrnn.types import InputError

PACKAGES = {"orbax.checkpoint": "orbax-checkpoint", "rich.progress": "rich", "tensorboardX": "tensorboardX"}


def extra(name: str) -> ModuleType:
    """The module of this name, or InputError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise InputError(
            f"package {PACKAGES.get(name, package)}", "not installed", 'pip install "jrnn[train]"'
        ) from error
