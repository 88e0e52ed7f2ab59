"""The rows of the report's table: what the terminal and the page show of each stage."""

from typing import Any, NamedTuple

import numpy as np

from jrnn.report.diagnosis import Diagnosis, Stage
from jrnn.report.training_facts import clipping_facts
from jrnn.training.simple_answers import Baseline
from jrnn.wording import halving, nats, number, percentage, score, steps

GONE = "–"
"""What stands where a stage has no such number."""


class Row(NamedTuple):
    """One line of the table."""

    section: str
    """The heading it stands under."""
    label: str
    values: tuple[str, ...]
    """One per stage."""
    strong: bool = False
    """Whether it is the one to look at: the lag that the task needs."""


def lags_to_show(longest: int, needed: int) -> list[int]:
    """1, 2, 4, 8, ... up to the longest lag there is, and the needed one."""
    powers = [2**i for i in range(max(longest, 0).bit_length()) if 2**i <= longest]
    return sorted({*powers, needed} - ({0} if powers else set()))


def table_rows(diagnosis: Diagnosis) -> list[Row]:
    """All rows, in order: held-out scores, the gradient at each lag, its reach and growth, one step, training."""
    stages = diagnosis.stages
    return [*_scores(diagnosis), *_arrival(stages), *_growth(stages), *_singular(stages), *_training(diagnosis)]


def _scores(diagnosis: Diagnosis) -> list[Row]:
    stages, section = diagnosis.stages, "On held-out data"
    names = list(dict.fromkeys(name for stage in stages for name in stage.scores))
    shown = [name for name in ("accuracy", "loss") if name in names] + [
        n for n in names if n not in ("accuracy", "loss")
    ]

    def cell(name: str, value: Any) -> str:
        return GONE if value is None else score(name, value)

    unit = " (nats a case)" if "accuracy" in names else " (mean squared error)"
    rows = [
        Row(section, name + unit * (name == "loss"), tuple(cell(name, stage.scores.get(name)) for stage in stages))
        for name in shown
    ]
    if diagnosis.over_seeds is not None:
        every, blank = diagnosis.over_seeds, ("",) * (len(stages) - 1)
        rows += [Row(section, f"{name} over {len(every.seeds)} seeds", (*blank, every.spread(name))) for name in shown]
    for each in diagnosis.baselines:
        for name in shown:
            if name in each.scores:
                rows.append(Row(section, f"{name} of {_named(each)}", (cell(name, each.scores[name]),) * len(stages)))
    plateau = diagnosis.data.get("plateau")
    known = [] if plateau is None else [(number(plateau),) * len(stages)]
    return rows + [Row(section, "loss without the lag (plateau)", values) for values in known]


def _named(baseline: Baseline) -> str:
    return baseline.name if baseline.name == "persistence" else f"the {baseline.name}"


def _arrival(stages: tuple[Stage, ...]) -> list[Row]:
    longest = max(len(stage.flow.arriving) for stage in stages) - 1
    needed = stages[-1].flow.lag

    def cell(flow: Any, lag: int) -> str:
        return percentage(flow.arriving[lag]) if lag < len(flow.arriving) else GONE

    return [
        Row(
            "Gradient that arrives",
            f"at lag {lag}{' (the task needs it)' if lag == needed else ''}",
            tuple(cell(stage.flow, lag) for stage in stages),
            strong=lag == needed,
        )
        for lag in lags_to_show(longest, needed)
    ]


def _growth(stages: tuple[Stage, ...]) -> list[Row]:
    flows = [stage.flow for stage in stages]
    reach = tuple(steps(f.reach, f.reach_is_bound) for f in flows)
    return [
        Row("Reach and growth", "1 % still reaches back", reach),
        Row("Reach and growth", "left after the first step", tuple(percentage(f.entry) for f in flows)),
        Row("Reach and growth", "growth per step after it", tuple(nats(f.growth) for f in flows)),
        Row("Reach and growth", "so the gradient", tuple(halving(f.growth) for f in flows)),
    ]


def _singular(stages: tuple[Stage, ...]) -> list[Row]:
    section = "Singular values of one step"
    if not any(stage.flow.forward for stage in stages):
        return []
    medians = [np.asarray(stage.flow.singular_values[1], float) for stage in stages]
    kinds = (("largest", np.max), ("median", np.median), ("smallest", np.min))
    return [Row(section, name, tuple(number(of(m)) if m.size else GONE for m in medians)) for name, of in kinds]


def _training(diagnosis: Diagnosis) -> list[Row]:
    facts, section = clipping_facts(diagnosis), "In the training run"
    if not facts.updates:
        return []
    clipped = "no clipping" if facts.max_norm is None else percentage(facts.clipped_share)
    limit = "" if facts.max_norm is None else f" (max_norm {number(facts.max_norm)})"
    blank = ("",) * (len(diagnosis.stages) - 1)
    return [
        Row(section, "updates", (*blank, f"{facts.updates:,}")),
        Row(section, f"updates clipped{limit}", (*blank, clipped)),
        Row(section, "gradient norm, median", (*blank, number(facts.norm_median))),
        Row(section, "gradient norm, largest", (*blank, number(facts.norm_largest))),
        Row(section, "updates skipped (not finite)", (*blank, f"{facts.skipped:,}")),
    ]
