"""The report as plain data for other programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from jrnn.prescribing.result import Prescription
from jrnn.report.diagnosis import Diagnosis, OverSeeds, Stage, shows_stages
from jrnn.report.red_card import losses
from jrnn.report.training_facts import clipping_facts
from jrnn.wording import half_life

DERIVED = ("lag", "growth", "entry", "of_entered", "reach", "reach_is_bound", "outputs")


@shows_stages
def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """All numbers of the report as dicts, lists, strings, numbers, booleans and None: strictly valid JSON.

    JSON has no infinities: non-finite numbers are the strings "inf", "-inf" and "nan", which `float` reads back.

    Returns:
      title, command, versions, data and model as they are in the diagnosis; stages: for each name, step, scores,
      verdict, sentence, change, at_lag, half_life (steps, of what entered) and flow (the fields of `FlowSummary`);
      red_card: the warning that the network loses to a baseline, or ""; loses_to: for each such score the baseline's
      name, the score, own and theirs; baselines: for each its name, meaning and scores on held-out data;
      clipping: the fields of `ClippingFacts`, or None where nothing was trained; clipping_proof: the fields of
      `ClippingProof` or None; history: one list per quantity, one number an update, and history_file: None (where
      `write_report` finds the same numbers in the metrics.jsonl of the run beside the report, history is empty and
      history_file is its path from there; `read_history` reads either); over_seeds: of several seeds their scores and
      which of them is shown, or None; prescription: what a race found (recommends, sentence, recipe, table, curves,
      data_lags, ...) or None.
    """
    facts = clipping_facts(diagnosis)
    return plain(
        {
            "title": diagnosis.title,
            "command": diagnosis.command,
            "versions": diagnosis.versions,
            "data": diagnosis.data,
            "model": diagnosis.model,
            "stages": [_stage(stage) for stage in diagnosis.stages],
            "clipping": asdict(facts) if facts.updates else None,
            "clipping_proof": None if diagnosis.clipping_proof is None else asdict(diagnosis.clipping_proof),
            "history": diagnosis.history,
            "history_file": None,
            "over_seeds": _seeds(diagnosis.over_seeds),
            "red_card": diagnosis.red_card,
            "loses_to": _lost(diagnosis),
            "baselines": [each._asdict() for each in diagnosis.baselines],
            "advice": diagnosis.advice,
            "next_command": diagnosis.next_command,
            "prescription": None if diagnosis.prescription is None else _prescription(diagnosis.prescription),
        }
    )


def _lost(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    found = losses(diagnosis.baselines, diagnosis.stages[-1].scores)
    return [{"name": each.baseline.name, "score": each.score, "own": each.own, "theirs": each.theirs} for each in found]


def _seeds(every: OverSeeds | None) -> dict[str, Any] | None:
    """Without the losses, which stand in each run's metrics.jsonl."""
    return every and {"seeds": every.seeds, "scores": every.scores, "typical": every.typical}


def _stage(stage: Stage) -> dict[str, Any]:
    flow = stage.flow
    return {
        "name": stage.name,
        "step": stage.step,
        "scores": stage.scores,
        "verdict": flow.verdict,
        "sentence": flow.sentence,
        "at_lag": flow.at_lag,
        "half_life": half_life(flow.growth),
        "flow": asdict(flow) | {name: getattr(flow, name) for name in DERIVED},
        "change": flow.judgement.change,
    }


def _prescription(found: Prescription) -> dict[str, Any]:
    rows = [row._asdict() | {"against": row.against and row.against._asdict()} for row in found.table]
    names = ("recommends", "sentence", "evidence", "recipe", "learning_rate", "lag", "updates", "target")
    names += ("floor", "floor_name", "prediction", "interrupted")
    curves = {name: {"updates": updates, "losses": losses} for name, (updates, losses) in found.curves.items()}
    lags = found.data_lags and found.data_lags._asdict()
    return {name: getattr(found, name) for name in names} | {"table": rows, "curves": curves, "data_lags": lags}


def plain(value: Any) -> Any:
    """The same value of Python's own types; arrays as nested lists, anything unknown as its `str`."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    return str(value)
