"""What a row of the bad-input tables is: one mistake that a user makes, and what the refusal must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """A mistake in Python: `call` must raise InputError and leave the folder as it was."""

    name: str
    argument: str
    """The argument that the error names."""
    call: Callable[[], Any]
    """Runs in an empty folder of its own, after `files`."""
    words: tuple[str, ...] = ()
    """What the message says besides: what was given, what is needed."""
    files: Callable[[Path], Any] | None = None
    """Writes the user's files into that folder."""


@dataclass(frozen=True)
class Command:
    """A mistake on the command line: one line on standard error, exit code 2, and the folder as it was."""

    name: str
    args: tuple[str, ...]
    words: tuple[str, ...]
    """What the line says: the option, what was given, what is needed."""
    files: Callable[[Path], Any] | None = None
