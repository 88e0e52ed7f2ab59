"""One checkpoint a folder, written by Orbax: pytrees of arrays, a JSON description, and a checksum of each file.

A checkpoint appears under its name only when it is whole (it is written elsewhere and renamed), so a process killed at
any moment leaves the older ones as they were. Folders are named by step; the newest that can be read counts.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.training.extras import extra
from jrnn.training.trees import facts, layout_of, to_host
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
    ocp = extra("orbax.checkpoint")
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
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        items = ocp.args.Composite(arrays=ocp.args.PyTreeSave(arrays), description=ocp.args.JsonSave(description))
        aside = path.absolute().with_name(f"{path.name}{UNFINISHED[0]}")
        shutil.rmtree(aside, ignore_errors=True)
        checkpointer.save(aside, args=items)
    (aside / FILES).write_text(json.dumps(checksums(aside)), encoding="utf-8")
    os.rename(aside, path.absolute())


def read(path: Path) -> Stored:
    """The checkpoint at `path`; `Damaged` with the reason if any part is missing or changed, InputError if it is
    newer."""
    ocp = extra("orbax.checkpoint")
    check_files(path)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        try:
            restored = checkpointer.restore(
                path.absolute(), args=ocp.args.Composite(description=ocp.args.JsonRestore())
            )
            description = restored["description"]
            index, about, version = description["trees"], description["about"], description["format"]
        except Exception as error:  # Orbax and what it builds on raise many kinds for a broken folder
            raise Damaged(f"{path} has no readable description: {error}") from error
        if version != FORMAT:
            raise InputError(
                "directory", f"{path}, of format {version}", f"format {FORMAT}, which this version of jrnn reads"
            )
        names = [
            f"{name}.{i}"
            for name, tree in index.items()
            for i, leaf in enumerate(tree["leaves"])
            if 0 not in leaf["shape"]
        ]
        wanted = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in ["format", *names]}
        try:
            args = ocp.args.PyTreeRestore(item=dict.fromkeys(wanted, 0), restore_args=wanted)
            arrays = checkpointer.restore(path.absolute(), args=ocp.args.Composite(arrays=args))["arrays"]
        except Exception as error:
            raise Damaged(f"{path} has unreadable arrays: {error}") from error
    for name, tree in index.items():
        tree["arrays"] = []
        for i, leaf in enumerate(tree["leaves"]):
            array = (
                arrays.get(f"{name}.{i}")
                if f"{name}.{i}" in arrays
                else np.zeros(leaf["shape"], jnp.dtype(leaf["dtype"]))
            )
            if facts(array) != {"shape": leaf["shape"], "dtype": leaf["dtype"]}:
                raise Damaged(f"{path}: {name}{leaf['path']} is not what was written")
            tree["arrays"].append(array)
    return Stored(index, about, path, float(description.get("time", 0.0)))


def checksums(path: Path) -> dict[str, int]:
    """CRC-32 of each file below `path`, by relative name."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != FILES)
    return {file.relative_to(path).as_posix(): zlib.crc32(file.read_bytes()) for file in files}


def check_files(path: Path) -> None:
    """`Damaged` if a file of the checkpoint is missing or changed; Orbax never sees it then."""
    try:
        expected = json.loads((path / FILES).read_text(encoding="utf-8"))
        found = checksums(path)
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} is unreadable: {error}") from error
    changed = [name for name, value in expected.items() if found.get(name) != value]
    if changed:
        raise Damaged(f"{path}: {changed[0]} is {'changed' if changed[0] in found else 'missing'}")


def newest(folder: Path) -> Stored | None:
    """The newest readable checkpoint in `folder`, None if there are none; warns of damaged ones that are passed over.

    Raises:
      InputError: there are checkpoints, and none can be read.
    """
    reasons = []
    for step in sorted(steps_in(folder), reverse=True):
        try:
            stored = read(folder / str(step))
        except Damaged as error:
            reasons.append(str(error))
            continue
        if reasons:
            warnings.warn(f"passed over damaged checkpoints: {'; '.join(reasons)}", UserWarning, stacklevel=2)
        return stored
    if reasons:
        raise InputError("directory", "; ".join(reasons), "at least one whole checkpoint")
    return None


def steps_in(folder: Path) -> list[int]:
    """The steps that have a folder of their own; unfinished ones have another name."""
    if not folder.is_dir():
        return []
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal() and entry.is_dir()]


def tidy(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints, and what a killed process left unfinished."""
    for step in sorted(steps_in(folder))[:-keep]:
        remove(folder / str(step))
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if any(mark in entry.name for mark in UNFINISHED):
            shutil.rmtree(entry, ignore_errors=True)


def set_aside(folder: Path, step: int) -> None:
    """Renames the (damaged) checkpoints after `step`, so that their steps can be written again; nothing is deleted."""
    for later in steps_in(folder):
        if later > step:
            number = sum(entry.name.startswith(f"{later}.damaged") for entry in folder.iterdir())
            os.rename(folder / str(later), folder / f"{later}.damaged{number or ''}")


def remove(path: Path) -> None:
    """Takes the name away first: a checkpoint is whole or not there at all."""
    aside = path.with_name(f"{path.name}{UNFINISHED[-1]}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)
