"""The page stands alone, and files are written whole or not at all."""

import itertools
import json
import os
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.style
import numpy as np
import pytest
from markupsafe import escape

from jrnn.report import to_json, write_report
from jrnn.report.figures import FIGURES, figures_of
from jrnn.report.figures.style import DARK
from jrnn.report.page import Picture, html_page
from jrnn.report.reasons import reasons
from jrnn.report.table import table_rows
from jrnn.report.templating import unbroken
from jrnn.report.writing import STYLE, _render
from jrnn.types import InputError
from tests.report import samples

SVG = Picture(b"<svg/>", b"<svg/>")
IMAGES = {name: SVG for name in ("lag_profile", "singular_values", "clipping", "training")}
MEASURED = ["unrolled", "lag_profile", "credit_map", "heard_lags", "window_bands", "singular_values", "lyapunov"]


@pytest.fixture
def instant(monkeypatch):
    """Draws nothing: for tests that look at files, not at pictures."""
    monkeypatch.setattr("jrnn.report.writing._render", lambda *_: SVG)


def plain(html):
    return unescape(re.sub(r"<[^>]+>", "", re.sub(r"<style>.*?</style>", "", html, flags=re.S)))


def drawn(value):
    """The figures of a diagnosis by name."""
    return {figure.name: figure for figure in figures_of(value)}


