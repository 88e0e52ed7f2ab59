"""The numbers and the folder that `fit` is given, checked before anything is traced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jrnn.training.storage.folders import folder_of
from jrnn.types import InputError
from jrnn.unrolling.checks import check_count, is_count

OPTIONAL = ("max_skipped", "flow_every")  # None: without


def check_counts(steps: Any, seed: Any, **others: Any) -> None:
    """InputError unless steps and seed are in their ranges, and the others positive integers."""
    check_count("steps", steps, 0, "an integer of at least 0")
    for name, value in others.items():
        if value is not None or name not in OPTIONAL:
            check_count(name, value, 1, "an integer of at least 1")
    if steps >= 2**31:
        raise InputError("steps", steps, "fewer than 2^31")
    if not is_count(seed) or seed >= 2**63:
        raise InputError("seed", repr(seed), "an integer from 0 to 2^63 - 1")


def folder_for(out: str | os.PathLike[str] | None, *, resume: bool, tensorboard: bool) -> Path | None:
    """The run's folder as a path; InputError where one is needed and none was given."""
    if out is None and (resume or tensorboard):
        raise InputError("out", "None", "a folder, for resume=True" if resume else "a folder, for tensorboard=True")
    return None if out is None else folder_of("out", out)
