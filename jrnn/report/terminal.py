"""The report in the terminal: one table of before against after, then the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jrnn.extras import require
from jrnn.report.diagnosis import Diagnosis, shows_stages
from jrnn.report.plain import plain
from jrnn.report.race_table import LEGEND, race_columns, race_rows
from jrnn.report.table import table_rows
from jrnn.wording import number, sentence_case

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

COLORS = {"healthy": "green", "vanishing": "yellow", "transient growth": "yellow", "undecided": "default"}


@shows_stages
def print_report(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Prints the table and the verdict of each stage; what the console's encoding lacks is spelled in ASCII.

    Args:
      diagnosis: what to print.
      console: where to print; by default a new `rich.console.Console` on standard output (no colour when piped).
    Raises:
      InputError: rich is not installed.
    """
    table_module, texts = require("rich.table"), require("rich.text")
    boxes, padding = require("rich.box"), require("rich.padding").Padding
    output: Console = require("rich.console").Console() if console is None else console

    def text(words: str, style: str = "") -> Text:
        return texts.Text(plain(words, output.encoding), style=style)

    if diagnosis.red_card:
        output.print(padding(text(diagnosis.red_card, style="bold red"), (0, 0, 1, 0)))
    table = table_module.Table(
        title=text(diagnosis.title, style="bold"),
        title_justify="left",
        # told that it is ASCII, rich keeps its form everywhere
        box=boxes.Box(plain(str(boxes.SIMPLE_HEAD), output.encoding), ascii=True),
        pad_edge=False,
        highlight=False,
    )
    table.add_column("", overflow="fold")
    for stage in diagnosis.stages:
        table.add_column(text(stage.name), justify="right", overflow="fold")
    section = None
    for row in table_rows(diagnosis):
        if row.section != section:
            if section is not None:
                table.add_row()
            table.add_row(text(row.section, style="bold"))
            section = row.section
        table.add_row(
            text(f"  {row.label}"), *(text(value) for value in row.values), style="bold cyan" if row.strong else None
        )
    output.print(table)
    if diagnosis.data.get("plateau_reason"):
        output.print(text(f"Plateau {number(diagnosis.data['plateau'])}: {diagnosis.data['plateau_reason']}.\n"))
    width = max((len(stage.name) for stage in diagnosis.stages), default=0)
    for stage in diagnosis.stages:
        name = text(f"{sentence_case(stage.name)}: ".ljust(width + 2), style="bold")
        color = COLORS.get(stage.flow.verdict, "red")
        output.print(padding(name.append(stage.flow.sentence, style=color), (0, 0, 1, 0)))
    if diagnosis.advice:
        output.print(padding(text(diagnosis.advice), (0, 0, 1, 0)))
    if diagnosis.next_command:
        output.print(text(f"{diagnosis.next_command}\n", style="bold"), soft_wrap=True)
    found = diagnosis.prescription
    if found is not None:
        style = {"box": table.box, "pad_edge": False, "highlight": False, "title_justify": "left"}
        race = table_module.Table(title=text("The race", style="bold"), **style)
        output.print(_race(diagnosis, race, text))
        output.print(padding(text(LEGEND, style="dim"), (0, 0, 1, 0)))
        output.print(padding(text(found.sentence, style="bold green" if found.recommends else "bold"), (0, 0, 1, 0)))
        output.print(padding(text(found.evidence), (0, 0, 1, 0)))
        if found.data_lags is not None:
            output.print(padding(text(found.data_lags.sentence), (0, 0, 1, 0)))
        if found.recipe:
            output.print(text(f"{found.recipe}\n"), soft_wrap=True)


def _race(diagnosis: Diagnosis, table: Any, text: Callable[..., Text]) -> Any:
    """The empty table, with a row for each arm."""
    found: Any = diagnosis.prescription
    for i, name in enumerate(race_columns(found)):
        table.add_column(text(name), justify="left" if i == 0 else "right", overflow="fold")
    for i, row in enumerate(race_rows(found, diagnosis.baselines)):
        chosen = found.recommends is not None and i == 0  # what helps comes first
        table.add_row(*map(text, row), style="bold cyan" if chosen else None)
    return table
