"""The page `report.html`: one file that asks for nothing else, in light and dark, for desktop and phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from jrnn.report import explained
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures import FIGURES
from jrnn.report.figures.base import Figure
from jrnn.report.inline_svg import inline_svg, theme_colours
from jrnn.report.race_table import LEGEND, race_columns, race_rows
from jrnn.report.reasons import reasons
from jrnn.report.table import GONE, table_rows
from jrnn.report.templating import markup, rendered, source
from jrnn.report.training_facts import clipping_facts
from jrnn.wording import halving, number, percentage, score, sentence_case, steps


class Picture(NamedTuple):
    """A figure that was drawn."""

    light: bytes
    """The SVG for a light background."""
    dark: bytes
    """The SVG for a dark one."""
    png: bytes = b""
    panels: Sequence[Mapping[str, Any]] = ()
    """The numbers of its curves, as `Readout.panels` gives them."""


LABELS = {
    "lag": "lag needed (steps)",
    "lag_reason": "why this lag",
    "state": "state size N",
    "max_norm": "clipped to norm",
}


def html_page(diagnosis: Diagnosis, pictures: Mapping[str, Picture]) -> str:
    """The whole page, with these pictures by the names of their figures; what comes from outside is escaped."""
    told = [figure for figure in FIGURES if figure.name in pictures or figure.is_told(diagnosis)]
    figures = [_figure(figure, diagnosis, pictures.get(figure.name)) for figure in told]
    found = diagnosis.prescription
    return rendered(
        "page.html",
        diagnosis=diagnosis,
        last=diagnosis.stages[-1],
        made_by="jrnn diagnose" if found is None else "jrnn prescribe",
        colours=markup(theme_colours("".join(figure["svg"] for figure in figures))),
        explained=explained,
        prescription=found,
        race=found and (race_columns(found), race_rows(found, diagnosis.baselines), LEGEND),
        reasons=reasons(diagnosis.stages[-1].flow),
        keys=key_numbers(diagnosis),
        chapters=[(name, list(own)) for name, own in groupby(figures, key=lambda figure: figure["chapter"])],
        table=[(name, list(rows)) for name, rows in groupby(table_rows(diagnosis), key=lambda row: row.section)],
        facts={"The data": _facts(diagnosis.data), "The network": _facts(diagnosis.model)},
        counted=_counted(diagnosis),
        script=source("readout.js"),
    )


def _figure(figure: Figure, diagnosis: Diagnosis, picture: Picture | None) -> dict[str, Any]:
    """A figure with its words."""
    text, alternative = figure.caption(diagnosis)
    svg = "" if picture is None else inline_svg(figure.name, picture.light, picture.dark, alternative)
    shown = {"svg": markup(svg), "panels": picture and picture.panels}
    return {"chapter": figure.chapter, "title": figure.title, "text": text, **shown}


def key_numbers(diagnosis: Diagnosis) -> list[tuple[str, list[str]]]:
    """The four numbers to remember, of each stage."""
    stages, last = diagnosis.stages, diagnosis.stages[-1]
    name = "accuracy" if "accuracy" in last.scores else next(iter(last.scores), None)
    kinds = []
    if name is not None:
        values = [score(name, s.scores[name]) if name in s.scores else GONE for s in stages]
        kinds.append((f"{sentence_case(name)} on held-out data", values))
    kinds.append((f"Gradient that arrives at lag {last.flow.lag}", [percentage(s.flow.at_lag) for s in stages]))
    reach = [steps(s.flow.reach, s.flow.reach_is_bound) for s in stages]
    kinds.append(("1 % of the gradient reaches back", reach))
    kinds.append(("After the first step back, the gradient", [halving(s.flow.growth) for s in stages]))
    return kinds


def _facts(known: Mapping[str, Any]) -> dict[str, str]:
    """What is known of the data or the network, in words."""
    return {LABELS.get(name, name.replace("_", " ")): _fact(value) for name, value in known.items()}


def _fact(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else number(value) if isinstance(value, float) else str(value)


def _counted(diagnosis: Diagnosis) -> str:
    flow, facts = diagnosis.stages[-1].flow, clipping_facts(diagnosis)
    trained = f", after {facts.updates:,} updates" if facts.updates else ""
    return f"Gradients of {flow.outputs:,} output times in {flow.sequences:,} sequences were followed back{trained}."
