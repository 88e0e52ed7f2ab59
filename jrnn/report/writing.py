"""Writes the report to a folder: all of it or nothing."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

from jrnn.extras import require
from jrnn.flow import Comparison
from jrnn.report.diagnosis import Diagnosis, shows_stages
from jrnn.report.figures import figures_of, lag_profile
from jrnn.report.figures.base import Figure
from jrnn.report.figures.themes import IN_THE_DARK, PAGE
from jrnn.report.inline_svg import recoloured
from jrnn.report.json_export import to_json
from jrnn.report.json_import import logs_hold
from jrnn.report.page import Picture, html_page
from jrnn.report.plain import PLAIN, decoded
from jrnn.training.fitted import member_folder
from jrnn.training.telemetry.metrics import METRICS
from jrnn.types import InputError


@shows_stages
def write_report(diagnosis: Diagnosis, directory: str | os.PathLike[str]) -> list[Path]:
    """Writes `report.html`, `report.json` and one PNG a figure into `directory`, which is made if needed; the history
    of a run whose metrics.jsonl lies there already is not written again.

    Everything is drawn before the first file is written, and written before the first file gets its name: a failure
    leaves an older report as it was, and no part of a new one. A figure is drawn if the diagnosis has its numbers:
    those of training if something was trained (and that was logged), `gates` for gated cells, `window_bands` and
    `lyapunov` if they were measured.

    Returns:
      The paths written: the page, the JSON file, then the figures.
    Raises:
      InputError: the folder cannot be written, or matplotlib or jinja2 is not installed.
    """
    drawn = {figure.name: _render(diagnosis, figure) for figure in figures_of(diagnosis)}
    files = {
        "report.html": decoded(html_page(diagnosis, drawn)).encode(errors=PLAIN),
        "report.json": _json_text(diagnosis, Path(directory)).encode(),
        **{f"{name}.png": picture.png for name, picture in drawn.items()},
    }
    return _checked(Path(directory), files)


def write_comparison(comparison: Comparison, directory: str | os.PathLike[str]) -> Path:
    """Writes `compare.png`, the curves of all networks in jrnn's own look, into `directory`; returns its path.

    Raises:
      InputError: the folder cannot be written, or matplotlib is not installed.
    """
    with require("matplotlib.style").context(STYLE):
        png = _saved(lag_profile.FIGURE.plot(comparison, dark=False, display=False).figure, "png")
    return _checked(Path(directory), {"compare.png": png})[0]


def _json_text(diagnosis: Diagnosis, folder: Path) -> str:
    """The JSON with one line for each part, so that thousands of numbers do not take a line each; without the history
    that the run itself wrote into the folder."""
    found, seeds = to_json(diagnosis), diagnosis.over_seeds
    for own in (folder, *([] if seeds is None else [member_folder(folder, seeds.typical)])):
        if logs_hold(own / METRICS, diagnosis.history):
            found |= {"history": {}, "history_file": (own / METRICS).relative_to(folder).as_posix()}
    parts = {key: json.dumps(value, allow_nan=False, ensure_ascii=False) for key, value in found.items()}
    lines = (f"{json.dumps(key)}: {json.dumps(json.loads(decoded(part)))}" for key, part in parts.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


STYLE = ["default", PAGE | {"svg.hashsalt": "jrnn", "svg.fonttype": "none", "figure.dpi": 72}]
"""jrnn's own look, whatever the user has set; the text of an SVG is text, and 72 dots per inch are those of an SVG."""


DOTS = {"svg": 130, "png": 200}
"""Per inch, of a file's pixels; those inside an SVG are fewer, as they are there twice."""


def _render(diagnosis: Diagnosis, figure: Figure) -> Picture:
    """One figure. The same diagnosis gives the same bytes, whatever style the user has set. The layout takes a third of
    the time and is computed once: the dark figure differs in its colours alone."""
    with require("matplotlib.style").context(STYLE):
        light: Any = figure.plot(diagnosis, dark=False, display=False).figure
        if (layout := light.get_layout_engine()) is not None:
            layout.execute(light)
        light.set_layout_engine("none")
        panels = figure.readout.panels(light) if figure.readout is not None else ()
        svg = _saved(light, "svg")
        dark = recoloured(svg.decode(), IN_THE_DARK)
        dark = _dark(diagnosis, figure, light) if dark is None else dark.encode()
        return Picture(svg, dark, _saved(light, "png"), panels)


def _dark(diagnosis: Diagnosis, figure: Figure, light: Any) -> bytes:
    """The SVG for a dark background, drawn in the layout of the light one."""
    dark: Any = figure.plot(diagnosis, dark=True, display=False).figure
    dark.set_layout_engine("none")
    for ax, other in zip(light.axes, dark.axes, strict=True):
        other.set_position(ax.get_position(original=True))
    return _saved(dark, "svg")


def _saved(figure: Any, kind: str) -> bytes:
    """A figure as the bytes of a file, drawn once: `savefig` would draw it twice, for a layout that it has."""
    buffer, canvas, before = BytesIO(), figure.canvas, figure.dpi
    figure.set_dpi(DOTS[kind])
    try:
        if kind == "svg":
            require("matplotlib.backends.backend_svg").FigureCanvasSVG(figure).print_svg(
                buffer, metadata={"Date": None}
            )
        else:
            require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure).print_png(buffer)
    finally:
        figure.set_dpi(before)
        figure.set_canvas(canvas)
    return buffer.getvalue()


def _checked(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Writes the files, or InputError."""
    try:
        return _written(folder, files)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise InputError("out", f"{str(folder)!r} ({why})", "a folder that can be written") from error


def _written(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Writes the files beside their names, then moves each to its own."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {folder / name: folder / f".{name}.{os.getpid()}.part" for name in files}
    try:
        for part, content in zip(parts.values(), files.values(), strict=True):
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return list(parts)