class Balanced(HTMLParser):
    """Fails on a tag that is closed without being open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", samples.EVERY.values(), ids=samples.EVERY)
def test_page_shows_the_verdict_and_every_number(make):
    value = make()
    html = html_page(value, IMAGES if value.history else {})
    assert escape(value.stages[-1].flow.sentence) in html
    text = plain(html)
    for stage in value.stages:
        assert stage.flow.sentence in text
    for row in table_rows(value):
        assert row.label in text
        for cell in row.values:
            assert f"<td>{unbroken(cell)}</td>" in html
    assert value.command in text and "jax 0.10.2" in text
    assert ("moves no information between lags" in text) == bool(value.history)
    parser = Balanced()
    parser.feed(html)
    assert not parser.open
    assert (
        html.count("<h1>") == 1
        and '<html lang="en">' in html
        and html.count("<svg") == html.count('role="img" aria-label="')
    )


def test_a_red_card_comes_before_every_verdict():
    html = html_page(samples.beaten(), {})
    card = html.index('<section class="verdict loses"')
    assert card < html.index("The network loses to") < html.index('aria-label="Verdict"')
    assert "&lt;stays&gt;" in html and ".loses" in html
    raced = replace(samples.raced(), baselines=samples.beaten().baselines)
    row = '<th scope="row">persistence</th>'
    assert row not in html_page(raced, {})  # updates are compared, no losses
    found = replace(raced, prescription=replace(raced.prescription, target=None))
    assert f"{row}<td>–</td><td>–</td><td>0.00195</td>" in html_page(found, {})
    assert card < html_page(replace(samples.raced(), baselines=samples.beaten().baselines), {}).index(
        'aria-label="Prescription"'
    )
    assert 'class="verdict loses"' not in html_page(samples.beaten(0.001), {})


def test_the_page_tells_its_story_in_order():
    value = samples.gated()
    html = html_page(value, dict.fromkeys(drawn(value), SVG))
    text, flow = plain(html), value.stages[-1].flow
    story = [
        flow.sentence,
        flow.judgement.change,
        *reasons(flow),
        "How much of the gradient arrives",
        "Why",
        "Clipping",
    ]
    places = [text.index(words) if words != "Why" else text.rindex("Why") for words in (*story, "How training went")]
    assert places == sorted(places)
    assert text.count("Clipping is a bandage") == 1
    assert "Clipping is a bandage" in plain(html_page(samples.diagnosis(), IMAGES))  # the sentence, without its figure
    assert "Clipping is a bandage" not in plain(html_page(samples.saved(), {}))


def test_a_gated_cell_is_not_told_to_get_gates():
    gated = samples.flow(-0.2, lags=51, lag_norms_by_gate={"f": np.ones(52)})
    page = plain(html_page(samples.diagnosis(stages=(samples.Stage("as saved", 0, {}, gated),)), {}))
    assert "bias of up to ln(50) = 3.9" in page and "a cell with gates" not in page
    assert "a cell with gates" in plain(html_page(samples.vanished(), {}))


def test_figures_keep_their_proportions():
    svg = b'<svg xmlns:xlink="x" width="345.6pt" height="500.2pt" viewBox="0 0 1 1">'
    assert 'width="346" height="500"' in html_page(samples.saved(), {"lag_profile": Picture(svg, svg)})


def test_user_text_is_escaped():
    bad = "<script>alert('\"&')</script>"
    value = samples.diagnosis(title=bad, command=bad, data={bad: bad}, model={bad: bad}, versions={bad: bad})
    stage = samples.Stage(bad, 0, {bad: 1.0}, value.stages[0].flow)
    html = html_page(samples.diagnosis(title=bad, command=bad, data={bad: bad}, stages=(stage, *value.stages)), IMAGES)
    assert html.count("<script") == 1 and html.count("&lt;script&gt;") > 8


@pytest.mark.thorough
def test_files_written_ask_for_nothing_else(tmp_path):
    folder = tmp_path / "a" / "b"
    value = samples.diagnosis(history=samples.history(4000))
    paths = write_report(value, folder)
    figures = [*MEASURED, "clipping", "training"]
    names = ["report.html", "report.json", *(f"{name}.png" for name in figures)]
    assert [path.name for path in paths] == names and sorted(os.listdir(folder)) == sorted(names)
    assert json.loads(paths[1].read_text()) == to_json(value)
    for path in paths[2:]:
        assert path.read_bytes().startswith(b"\x89PNG")
    html = paths[0].read_text()
    assert not re.search(r"(?!http://www.w3.org/2000/svg\b)https?:|<script[^>]* src|<link|@import|fetch|import\(", html)
    names = re.findall(r'\bid="([^"]*)"', html)
    assert len(set(names)) == len(names) > 100
    for reference in re.findall(r'(?:src|srcset|href)="([^"]*)"', html) + re.findall(r"url\(([^)]*)\)", html):
        assert reference.startswith("data:image/png;base64,") or reference[0] == "#" and reference[1:] in names
    assert html.count("<svg") == len(figures) == 9 and "prefers-color-scheme: dark" in html
    assert paths[0].stat().st_size < 800_000


def test_saved_model_has_no_training_figures(tmp_path, instant):
    names = [path.name for path in write_report(samples.saved(), str(tmp_path))]
    assert names == ["report.html", "report.json", *(f"{name}.png" for name in MEASURED)]
    assert "What clipping did" not in (tmp_path / "report.html").read_text()


def test_the_same_diagnosis_gives_the_same_picture():
    figure = drawn(samples.saved())["lag_profile"]
    assert _render(samples.saved(), figure) == _render(samples.saved(), figure)


@pytest.mark.parametrize("name", ["credit_map", "lyapunov", "gates"])
def test_light_and_dark_lie_on_each_other(name):
    """Each is laid out once; drawn alone, the dark one would be laid out just so."""
    value = samples.gated()
    shown = drawn(value)[name]
    light, dark, png, _ = _render(value, shown)
    size = re.compile(rb'<svg[^>]* width="[^"]*" height="[^"]*" viewBox="[^"]*"')
    frame = re.compile(rb'<g id="(?:patch|axes)_\d+">\s*<path d="([^"]*)"')
    assert size.search(light)[0] == size.search(dark)[0] and png.startswith(b"\x89PNG")
    assert frame.findall(light) == frame.findall(dark) and len(frame.findall(light)) > 1
    assert DARK.background.encode() in dark and DARK.background.encode() not in light
    with matplotlib.style.context(STYLE):
        alone = shown.plot(value, dark=True).figure
        alone.draw_without_rendering()
        assert {matplotlib.colors.to_hex(ax.get_facecolor()) for ax in alone.axes} == {DARK.background}
        places = [ax.get_position().bounds for ax in alone.axes]
        figure = shown.plot(value, dark=False).figure
        figure.draw_without_rendering()
        np.testing.assert_allclose([ax.get_position().bounds for ax in figure.axes], places, atol=1e-3)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_failure_in_mid_write_leaves_the_old_file(tmp_path, monkeypatch, instant, moment):
    (tmp_path / "report.html").write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, moment, fail)
    with pytest.raises(InputError, match="out: got .*No space left on device.*need a folder that can be written"):
        write_report(samples.saved(), tmp_path)
    assert os.listdir(tmp_path) == ["report.html"] and (tmp_path / "report.html").read_text() == "old"


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_unwritable_folder(tmp_path, instant, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="out: got"):
        write_report(samples.saved(), Path(tmp_path) / folder)


def test_every_figure_has_a_name_and_a_title_of_its_own():
    """PNG files are called by the names, and a chapter's figures stand together."""
    assert len({figure.name for figure in FIGURES}) == len({figure.title for figure in FIGURES}) == len(FIGURES)
    chapters = [chapter for chapter, _ in itertools.groupby(FIGURES, key=lambda figure: figure.chapter)]
    assert len(set(chapters)) == len(chapters)


def test_the_page_is_headed_by_the_titles_of_its_figures():
    value = samples.gated()
    html = html_page(value, dict.fromkeys(drawn(value), SVG))
    assert re.findall(r"<h3>(.*?)</h3>", html) == [figure.title for figure in drawn(value).values()]
