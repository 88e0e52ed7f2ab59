"""One SVG shows what the light one showed on light, and what the dark one showed on dark."""

import re

import matplotlib.style
import pytest

from jrnn.report.figures import figures_of
from jrnn.report.figures.themes import DARK, IN_THE_DARK, LIGHT, colours_of
from jrnn.report.inline_svg import ROOT, VARIABLE, inline_svg, recoloured, theme_colours
from jrnn.report.writing import STYLE, _render, _saved
from tests.report import samples


def resolved(svg, dark):
    """As a browser sees it: variables replaced, pictures of the other background gone."""
    svg = VARIABLE.sub(lambda pair: f"#{pair[2 if dark else 1]}", svg)
    svg = re.sub(rf'<image [^>]*class="{"light" if dark else "dark"}"/>', "", svg)
    return re.sub(r' class="(light|dark)"/>', "/>", svg)


def shapes(svg):
    """What is drawn where, to hundredths of a point, in which colours, pixels included."""
    found = re.findall(r' (?:d|x|y|transform|style|href)="(?!#)[^"]*"|>[^<>]+</text>', svg)
    return [re.sub(r"(\.\d\d)\d+", r"\1", each) if each[1] in "dxy" else each for each in found]


@pytest.mark.parametrize("name", ["lag_profile", "credit_map"])
def test_both_are_in_it(name):
    value = samples.gated()
    figure = next(figure for figure in figures_of(value) if figure.name == name)
    light, dark, *_ = _render(value, figure)
    both = inline_svg(name, light, dark, "words")
    for svg, is_dark in ((light, False), (dark, True)):
        drawn = shapes(svg.decode()[svg.index(b"</metadata>") :].replace("xlink:href", "href"))
        assert len(drawn) > 100 and shapes(resolved(both, is_dark)) == drawn
    assert not re.search(r' (?:d|x|y)="[^"]*\.\d{3}', both)
    assert len(both) < 0.7 * (len(light) + len(dark)) and VARIABLE.search(both)
    assert len(re.findall(r'id="', both)) == len(set(re.findall(r'id="[^"]*"', both)))


@pytest.mark.parametrize(
    "make",
    [samples.diagnosis, *(pytest.param(each, marks=pytest.mark.thorough) for each in (samples.gated, samples.raced))],
)
def test_the_dark_figure_is_the_one_drawn_for_a_dark_background(make):
    """Its colours are put in the place of the light one's, so that it need not be drawn."""
    value, found = make(), 0
    for figure in figures_of(value):
        light, dark, *_ = _render(value, figure)
        if b"<image" in light:
            continue
        with matplotlib.style.context(STYLE):
            drawn = [figure.plot(value, dark=is_dark, display=False).figure for is_dark in (False, True)]
            drawn[0].get_layout_engine().execute(drawn[0])
            for each in drawn:
                each.set_layout_engine("none")
            for ax, other in zip(drawn[0].axes, drawn[1].axes, strict=True):
                other.set_position(ax.get_position(original=True))
            wanted = _saved(drawn[1], "svg").decode()
        assert inline_svg("one", light, dark, "") == inline_svg("one", light, wanted.encode(), ""), figure.name
        assert DARK.background in dark.decode() and DARK.text in dark.decode()
        found += 1
    assert found >= 5


def test_a_figure_of_other_colours_is_drawn_again():
    colours = {"#000001": "#fffffe"}
    assert recoloured('<path style="fill: #000001"/>', colours) == '<path style="fill: #fffffe"/>'
    assert recoloured('<path style="fill: #000001; stroke: #123456"/>', colours) is None
    assert recoloured('<image href="data:"/>', colours) is None


def test_no_two_colours_in_the_dark_for_one_in_the_light():
    pairs = set(zip(colours_of(LIGHT), colours_of(DARK), strict=True))
    assert len(pairs) == len(IN_THE_DARK) >= 10 and all(re.fullmatch("#[0-9a-f]{6}", c) for p in pairs for c in p)


def test_names_begin_with_the_figures_and_are_found():
    svg = (
        b'<?xml?><svg width="72.4pt" height="36pt" viewBox="0 0 72 36"><path id="m1 x"/><use xlink:href="#m1 x"/></svg>'
    )
    found = inline_svg("one", svg, svg.replace(b"m1 x", b"m2"), 'a "b" <c>')
    assert found == (
        '<svg role="img" aria-label="a &quot;b&quot; &lt;c&gt;" width="72" height="36" viewBox="0 0 72 36">'
        '<path id="one-0"/><use href="#one-0"/></svg>'
    )
    assert ROOT.search(found)


def test_two_that_differ_in_shape_are_both_there():
    light, dark = b'<svg><g id="a"/><path d="1"/></svg>', b'<svg><g id="a"/><path d="2"/></svg>'
    found = inline_svg("one", light, dark, "")
    assert '<svg class="light"' in found and '<svg class="dark"' in found
    assert 'id="one-0"' in found and 'id="one-dark-0"' in found


def test_colours_are_rules_of_the_page():
    svg = [f'<svg><path style="fill: {colour}"/></svg>'.encode() for colour in ("#000001", "#fffffe")]
    assert 'style="fill: var(--000001-fffffe)"' in inline_svg("one", *svg, "")
    assert theme_colours("var(--000001-fffffe) var(--000001-fffffe)") == (
        ":root{--000001-fffffe:#000001;}\n@media (prefers-color-scheme: dark){:root{--000001-fffffe:#fffffe;}}\n"
    )
    assert theme_colours("no colours") == ""
