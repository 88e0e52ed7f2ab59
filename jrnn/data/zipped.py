"""Named arrays out of a .npz file that anybody may have made: sizes are checked before anything is unpacked."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from jrnn.data.checks import error_text
from jrnn.types import InputError

SMALL = 1_000_000_000  # bytes of an array that need no question
MOST_PACKED = 100  # times the file's own size, above that: numbers that a network learns from do not pack so well
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
NEEDED = "a .npz file made with np.savez"


def arrays_of(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; those not in `wanted` are empty, for only their names are of use.

    Raises:
      InputError: no .npz, or one that is damaged, encrypted, packed in an unknown way or far too well; names the array.
    """
    try:
        with open(path, "rb") as file:
            if file.read(6) == b"\x93NUMPY":
                file.seek(0)
                _header(file)
                raise InputError("--data", f"{path.name}, which is a single array", "a file made with np.savez")
            with zipfile.ZipFile(file) as archive:
                members = [(info.filename.removesuffix(".npy"), info) for info in archive.infolist()]
                names = [name for name, _ in members]
                twice = next((name for name in wanted if names.count(name) > 1), None)
                if twice is not None:
                    raise InputError("--data", f"{path.name}, which holds {twice} twice", "one array of each name")
                read = {name: _array(path, archive, name, info) for name, info in members if name in wanted}
                return {name: read.get(name, np.empty(0)) for name in names}
    except InputError:
        raise
    except Exception as error:  # a foreign file can make the readers raise anything
        raise _unreadable(path, "", error) from error


def _array(path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    whole = path.stat().st_size
    if info.flag_bits & 1:
        raise InputError("--data", f"{path.name}, whose {name} is encrypted", NEEDED)
    if info.compress_type not in PACKINGS:
        raise InputError("--data", f"{path.name}, whose {name} is packed by method {info.compress_type}", NEEDED)
    if info.file_size > max(SMALL, MOST_PACKED * whole):
        given = f"{path.name} of {whole:,} bytes, whose {name} unpacks to {info.file_size:,} bytes"
        raise InputError("--data", given, f"arrays of at most {MOST_PACKED} times the file's size")
    try:
        with archive.open(info) as member:
            shape, by_columns, dtype = _header(member)
            if dtype.hasobject:
                raise InputError(name, "Python objects", "an array of numbers")
            claimed, there = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
            if claimed != there:
                given = (
                    f"{path.name}, whose {name} claims the shape {list(shape)} of {claimed:,} bytes and has {there:,}"
                )
                raise InputError("--data", given, NEEDED)
            data = member.read()
        return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")
    except InputError:
        raise
    except MemoryError as error:
        given = f"{path.name}, whose {name} takes {info.file_size:,} bytes"
        raise InputError("--data", given, "arrays that fit into memory") from error
    except Exception as error:
        raise _unreadable(path, name, error) from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"a header of version {version}")
        try:
            return HEADERS[version](file)
        except Exception as error:  # MemoryError, too: of deep brackets, not of much data
            raise ValueError(f"a damaged header: {type(error).__name__}") from error


def _unreadable(path: Path, name: str, error: Exception) -> InputError:
    which = f"{path.name}, whose {name} cannot be read" if name else f"{path.name}, which cannot be read"
    return InputError("--data", f"{which} ({error_text(error)})", NEEDED)
