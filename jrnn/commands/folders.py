"""Where a command writes: --out, or a new folder; one that stays empty is not left behind."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from jrnn.training.storage.checkpoints import steps_in
from jrnn.training.storage.saving import writable
from jrnn.types import InputError

STEM = "jrnn-report"


@contextmanager
def output_folder(args: Namespace, *, trains: bool) -> Iterator[Path]:
    """The folder to write in, made if need be. A folder made here is removed at the end if nothing was written to it.

    Raises:
      InputError: it cannot be written, or would be trained in and holds a run that is not to be resumed.
    """
    created: list[Path] = []
    try:
        if args.out is not None:
            folder = checked(args.out)
            created = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        elif args.resume:
            folder = last_run()
        else:
            folder = new_folder()
            created = [folder]
        writable("--out", folder)
        if trains and os.fsencode(folder.absolute()) != str(folder.absolute()).encode(errors="replace"):
            needed = "a folder with a name in UTF-8, and PYTHONUTF8=1 where the locale is another: checkpoints need it"
            raise InputError("--out", repr(str(folder)), needed)
        if trains and not args.resume and steps_in(folder / "checkpoints"):
            given = f"{folder}, which holds the checkpoints of a run"
            raise InputError("--out", given, "--resume to continue it, or another folder")
        if trains:
            check_seeds(args, folder)
        yield folder
    finally:
        if created and not any(os.lstat(file).st_size for file in files_in(created[0])):
            shutil.rmtree(created[0], ignore_errors=True)
            for parent in created[1:]:
                if os.path.isdir(parent) and not os.listdir(parent):
                    os.rmdir(parent)


def write_whole(out: Path, text: str) -> None:
    """A file with this text, whole or not at all."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, out)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or error
        raise InputError("--out", f"{str(out)!r} ({why})", "a file that can be written") from error


def check_seeds(args: Namespace, folder: Path) -> None:
    """InputError where several seeds would be trained in the folder of one run, or one run in that of several."""
    several = [path.parent.name for path in folder.glob("seed-*/checkpoints") if steps_in(path)]
    if several and args.seeds is None:
        given = f"none, and {folder} holds the runs of {len(several)} seeds"
        raise InputError("--seeds", given, "--seeds N, to go on with them; or another --out")
    if args.seeds is not None and steps_in(folder / "checkpoints"):
        given = f"{args.seeds}, and {folder} holds the run of one seed"
        raise InputError("--seeds", given, "another --out, or no --seeds to go on with that run")


def files_in(folder: Path) -> Iterator[str]:
    """Every file below the folder; none where there is no folder."""
    for where, _, names in os.walk(folder):
        yield from (os.path.join(where, name) for name in names)


def checked(out: str) -> Path:
    """--out as a path."""
    if not out or "\0" in out:
        raise InputError("--out", repr(out), "the name of a folder")
    return Path(out)


def new_folder() -> Path:
    """The first of jrnn-report, jrnn-report-2, ... that is not there, made; no other process gets the same."""
    for number in count(1):
        folder = Path(STEM if number == 1 else f"{STEM}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError("--out", f"none, and {folder} here ({error.strerror})", "a folder to write in") from error
    raise AssertionError


def last_run() -> Path:
    """The run that --resume without --out goes on with: the highest number that has checkpoints."""
    within = {f"{STEM}*/checkpoints": 0, f"{STEM}*/seed-*/checkpoints": 1}
    found = [path.parents[up] for pattern, up in within.items() for path in Path().glob(pattern) if path.is_dir()]
    runs = [folder for folder in found if number_of(folder)]
    if not runs:
        raise InputError("--resume", f"no run in {STEM}*", "--out DIR, the folder of the run to go on with")
    return max(runs, key=number_of)


def number_of(folder: Path) -> int:
    """1 for jrnn-report, 2 for jrnn-report-2, ...; 0 for a name that jrnn does not give."""
    number = folder.name.removeprefix(STEM).removeprefix("-")
    return 1 if folder.name == STEM else int(number) if number.isdecimal() and folder.name == f"{STEM}-{number}" else 0
