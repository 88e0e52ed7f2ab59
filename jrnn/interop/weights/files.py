"""Files of named arrays: .safetensors and .npz."""

from __future__ import annotations

import zipfile
import zlib
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


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name, such as a state_dict that `numpy.savez` wrote, as `from_torch` takes them.

    Raises:
      InputError: no such file, no .npz file, or one with Python objects in it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError("path", f"{path} ({error})", "a .npz file of arrays, made with numpy.savez") from error


def save_safetensors(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Writes named arrays, as `to_torch` makes them, to a .safetensors file; needs the extra `weights`."""
    made = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    require("safetensors.numpy").save_file(made, str(path))
