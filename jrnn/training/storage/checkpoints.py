"""One checkpoint a folder, written by Orbax: pytrees of arrays, a JSON description, and a checksum of each file.

A checkpoint appears under its name only when it is whole (it is written elsewhere and renamed), so a process killed at
any moment leaves the older ones as they were. Folders are named by step; the newest that can be read counts.
"""

import json
import os
import re
import shutil
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.extras import require
from jrnn.training.storage.quiet import quiet
from jrnn.training.storage.trees import facts, layout_of, to_host
from jrnn.types import InputError

FORMAT = 1
UNFINISHED = (".unfinished", ".orbax-checkpoint-tmp", ".removed")  # what a killed process may leave
FILES = "files.json"


class Stored(NamedTuple):
    """A checkpoint that was read, and is whole."""

    trees: dict[str, dict[str, Any]]
    """Per tree: "layout", "leaves" (path, shape, dtype) and "arrays", the leaves as NumPy arrays."""
    about: dict[str, Any]
    """The JSON description it was written with."""
    path: Path
    time: float
    """When it was written, in seconds since 1970; 0 if it does not say."""


class Damaged(Exception):
    """A folder that is no whole checkpoint."""


def write(path: Path, trees: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes the pytrees and the JSON-able `about` as one checkpoint at `path`, which must not exist; all or
    nothing."""
    index: dict[str, Any] = {}
    arrays: dict[str, Any] = {"format": np.asarray(FORMAT, np.int32)}
    for name, tree in trees.items():
        leaves = []
        for number, (key_path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(tree)[0]):
            array, kind = to_host(leaf)
            leaves.append({"path": jax.tree_util.keystr(key_path), **facts(array), "kind": kind})
            if array.size:  # Orbax stores no empty arrays
                arrays[f"{name}.{number}"] = array
        index[name] = {"layout": layout_of(tree), "leaves": leaves}
    description = {"format": FORMAT, "trees": index, "about": dict(about), "time": time.time()}
    aside = path.absolute().with_name(f"{path.name}{UNFINISHED[0]}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        save(aside, arrays, description)
        (aside / FILES).write_text(json.dumps(checksums(aside)), encoding="utf-8")
        os.rename(aside, path.absolute())
    except OSError:
        tidy(path.absolute().parent, keep=None)  # a full disk needs the room
        raise


def save(path: Path, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Hands both to Orbax; OSError if it cannot write them."""
    ocp = require("orbax.checkpoint")
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        items = ocp.args.Composite(arrays=ocp.args.PyTreeSave(arrays), description=ocp.args.JsonSave(description))
        try:
            with quiet():
                checkpointer.save(path, args=items)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # TensorStore has kinds of its own for a full disk
            raise OSError(reason(error)) from error


def reason(error: Exception) -> str:
    """What the operating system said, out of the text that TensorStore made of it."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else str(error).partition("\n")[0]


def read(path: Path) -> Stored:
    """The checkpoint at `path`; `Damaged` with the reason if any part is missing or changed, InputError if it is
    newer."""
    ocp = require("orbax.checkpoint")
    check_files(path)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        try:
            return restored(path, checkpointer)
        except (InputError, Damaged, MemoryError):
            raise
        except Exception as error:  # Orbax and what it builds on raise many kinds for a broken folder
            raise Damaged(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def restored(path: Path, checkpointer: Any) -> Stored:
    """What a checkpoint holds; any kind of error where it holds something else."""
    ocp = require("orbax.checkpoint")
    composite = checkpointer.restore(path.absolute(), args=ocp.args.Composite(description=ocp.args.JsonRestore()))
    description = composite["description"]
    if description["format"] != FORMAT:
        given = f"{path}, of format {description['format']}"
        raise InputError("directory", given, f"format {FORMAT}, which this version of jrnn reads")
    index, about = description["trees"], description["about"]
    if not {"cell", "objective"} <= about.keys() or not isinstance(about.get("metadata", {}), dict):
        raise Damaged(f"{path} does not say what it is of")
    names = [f"{name}.{i}" for name, tree in index.items() for i, leaf in enumerate(tree["leaves"]) if filled(leaf)]
    wanted = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in ["format", *names]}
    args = ocp.args.PyTreeRestore(item=dict.fromkeys(wanted, 0), restore_args=wanted)
    arrays = checkpointer.restore(path.absolute(), args=ocp.args.Composite(arrays=args))["arrays"]
    for name, tree in index.items():
        tree["arrays"] = []
        for i, leaf in enumerate(tree["leaves"]):
            key = f"{name}.{i}"
            array = arrays[key] if filled(leaf) else np.zeros(leaf["shape"], jnp.dtype(leaf["dtype"]))
            if facts(array) != {"shape": leaf["shape"], "dtype": leaf["dtype"]}:
                raise Damaged(f"{path}: {name}{leaf['path']} is not what was written")
            tree["arrays"].append(array)
    return Stored(index, about, path, float(description.get("time", 0.0)))


def filled(leaf: dict[str, Any]) -> bool:
    """Whether a leaf has entries: Orbax stores no empty arrays."""
    return 0 not in leaf["shape"]


@contextmanager
def understood(path: Path, argument: str) -> Iterator[None]:
    """A context in which a description is used: InputError where the description is whole, but says what no version of
    jrnn wrote."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # any kind, according to what stands there instead
        given = f"{path}, whose description cannot be understood ({type(error).__name__}: {error})"
        raise InputError(argument, given, "a checkpoint as jrnn wrote it") from error


def checksums(path: Path) -> dict[str, int]:
    """CRC-32 of each file below `path`, by relative name."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != FILES)
    return {file.relative_to(path).as_posix(): zlib.crc32(file.read_bytes()) for file in files}


def check_files(path: Path) -> None:
    """`Damaged` if a file of the checkpoint is missing or changed; Orbax never sees it then."""
    try:
        expected = json.loads((path / FILES).read_text(encoding="utf-8"))
        present = checksums(path)
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{path} is unreadable: {error}") from error
    if not isinstance(expected, dict) or not expected:
        raise Damaged(f"{path}: {FILES} holds no checksums")
    changed = [name for name, value in expected.items() if present.get(name) != value]
    if changed:
        raise Damaged(f"{path}: {changed[0]} is {'changed' if changed[0] in present else 'missing'}")


def newest(folder: Path, argument: str = "directory") -> Stored | None:
    """The newest readable checkpoint in `folder`, None if there are none; warns of damaged ones that are passed over.

    A run that goes on meanwhile removes older ones once a newer one is there: then the search begins again.

    Raises:
      InputError: there are checkpoints, and none can be read.
    """
    reasons = []
    for step in sorted(settled_steps(folder), reverse=True):
        try:
            stored = read(folder / str(step))
        except Damaged as error:
            if not (folder / str(step)).exists():
                return newest(folder, argument)
            reasons.append(str(error))
            continue
        if reasons:
            warnings.warn(f"passed over damaged checkpoints: {'; '.join(reasons)}", UserWarning, stacklevel=2)
        return stored
    if reasons:
        raise InputError(argument, "; ".join(reasons), "at least one whole checkpoint")
    return None


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint whose files are as they were written; None if there is none."""
    for step in sorted(steps_in(folder), reverse=True):
        try:
            check_files(folder / str(step))
        except Damaged:
            continue
        return folder / str(step)
    return None


def settled_steps(folder: Path) -> list[int]:
    """The steps; while another process puts a new checkpoint in the place of the only one, those after that."""
    for _ in range(50):
        steps = steps_in(folder)
        if steps or not folder.is_dir() or not any(folder.iterdir()):
            return steps
        time.sleep(0.01)
    return []


def steps_in(folder: Path) -> list[int]:
    """The steps that have a folder of their own; unfinished ones have another name."""
    if not folder.is_dir():
        return []
    return [
        int(entry.name) for entry in folder.iterdir() if re.fullmatch("0|[1-9][0-9]*", entry.name) and entry.is_dir()
    ]


def tidy(folder: Path, keep: int | None) -> None:
    """Removes all but the newest `keep` checkpoints (None: keeps all), and what a killed process left unfinished."""
    for step in [] if keep is None else sorted(steps_in(folder))[:-keep]:
        remove(folder / str(step))
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if any(mark in entry.name for mark in UNFINISHED):
            shutil.rmtree(entry, ignore_errors=True)


def set_aside(folder: Path, step: int, whole: int) -> None:
    """Renames the checkpoints after `step`, so that their steps can be written again; nothing is deleted. Those after
    `whole`, the newest that could be read, are damaged, the others ahead of where a run goes on."""
    for later in steps_in(folder):
        if later > step:
            aside = f"{later}.{'damaged' if later > whole else 'ahead'}"
            number = sum(entry.name.startswith(aside) for entry in folder.iterdir())
            os.rename(folder / str(later), folder / f"{aside}{number or ''}")


def remove(path: Path) -> None:
    """Renames first, then deletes: a checkpoint is whole or not there at all."""
    aside = path.with_name(f"{path.name}{UNFINISHED[-1]}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)
