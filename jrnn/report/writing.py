"""Writes the report to a folder: all of it or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from jrnn.extras import require
from jrnn.report.bands_figure import plot_window_bands
from jrnn.report.credit_figure import plot_credit_map
from jrnn.report.diagnosis import Diagnosis, shows_stages
from jrnn.report.exponents_figure import plot_lyapunov
from jrnn.report.facts import measured
from jrnn.report.heard_figure import plot_gates, plot_heard_lags
from jrnn.report.lag_figure import plot_lag_profile
from jrnn.report.numbers import to_json
from jrnn.report.page import html_page
from jrnn.report.plain import PLAIN, decoded
from jrnn.report.proof_figure import plot_clipping_proof
from jrnn.report.spectrum_figure import plot_singular_values
from jrnn.report.telemetry_figure import plot_flow_telemetry
from jrnn.report.training_figures import plot_clipping, plot_training
from jrnn.report.unrolled_figure import plot_unrolled
from jrnn.types import InputError


@shows_stages
def write_report(diagnosis: Diagnosis, directory: str | os.PathLike[str]) -> list[Path]:
    """Writes `report.html`, `report.json` and one PNG a figure into `directory`, which is made if needed.

    All is drawn before the first file is written, and all is written before the first file gets its name, so what fails
    leaves an older report as it was, and no part of a new one. Figures are drawn
    where the diagnosis has their numbers: those of training where something was trained (and that was logged), `gates`
    for gated cells, `window_bands` and `lyapunov` where they were measured.

    Returns:
      The paths written: the page, the JSON file, then the figures.
    Raises:
      InputError: the folder cannot be written, or matplotlib is not installed.
    """
    drawn = {name: _render(diagnosis, draw) for name, draw in _drawings(diagnosis).items()}
    images = {name: (light, dark) for name, (light, dark, _) in drawn.items()}
    pictures = {f"{name}.png": png for name, (_, _, png) in drawn.items()}
    files = {
        "report.html": decoded(html_page(diagnosis, images)).encode(errors=PLAIN),
        "report.json": _json_text(diagnosis).encode(),
        **pictures,
    }
    try:
        return _written(Path(directory), files)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise InputError("out", f"{str(directory)!r} ({why})", "a folder that can be written") from error


def _json_text(diagnosis: Diagnosis) -> str:
    """One line a part: readable, and not a line for each of thousands of numbers."""
    parts = {key: json.dumps(value, allow_nan=False, ensure_ascii=False) for key, value in to_json(diagnosis).items()}
    lines = (f"{json.dumps(key)}: {json.dumps(json.loads(decoded(part)))}" for key, part in parts.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _drawings(diagnosis: Diagnosis) -> dict[str, Callable[..., Any]]:
    """The figures that the diagnosis has the numbers for, in the order of the page."""
    flows, history = [stage.flow for stage in diagnosis.stages], diagnosis.history
    wanted: dict[str, tuple[Callable[..., Any], Any]] = {
        "unrolled": (plot_unrolled, flows),
        "lag_profile": (plot_lag_profile, flows),
        "credit_map": (plot_credit_map, flows),
        "heard_lags": (plot_heard_lags, flows),
        "gates": (plot_gates, flows and flows[-1].lag_norms_by_gate),
        "window_bands": (plot_window_bands, any(flow.windows is not None for flow in flows)),
        "singular_values": (plot_singular_values, any(flow.forward for flow in flows)),
        "lyapunov": (plot_lyapunov, any(flow.spectrum is not None for flow in flows)),
        "clipping": (plot_clipping, len(history.get("grad_norm", ()))),
        "clipping_proof": (plot_clipping_proof, diagnosis.clipping_proof is not None),
        "flow_telemetry": (plot_flow_telemetry, measured(history).any()),
        "training": (plot_training, len(history.get("loss", ()))),
    }
    return {name: draw for name, (draw, there) in wanted.items() if there}


STYLE = ["default", {"svg.hashsalt": "jrnn", "svg.fonttype": "path", "figure.dpi": 72}]  # 72: that of an SVG


def _render(diagnosis: Diagnosis, draw: Callable[..., Any]) -> tuple[bytes, bytes, bytes]:
    """One figure as (SVG, SVG for a dark background, PNG), whatever the user's own style; the same diagnosis gives the
    same bytes. The layout, half the work, is found once: the dark figure differs in its colours alone."""
    with require("matplotlib.style").context(STYLE):
        light, dark = (draw(diagnosis, dark=dark).figure for dark in (False, True))
        light.draw_without_rendering()
        for figure in (light, dark):
            figure.set_layout_engine("none")
        for ax, other in zip(light.axes, dark.axes, strict=True):
            other.set_position(ax.get_position(original=True))
        return _saved(light, "svg"), _saved(dark, "svg"), _saved(light, "png")


def _saved(figure: Any, kind: str) -> bytes:
    """A figure as the bytes of a file."""
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


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
