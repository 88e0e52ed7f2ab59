"""Reads back from `report.json` what compares networks, the flow of each stage, and the history of the training run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.flow import FlowSummary, Verdict
from jrnn.report.diagnosis import Stage
from jrnn.training.fitted import columns
from jrnn.training.telemetry.metrics import as_row
from jrnn.types import InputError

LEFT_OUT = {"windows": None, "spectrum": None, "theory": ()}
"""Fields of a `FlowSummary` that are not read back."""
NEEDED = "the report.json that this version of `jrnn diagnose` writes"


def read_report(path: str | os.PathLike[str]) -> tuple[dict[str, Any], tuple[Stage, ...]]:
    """(what the report says of its data, its stages) of a `report.json` that `write_report` wrote; without the
    singular values over windows, the Lyapunov spectrum and theory.

    Raises:
      InputError: it cannot be read, or another program or version wrote it.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        stages = tuple(
            Stage(each["name"], int(each["step"]), each["scores"], _flow(each["flow"])) for each in found["stages"]
        )
        return dict(found["data"]), stages
    except OSError as error:
        raise InputError("report", f"{path} ({error.strerror})", "a file that can be read") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("report", f"{path} ({type(error).__name__}: {error})", NEEDED) from error


def read_history(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The history of the training run of a `report.json`, [updates] each, as `Fitted.history`: from the report, or from
    the metrics.jsonl beside it that the report names; empty where nothing was trained.

    Raises:
      InputError: one of the two cannot be read, or another program or version wrote it.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found.get("history_file") is None:
            return {name: _value(column) for name, column in found["history"].items()}
        updates = int(found["clipping"]["updates"])  # a run that went on after the report has more
        file = Path(path).parent / found["history_file"]
        return {name: column[:updates] for name, column in read_metrics(file).items()}
    except OSError as error:
        raise InputError("report", f"{error.filename} ({error.strerror})", "a file that can be read") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("report", f"{path} ({type(error).__name__}: {error})", NEEDED) from error


def read_metrics(file: Path) -> dict[str, np.ndarray]:
    """The columns of a metrics.jsonl, without the steps.

    Raises:
      OSError: it cannot be read.
    """
    rows = [as_row(line) for line in file.read_bytes().splitlines()]
    found = columns([row for row in rows if row is not None])
    return {name: column for name, column in found.items() if name != "step"}


def logs_hold(file: Path, history: Mapping[str, np.ndarray]) -> bool:
    """Whether a metrics.jsonl holds this history, number for number."""
    try:
        found = read_metrics(file)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    same = [np.array_equal(found[name], column, equal_nan=True) for name, column in history.items() if name in found]
    return bool(history) and found.keys() == history.keys() and all(same)


def _flow(found: dict[str, Any]) -> FlowSummary:
    """A summary from its fields."""
    judgement = Verdict(**{each.name: _plain(found["judgement"][each.name]) for each in fields(Verdict)})
    names = [each.name for each in fields(FlowSummary) if each.name not in LEFT_OUT]
    values: dict[str, Any] = LEFT_OUT | {name: _value(found[name]) for name in names if name != "judgement"}
    values["judgement"] = judgement
    return FlowSummary(**values)


def _plain(value: Any) -> Any:
    """A field of a verdict: JSON has lists for tuples and words for numbers that are not finite."""
    if isinstance(value, list):
        return tuple(_plain(each) for each in value)
    return float(value) if value in ("inf", "-inf", "nan") else value


def _value(value: Any) -> Any:
    """A field of a summary: lists are arrays."""
    if isinstance(value, dict):
        return {name: _value(each) for name, each in value.items()}
    if isinstance(value, list):
        return np.asarray(value) if all(isinstance(each, int) for each in value) and value else np.asarray(value, float)
    return _plain(value)
