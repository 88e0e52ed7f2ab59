"""Reads back from `report.json` what compares networks: the flow of each stage."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.flow import FlowSummary, Verdict
from jrnn.report.diagnosis import Stage
from jrnn.types import InputError

LEFT_OUT = {"windows": None, "spectrum": None, "theory": ()}
"""Fields of a `FlowSummary` that are not read back."""


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
        needed = "the report.json that this version of `jrnn diagnose` writes"
        raise InputError("report", f"{path} ({type(error).__name__}: {error})", needed) from error


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
