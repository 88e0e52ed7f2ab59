"""The page `report.html`: one file that asks for nothing else, in light and dark, for desktop and phone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any

from jrnn.report import explained
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures import FIGURES
from jrnn.report.figures.base import Figure
from jrnn.report.inline_svg import inline_svg, theme_colours
from jrnn.report.race_page import race_section
from jrnn.report.reasons import reasons
from jrnn.report.stylesheet import CSS
from jrnn.report.table import GONE, table_rows
from jrnn.report.training_facts import clipping_facts
from jrnn.wording import halving, number, percentage, score, sentence_case, steps

Images = Mapping[str, tuple[bytes, bytes]]
"""For each figure drawn, its SVG for a light and a dark background."""

NUMBER = re.compile(r"[-+]?\d[\w.,]*(?:e[-+]\d+)? %|\d[\w.]*e[-+]\d+|[-+]\d[\w.]*")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LABELS = {
    "lag": "lag needed (steps)",
    "lag_reason": "why this lag",
    "state": "state size N",
    "max_norm": "clipped to norm",
}


def html_page(diagnosis: Diagnosis, images: Images) -> str:
    """The whole page. Everything that comes from outside is escaped."""
    race = [] if diagnosis.prescription is None else [race_section(diagnosis.prescription, diagnosis.baselines)]
    parts = [_head(diagnosis), *_red_card(diagnosis), *race, _verdict(diagnosis), _keys(diagnosis)]
    parts += _chapters(diagnosis, images)
    parts += [_table(diagnosis), _facts(diagnosis), _words(), _foot(diagnosis)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="description" content="{escape(diagnosis.stages[-1].flow.sentence)}">\n'
        f"<title>{escape(diagnosis.title)} · {command_of(diagnosis)}</title>\n"
        f"<style>{CSS}{theme_colours(body)}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def unbroken(text: str) -> str:
    """The text escaped, so marked that no line ends inside a number or before its percent sign."""
    return NUMBER.sub(r'<span class="n">\g<0></span>', escape(text))


def command_of(diagnosis: Diagnosis) -> str:
    """What made the page."""
    return "jrnn diagnose" if diagnosis.prescription is None else "jrnn prescribe"


def _head(diagnosis: Diagnosis) -> str:
    return (
        f'<p class="kicker">{command_of(diagnosis)}</p>\n<h1>{escape(diagnosis.title)}</h1>\n<p>{explained.INTRO}</p>'
    )


def _red_card(diagnosis: Diagnosis) -> list[str]:
    """What is said first: that the network does no better than an answer without a network."""
    if not diagnosis.red_card:
        return []
    first, _, rest = diagnosis.red_card.partition(". ")
    return [
        '<section class="verdict loses" aria-label="Warning">\n<p class="when">Before anything else</p>\n'
        f'<p class="now">{unbroken(first)}.</p>\n<p>{unbroken(rest)}</p>\n</section>'
    ]


def _verdict(diagnosis: Diagnosis) -> str:
    *earlier, last = diagnosis.stages
    tone = last.flow.verdict.replace(" ", "-")
    before = "".join(
        f'<p class="soft">{escape(sentence_case(s.name))}: {unbroken(s.flow.sentence)}</p>\n' for s in earlier
    )
    change = f'<p class="change">{unbroken(last.flow.judgement.change)}</p>\n' if last.flow.judgement.change else ""
    why = "".join(f"<li>{unbroken(reason)}</li>\n" for reason in reasons(last.flow))
    why = f"<h2>Why</h2>\n<ul>\n{why}</ul>\n" if why else ""
    return (
        f'<section class="verdict {tone}" aria-label="Verdict">\n'
        f'<p class="when">{escape(sentence_case(last.name))}</p>\n'
        f'<p class="now">{unbroken(last.flow.sentence)}</p>\n'
        f"<p>{explained.advice(last.flow)}</p>\n{change}{why}{before}{_next(diagnosis)}</section>"
    )


def _next(diagnosis: Diagnosis) -> str:
    """What to try, and the command."""
    if not diagnosis.advice:
        return ""
    command = f"<pre>{escape(diagnosis.next_command)}</pre>\n" if diagnosis.next_command else ""
    return f"<h2>What to try</h2>\n<p>{unbroken(diagnosis.advice)}</p>\n{command}"


def _keys(diagnosis: Diagnosis) -> str:
    """The four numbers to remember, the last stage large and the earlier ones small."""
    stages, last = diagnosis.stages, diagnosis.stages[-1]
    name = "accuracy" if "accuracy" in last.scores else next(iter(last.scores), None)
    kinds: list[tuple[str, list[str]]] = []
    if name is not None:
        values = [score(name, s.scores[name]) if name in s.scores else GONE for s in stages]
        kinds.append((f"{sentence_case(name)} on held-out data", values))
    kinds.append((f"Gradient that arrives at lag {last.flow.lag}", [percentage(s.flow.at_lag) for s in stages]))
    reach = [("at least " if s.flow.reach_is_bound else "") + steps(s.flow.reach) for s in stages]
    kinds.append(("1 % of the gradient reaches back", reach))
    kinds.append(("After the first step back, the gradient", [halving(s.flow.growth) for s in stages]))
    cards = []
    for label, values in kinds:
        small = "".join(
            f'<dd class="soft">{escape(s.name)}: {unbroken(v)}</dd>' for s, v in zip(stages[:-1], values, strict=False)
        )
        cards.append(f'<div><dt>{escape(label)}</dt><dd class="big">{unbroken(values[-1])}</dd>{small}</div>')
    return '<dl class="keys">\n' + "\n".join(cards) + "\n</dl>"


def _chapters(diagnosis: Diagnosis, images: Images) -> Iterator[str]:
    """For each chapter its heading and its figures."""
    chosen = [figure for figure in FIGURES if figure.name in images or figure.is_told(diagnosis)]
    for title, own in groupby(chosen, key=lambda figure: figure.chapter):
        figures = "\n".join(_figure(figure, diagnosis, images.get(figure.name)) for figure in own)
        yield f'<section class="chapter">\n<h2>{title}</h2>\n{figures}\n</section>'


def _figure(figure: Figure, diagnosis: Diagnosis, images: tuple[bytes, bytes] | None) -> str:
    text, alternative = figure.caption(diagnosis)
    words = f'<div class="figure">\n<div>\n<h3>{figure.title}</h3>\n<p>{unbroken(text)}</p>\n</div>\n'
    if images is None:
        return f"{words}</div>"
    return f"{words}{inline_svg(figure.name, *images, alternative)}\n</div>"


def _table(diagnosis: Diagnosis) -> str:
    columns = "".join(f'<th scope="col">{escape(stage.name)}</th>' for stage in diagnosis.stages)
    lines = []
    for section, rows in groupby(table_rows(diagnosis), key=lambda row: row.section):
        lines.append(
            f'<tr><th class="group" scope="colgroup" colspan="{len(diagnosis.stages) + 1}">{escape(section)}</th></tr>'
        )
        for row in rows:
            cells = "".join(f"<td>{escape(value)}</td>" for value in row.values)
            lines.append(
                f'<tr{" class=needed" if row.strong else ""}><th scope="row">{escape(row.label)}</th>{cells}</tr>'
            )
    return (
        "<section>\n<h2>All numbers</h2>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="All numbers">\n<table>\n'
        f'<thead><tr><th scope="col"></th>{columns}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody>\n</table>\n</div>\n</section>"
    )


def _facts(diagnosis: Diagnosis) -> str:
    def block(title: str, facts: Mapping[str, Any]) -> str:
        items = "".join(
            f"<dt>{escape(LABELS.get(k, k.replace('_', ' ')))}</dt><dd>{escape(_fact(v))}</dd>\n"
            for k, v in facts.items()
        )
        return f"<div>\n<h2>{title}</h2>\n<dl>\n{items}</dl>\n</div>" if facts else ""

    blocks = f"{block('The data', diagnosis.data)}\n{block('The network', diagnosis.model)}"
    return f'<section class="facts">\n{blocks}\n</section>'


def _fact(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else number(value) if isinstance(value, float) else str(value)


def _words() -> str:
    items = "".join(f"<dt>{escape(word)}</dt><dd>{unbroken(meaning)}</dd>\n" for word, meaning in explained.GLOSSARY)
    return f'<section class="words">\n<h2>Words</h2>\n<dl>\n{items}</dl>\n</section>'


def _foot(diagnosis: Diagnosis) -> str:
    flow, facts = diagnosis.stages[-1].flow, clipping_facts(diagnosis)
    command = f"<p>This page was made by</p>\n<pre>{escape(diagnosis.command)}</pre>\n" if diagnosis.command else ""
    versions = ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())
    trained = f", after {facts.updates:,} updates" if facts.updates else ""
    counted = f"Gradients of {flow.outputs:,} output times in {flow.sequences:,} sequences were followed back{trained}."
    return f"<footer>\n{command}<p>{escape(counted)}<br>{escape(versions)}</p>\n</footer>"
