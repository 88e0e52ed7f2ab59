"""The table of a race: what the terminal and the page show of each arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jrnn.prescribing.result import Prescription, Row
from jrnn.report.table import GONE
from jrnn.training.simple_answers import Baseline
from jrnn.wording import number, percentage


def race_columns(found: Prescription) -> tuple[str, ...]:
    """The headings; whether runs diverged is told where some did."""
    figure = ("held-out loss",) if found.target is None else (f"updates to {number(found.target)}", "solved")
    diverged = ("diverged",) if any(row.diverged for row in found.table) else ()
    return ("arm", "rate", "arrives", *figure, "against yours", *diverged, "ms")


def race_rows(found: Prescription, baselines: Sequence[Baseline] = ()) -> list[tuple[str, ...]]:
    """One row an arm, finalists first; then the answers that need no network, where losses are compared."""
    columns = race_columns(found)
    rows = [tuple(cells(found, row)[name] for name in columns) for row in found.table]
    for each in baselines if found.target is None else ():
        known = {"arm": each.name, "held-out loss": number(each.scores["loss"])}
        rows.append(tuple(known.get(name, GONE) for name in columns))
    return rows


def cells(found: Prescription, row: Row) -> dict[str, str]:
    """A row in words, by heading."""
    against = GONE
    if row.against is not None:
        low, high = row.against.low, row.against.high
        against = f"{number(row.against.ratio)} ({number(low)} to {number(high)})"
    return {
        "arm": row.cure,
        "rate": number(row.learning_rate),
        "arrives": percentage(row.arriving) if math.isfinite(row.arriving) else GONE,
        "held-out loss": failed(row) or number(row.loss) + left(row),
        f"updates to {number(found.target or math.nan)}": updates(found, row),
        "solved": f"{row.solved}/{row.seeds}" if row.seeds else GONE,
        "against yours": against,
        "diverged": f"{row.diverged}/{row.seeds}" if row.seeds else GONE,
        "ms": number(row.milliseconds) if row.seeds else GONE,
    }


def updates(found: Prescription, row: Row) -> str:
    """The updates it took; of an arm that left early, its loss and where it left."""
    if row.failed:
        return failed(row)
    if row.figure is None:
        return f"{number(row.loss)}{left(row)}"
    return number(row.figure) if row.solved > row.seeds / 2 else f"over {found.updates:,}"


def failed(row: Row) -> str:
    """Why an arm could not be run; nothing for those that could."""
    return f"failed: {row.failed if len(row.failed) < 80 else row.failed[:76] + ' ...'}" if row.failed else ""


def left(row: Row) -> str:
    """Where an arm left the race; nothing for those of the final."""
    return "" if row.figure is not None else f" at {row.updates:,}"


LEGEND = (
    "rate: the learning rate. arrives: the share of a pull on the last output that arrives at the lag before training. "
    "against yours: the ratio to your network as it is, seed by seed, with its interval; below 1 is better. ms: of one "
    "update of one seed. Arms that left the race show their loss and the update at which they left. What arrives after "
    "training is no score: a network that has learnt to hold a bit lets no gradient through."
)
