"""A figure inside the page: one SVG for light and dark, whose colours are CSS variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from itertools import chain, count, zip_longest

COLOUR = re.compile(r"#[0-9a-f]{6}\b")
THEMED = re.compile(rf"{COLOUR.pattern}|<image [^>]*/>")
"""What differs between a light and a dark figure: colours, and pictures of pixels."""
VARIABLE = re.compile(r"var\(--([0-9a-f]{6})-([0-9a-f]{6})\)")
ASIDE = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", re.S)
NAME = re.compile(r'\bid="([^"]+)"')
REFERENCE = re.compile(r'#([^"()]+)(?=["\)])')
ROOT = re.compile(r"<svg([^>]*?)(/?)>")
COORDINATES = re.compile(r'\b(?:d|x|y)="[^"]*"')
FINER = re.compile(r"(\.\d\d)\d+")
"""What a coordinate in points has beyond its hundredths: nobody sees it, and it is a twelfth of a page."""
SIZE = re.compile(r'\bwidth="([\d.]+)pt" height="([\d.]+)pt"')
VIEW = re.compile(r'\bviewBox="[^"]*"')


def inline_svg(name: str, light: bytes, dark: bytes, alternative: str) -> str:
    """The SVG element of a figure that was drawn twice, in the same layout, for a light and a dark background.

    Where the two differ in more than colours and pixels, both are there and the style sheet shows one.
    """
    one, other = (_renamed(svg.decode(), name) for svg in (light, dark))
    rest = THEMED.split(one)
    if rest != THEMED.split(other):
        other = _renamed(dark.decode(), f"{name}-dark")
        return "\n".join([_element(one, alternative, "light"), _element(other, alternative, "dark")])
    pairs = zip(THEMED.findall(one), THEMED.findall(other), strict=True)
    whole = "".join(chain.from_iterable(zip_longest(rest, (either(*pair) for pair in pairs), fillvalue="")))
    return _element(whole, alternative)


def recoloured(svg: str, colours: Mapping[str, str]) -> str | None:
    """The SVG with each colour as `colours` has it; None where it holds another one, or pixels, whose colours are not
    known."""
    if "<image" in svg or not set(COLOUR.findall(svg)) <= colours.keys():
        return None
    return COLOUR.sub(lambda found: colours[found[0]], svg)


def theme_colours(page: str) -> str:
    """The rules that give the variables in the page their colours."""
    pairs = sorted(set(VARIABLE.findall(page)))
    light, dark = ("".join(f"--{pair[0]}-{pair[1]}:#{pair[k]};" for pair in pairs) for k in (0, 1))
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n" if pairs else ""


def either(light: str, dark: str) -> str:
    """What is shown on a light and on a dark background, as one text."""
    if light == dark:
        return light
    if light.startswith("#"):
        return f"var(--{light[1:]}-{dark[1:]})"
    return f'{light[:-2]} class="light"/>{NAME.sub("", dark)[:-2]} class="dark"/>'


def _renamed(svg: str, name: str) -> str:
    """The SVG from its first tag on, without metadata and a style of its own; names are counted, as matplotlib makes
    them of colours too, and begin with that of the figure, as a page has many."""
    svg = ASIDE.sub("", svg[svg.index("<svg") :])
    svg = COORDINATES.sub(lambda found: FINER.sub(r"\1", found[0]), svg)
    names: dict[str, str] = {}
    counted = count()

    def renamed(found: re.Match[str]) -> str:
        new = f"{name}-{next(counted)}"
        names.setdefault(found[1], new)
        return f'id="{new}"'

    svg = NAME.sub(renamed, svg)
    return REFERENCE.sub(lambda found: f"#{names.get(found[1], found[1])}", svg).replace("xlink:href", "href")


def _element(svg: str, alternative: str, kind: str = "") -> str:
    """The SVG with a first tag for a page: its size in CSS pixels, and the words for those who do not see it."""
    root = ROOT.search(svg)
    assert root is not None
    size, view = SIZE.search(root[1]), VIEW.search(root[1])
    width, height = (round(float(side)) for side in size.groups()) if size else (346, 281)
    shown = f' class="{kind}"' if kind else ""
    head = f'<svg{shown} role="img" aria-label="{escape(alternative)}" width="{width}" height="{height}"'
    return f"{head}{f' {view[0]}' if view else ''}{root[2]}>{svg[root.end() :].strip()}"
