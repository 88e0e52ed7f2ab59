"""What the page and the terminal say of a race: the finding, its evidence, the recipe, the table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from jrnn.prescribing.result import Prescription
from jrnn.report.race_table import LEGEND, race_columns, race_rows
from jrnn.training.simple_answers import Baseline


def race_section(found: Prescription, baselines: Sequence[Baseline] = ()) -> str:
    """The section of the page."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in race_columns(found))
    lines = []
    for row in race_rows(found, baselines):
        name, *cells = map(escape, row)
        lines.append(f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    recipe = f"<p>To apply it:</p>\n<pre>{escape(found.recipe)}</pre>\n" if found.recipe else ""
    data = f"<p>{escape(found.data_lags.sentence)}</p>\n" if found.data_lags is not None else ""
    tone = "healthy" if found.recommends else "undecided"
    return (
        f'<section class="verdict {tone}" aria-label="Prescription">\n<p class="when">What helps</p>\n'
        f'<p class="now">{escape(found.sentence)}</p>\n<p>{escape(found.evidence)}</p>\n{data}{recipe}</section>\n'
        '<section>\n<h2>Every arm</h2>\n<div class="scroll" tabindex="0" role="region" aria-label="Every arm">\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + f"\n</tbody>\n</table>\n</div>\n<p>{escape(LEGEND)}</p>\n</section>"
    )


def race_table(found: Prescription, table: Any, text: Any, baselines: Sequence[Baseline] = ()) -> Any:
    """The table for the terminal: `table` is an empty rich table, `text` makes its cells."""
    for i, name in enumerate(race_columns(found)):
        table.add_column(text(name), justify="left" if i == 0 else "right", overflow="fold")
    for i, row in enumerate(race_rows(found, baselines)):
        chosen = found.recommends is not None and i == 0  # what helps comes first
        table.add_row(*map(text, row), style="bold cyan" if chosen else None)
    return table
