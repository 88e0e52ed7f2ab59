"""Files of named arrays: .safetensors and .npz."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.extras import require
from jrnn.types import InputError

LARGE, SHRUNK = 10**9, 100  # bytes; no weights of that size shrink by that factor


def load_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file by name, as `from_torch` takes them; needs the extra `weights`.

    Raises:
      InputError: no such file, no safetensors file, or an array of a type that NumPy has not, such as float8.
    """
    opened, arrays, name = require("safetensors").safe_open, {}, ""
    if not is_file(path):
        raise InputError("path", str(path), "a .safetensors file")
    try:
        with opened(str(path), framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                arrays[name] = file.get_tensor(name)
        return arrays
    except Exception as error:  # types it has not are AttributeErrors, and its own error comes from another language
        raise unreadable(path, name, error, "a .safetensors file of float16, bfloat16, float32 or float64") from error


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name, such as a state_dict that `numpy.savez` wrote, as `from_torch` takes them.

    Raises:
      InputError: no such file, no .npz file, one with Python objects in it, or a small one that unpacks to 1e9 bytes.
    """
    needed, arrays, name = "a .npz file of arrays, made with numpy.savez", {}, ""
    if not is_file(path):
        raise InputError("path", str(path), needed)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            size = sum(member.file_size for member in members)
            if size > max(LARGE, SHRUNK * Path(path).stat().st_size):
                raise InputError("path", f"{path}, which unpacks to {size:.3g} bytes", needed)
            for member in members:
                name = member.filename.removesuffix(".npy")
                arrays[name] = member_array(archive, member)
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and the parser of headers raise a dozen kinds
        raise unreadable(path, name, error, needed) from error
    if not arrays:
        raise InputError("path", f"{path}, a zip file without arrays", needed)
    return arrays


def member_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of an archive; its header may not claim more bytes than the member has."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header.get(version, read_header[2, 0])(file)
        size = file.tell() + dtype.itemsize * np.prod([int(n) for n in shape], dtype=object)
        if size != member.file_size and not dtype.hasobject:
            raise ValueError(f"{dtype} of shape {shape} in {member.file_size} bytes")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def is_file(path: Any) -> bool:
    """Whether a file of this name can be there."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError, TypeError):
        return False


def unreadable(path: Any, name: str, error: Exception, needed: str) -> InputError:
    """The error for a file, and the array in it where it is known."""
    return InputError("path", f"{path}{f', array {name!r}' * bool(name)} ({error_text(error)})", needed)


def error_text(error: BaseException) -> str:
    """What foreign code raised."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def save_safetensors(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Writes named arrays, as `to_torch` makes them, to a .safetensors file; needs the extra `weights`.

    Raises:
      InputError: what is no dict of arrays of numbers, or a path that cannot be written.
    """
    if not isinstance(arrays, Mapping):
        raise InputError("arrays", f"a {type(arrays).__name__}", "a dict of arrays by name")
    plain = {str(name): np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.kind not in "fiubV" or array.dtype.names or array.dtype.hasobject:
            raise InputError(name, f"dtype {array.dtype}", "an array of real numbers")
    try:
        require("safetensors.numpy").save_file(plain, str(path))
    except Exception as error:
        raise InputError("path", f"{path} ({error_text(error)})", "a place where a file can be written") from error
