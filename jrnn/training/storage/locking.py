"""One writer a folder: a lock that the operating system takes back when the process ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jrnn.training.storage.folders import storing
from jrnn.types import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FAR = 2**30  # Windows lets nobody read a locked byte: this one is far behind the process id
HELD: set[int] = set()  # descriptors of locks held by this process
LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # file systems that know no locks


@contextmanager
def locked(folder: Path, doing: str, argument: str, patience: float = 0.0) -> Iterator[None]:
    """Holds the lock of an existing folder; readers need none.

    Args:
      folder: where; the file `<doing>.lock` is there while the lock is held (and after kill -9, then free).
      doing: "training" or "saving": those that do the same exclude each other.
      argument: the one that names the folder, for the error.
      patience: seconds to wait for another process.
    Raises:
      InputError: another process, or another call in this one, holds it; tells its process id.
      StorageError: the file cannot be written.
    """
    path, began = folder / f"{doing}.lock", time.monotonic()
    with storing(folder):
        while (descriptor := taken(path)) is None:
            waited, pid = time.monotonic() - began, holder(path)
            if waited >= patience + (0 if pid else 1):  # whoever has just taken it is about to write its number
                given = f"{folder}, where process {pid or 'unknown'} is {doing}"
                raise InputError(argument, given, "another folder, or that process to end first")
            time.sleep(0.01)
    HELD.add(descriptor)
    try:
        with storing(folder):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        if descriptor in HELD:  # not so in a forked child, where the lock is the parent's
            HELD.discard(descriptor)
            released(path, descriptor)


def taken(path: Path) -> int | None:
    """The descriptor of the locked file; None if another process holds it, or took its name away meanwhile."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        lock(descriptor)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def released(path: Path, descriptor: int) -> None:
    """Removes the file and unlocks it. Windows keeps the name of an open file."""
    try:
        path.unlink()
    except OSError:
        pass
    os.close(descriptor)


def lock(descriptor: int) -> None:
    """Locks an open file, or BlockingIOError or PermissionError at once."""
    if sys.platform == "win32":
        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in LOCKLESS:
                raise


def holder(path: Path) -> str:
    """The process id in a lock file; "" if there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def let_go() -> None:
    """Forgets the locks in a forked child, which may outlive the process that holds them."""
    while HELD:
        os.close(HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=let_go)
