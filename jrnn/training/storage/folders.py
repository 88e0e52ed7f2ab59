"""When a folder can no longer be written: one error that says what is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jrnn.training.storage import checkpoints
from jrnn.types import InputError


class StorageError(OSError):
    """A run or a model could not be written: the disk is full, a file is larger than allowed, the folder is gone, ...

    The text is one line: the folder, the reason, and the newest whole checkpoint or model in it. What was whole before
    still is; `fit` with resume=True goes on from it.
    """


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Around whatever writes in a folder: what the operating system refuses becomes a `StorageError`."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror or error}; {kept(folder)}") from error


def kept(folder: Path) -> str:
    """What can still be loaded from a folder, and how to go on."""
    if path := checkpoints.newest_whole(folder / "checkpoints"):
        return f"the newest whole checkpoint is {path}: make room, then go on with resume=True (--resume)"
    if path := checkpoints.newest_whole(folder / "model"):
        return f"the model saved before is whole: {path}"
    return "nothing whole is there yet"


def folder_of(argument: str, value: object) -> Path:
    """The path that a user gave, or InputError if it is none."""
    try:
        if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
            if text and b"\0" not in os.fsencode(text):
                return Path(text)
    except (TypeError, UnicodeError):
        pass
    raise InputError(argument, f"{value!r:.80}", "a path, as text or pathlib.Path")


def writable(argument: str, folder: Path) -> Path:
    """The folder, made if need be, or InputError if nothing can be written there."""
    probe = folder / f".jrnn-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(argument, f"{folder} ({error.strerror})", "a folder that can be written") from error
    return folder
