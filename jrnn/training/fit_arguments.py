"""The numbers and the folder that `fit` is given, checked before anything is traced."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.training.storage.folders import folder_of
from jrnn.types import InputError
from jrnn.unrolling.checks import check_count, is_count

OPTIONAL = ("max_skipped", "flow_every")  # None: without


def check_counts(steps: Any, **others: Any) -> None:
    """InputError unless steps are in their range, and the others positive integers."""
    check_count("steps", steps, 0, "an integer of at least 0")
    for name, value in others.items():
        if value is not None or name not in OPTIONAL:
            check_count(name, value, 1, "an integer of at least 1")
    if steps >= 2**31:
        raise InputError("steps", steps, "fewer than 2^31")


def check_seed(seed: Any) -> int:
    """A plain int, or InputError."""
    if not is_count(seed) or seed >= 2**63:
        raise InputError("seed", repr(seed), "an integer from 0 to 2^63 - 1, or several of them in a list")
    return int(seed)


def seeds_of(seed: Any) -> tuple[int, ...] | None:
    """Those of an ensemble, each once; None for a single run."""
    if isinstance(seed, np.ndarray) and seed.ndim == 1:
        seed = list(seed)
    if not isinstance(seed, list | tuple | range):
        return None
    seeds = tuple(map(check_seed, seed))
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError("seed", repr(seed), "at least one seed, each once")
    return seeds


def folder_for(out: str | os.PathLike[str] | None, *, resume: bool, tensorboard: bool) -> Path | None:
    """The run's folder as a path; InputError where one is needed and none was given."""
    if out is None and (resume or tensorboard):
        raise InputError("out", "None", "a folder, for resume=True" if resume else "a folder, for tensorboard=True")
    return None if out is None else folder_of("out", out)


def interruption(done: int, steps: int, folder: Path | None, members: int | None = None) -> str:
    """What is printed after Ctrl-C: what is kept, and how to go on."""
    saved = "nothing saved, since out is None"
    if folder is not None and members is not None:
        saved = f"{members} members saved in {folder}; go on with resume=True, the same out and the same seeds"
    elif folder is not None:
        options = f"--resume --out {shlex.quote(str(folder))}"
        saved = f"saved in {folder}; go on with resume=True and the same out (command line: {options})"
    return f"interrupted after step {done} of {steps}: {saved}"
