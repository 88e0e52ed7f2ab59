"""Safetensors files of named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.interop.extras import require
from jrnn.types import InputError


def load_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file by name, as `from_torch` takes them; needs the extra `weights`.

    Raises:
      InputError: no such file, or no safetensors file.
    """
    numpy, errors = require("safetensors.numpy"), require("safetensors")
    if not Path(path).is_file():
        raise InputError("path", str(path), "a .safetensors file")
    try:
        return numpy.load_file(str(path))
    except errors.SafetensorError as error:
        raise InputError("path", f"{path} ({error})", "a .safetensors file") from error


def save_safetensors(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Writes named arrays, as `to_torch` makes them, to a .safetensors file; needs the extra `weights`."""
    made = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    require("safetensors.numpy").save_file(made, str(path))
