"""What the extra `train` brings (rich, Orbax, tensorboardX) is imported when first used."""

from __future__ import annotations

import importlib
from types import ModuleType

from jrnn.types import InputError

PURPOSES = {
    "orbax.checkpoint": "checkpoints, `save` and `load`",
    "rich.progress": "the progress bar",
    "tensorboardX": "TensorBoard files",
}


def extra(name: str) -> ModuleType:
    """The module of this name, or InputError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise InputError(PURPOSES[name], f"no package {package}", 'pip install "jrnn[train]"') from error
