"""The credit map: which output's gradient reaches which state, in colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.report.diagnosis import Diagnosis, Stage
from jrnn.report.figures.base import ARRIVING, Caption, Figure
from jrnn.report.figures.style import FLOOR, Theme, color_axes, label_box, legend, prepare, split
from jrnn.wording import number, sentence_case

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 6
"""Up to this many outputs, each is drawn as a strip; more make a map."""


def plot_credit_map(diagnosis: Diagnosis, *, ax: Axes | None = None, dark: bool = False) -> Axes:
    """Draws ||part(t, k)|| in colour (logarithmic, one scale for all stages): output t against state k.

    With few outputs (a loss at the end has one) each is a strip, named on the left; otherwise there is a map for each
    stage, one above the other. Grey is 0 or under 1e-12 of the largest, the accent colour not finite; no colour where
    k > t, for an output does not depend on later states. The green line is at the lag the task needs.

    Args:
      diagnosis: what to draw.
      ax: matplotlib Axes to draw on, divided where there are several maps; by default those of a new figure.
      dark: colours for a dark background.
    Returns:
      The Axes (of the first stage); `.figure` is the Figure.
    Raises:
      InputError: matplotlib is not installed.
    """
    return FIGURE.plot(diagnosis, ax, dark)


def draw(diagnosis: Diagnosis, ax: Axes | None, colours: Theme) -> Axes:
    """As `plot_credit_map` says."""
    stages = diagnosis.stages
    strips = max(stage.flow.outputs for stage in stages) <= FEW
    colors, norm = _colors([stage.flow.credit for stage in stages], colours)
    rows = sum(stage.flow.outputs for stage in stages) if strips else 0
    height = 1.8 + 0.62 * max(rows, 2) if strips else 1.3 + 2.6 * len(stages)
    key = _key([shown(stage.flow.credit, stage.flow.output_times, norm) for stage in stages], norm, colours)
    ax = prepare(ax, colours, FIGURE.title, "", "", len(key), height)
    parts = [ax] if strips else split(ax, (1.0,) * len(stages))
    if strips:
        mesh = _strips(ax, stages, colors, norm, colours)
    else:
        mesh = [_map(part, stage, colors, norm, colours) for part, stage in zip(parts, stages, strict=True)][-1]
    for part in parts:
        part.grid(False)
        part.set_facecolor(colours.background)
        color_axes(part, colours)
    parts[-1].set_xlabel("state $h_k$: time k (step)", color=colours.text)
    bar = ax.figure.colorbar(mesh, ax=parts, pad=0.02, aspect=14 if strips else 28)
    bar.set_label("‖part(t, k)‖ (loss per unit of state)", color=colours.text)
    bar.outline.set_visible(False)
    color_axes(bar.ax, colours)
    bar.ax.minorticks_off()
    legend(ax, colours, key)
    return ax


def _colors(credits: list[np.ndarray], colours: Theme) -> tuple[Any, Any]:
    """The colour map and one logarithmic scale for all stages."""
    every = np.concatenate([np.ravel(credit) for credit in credits]).astype(float)
    known = every[np.isfinite(every) & (every > 0)]
    high = known.max(initial=1e-300) if known.size else 1.0
    low = max(known.min(initial=high), FLOOR * high) if known.size else 0.1
    maps, colors = require("matplotlib").colormaps, require("matplotlib.colors")
    chosen = maps[colours.scale].copy()
    chosen = chosen.with_extremes(under=colours.grid, over=colours.accent, bad="none")
    low, high = 10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high))
    return chosen, colors.LogNorm(min(low, high / 10), high)


def shown(credit: np.ndarray, times: np.ndarray, norm: Any) -> np.ndarray:
    """The values to draw: none for k > t; zeros and tiny ones lie below the scale, infinities and NaN above it."""
    values = np.array(credit, float)
    values = np.where(np.isfinite(values), np.maximum(values, 0.5 * norm.vmin), 2 * norm.vmax)
    return np.ma.masked_array(values, mask=np.arange(values.shape[1]) > np.asarray(times)[:, None])


def _strips(ax: Axes, stages: tuple[Stage, ...], colors: Any, norm: Any, colours: Theme) -> Any:
    """One strip an output, those of the first stage on top; returns the last mesh."""
    names, row, mesh, green = [], 0, None, colours.good
    alone = all(stage.flow.outputs == 1 for stage in stages)
    for stage in stages:
        flow = stage.flow
        for values, t in zip(shown(flow.credit, flow.output_times, norm), flow.output_times, strict=True):
            edges = np.arange(len(values) + 1) - 0.5
            mesh = ax.pcolormesh(
                edges, [row - 0.36, row + 0.36], values[None], cmap=colors, norm=norm, gid=f"credit {stage.name} {t}"
            )
            mesh.set_rasterized(True)  # as vectors, cells that touch show seams
            at = t - flow.lag
            ax.plot([at, at], [row - 0.44, row + 0.44], color=green, linewidth=2, linestyle="-.", gid="needed-lag")
            name = sentence_case(stage.name)
            names.append(name.replace(" ", "\n", 1) if alone else f"{name},\nt = {t}")
            row += 1
    if alone:
        ax.set_ylabel(f"output $y_t$, t = {stages[-1].flow.output_times[-1]}", color=colours.text)
    else:
        ax.set_ylabel("output $y_t$, t in steps", color=colours.text)
    ax.set_yticks(range(row), names, fontsize=9)
    ax.set_ylim(row - 0.4, -0.6)
    ax.set_xlim(-0.5, stages[-1].flow.credit.shape[1] - 0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return mesh


def _map(ax: Axes, stage: Stage, colors: Any, norm: Any, colours: Theme) -> Any:
    """One stage: outputs upwards, states to the right."""
    flow = stage.flow
    times = np.asarray(flow.output_times, float)
    values = shown(flow.credit, flow.output_times, norm)
    middles = (times[1:] + times[:-1]) / 2 if len(times) > 1 else np.zeros(0)
    first = times[0] - (middles[0] - times[0] if len(middles) else 0.5)
    edges = np.concatenate([[first], middles, [times[-1] + 0.5]])
    mesh = ax.pcolormesh(np.arange(values.shape[1] + 1) - 0.5, edges, values, cmap=colors, norm=norm)
    mesh.set_gid(f"credit {stage.name}")
    mesh.set_rasterized(True)
    span = np.array([max(flow.lag, times[0]), times[-1]])
    ax.plot(span - flow.lag, span, color=colours.good, linewidth=2, linestyle="-.", gid="needed-lag")
    ax.set_ylabel("output $y_t$: time t (step)", color=colours.text)
    ax.text(0.97, 0.05, sentence_case(stage.name), transform=ax.transAxes, ha="right", color=colours.text, fontsize=10,
            bbox=label_box(colours))  # fmt: skip
    ax.yaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator(integer=True))
    ax.set_xlim(-0.5, values.shape[1] - 0.5)
    ax.set_ylim(edges[0], edges[-1])
    return mesh


def _key(drawn: list[Any], norm: Any, colours: Theme) -> list[Any]:
    """Legend entries for the line and for the colours that are not on the scale."""
    lines, patches = require("matplotlib.lines"), require("matplotlib.patches")
    every = np.concatenate([values.compressed() for values in drawn])
    found = [lines.Line2D([], [], color=colours.good, linewidth=2, linestyle="-.", label="lag needed")]
    if (every < norm.vmin).any():
        found.append(patches.Patch(color=colours.grid, label="0, or under 1e-12 of the largest"))
    if (every > norm.vmax).any():
        found.append(patches.Patch(color=colours.accent, label="not finite"))
    return found


def caption(diagnosis: Diagnosis) -> Caption:
    few = max(stage.flow.outputs for stage in diagnosis.stages) == 1
    each = "The strip is" if few else "Each row is"
    shown = (
        f"{each} one output: the colour says how strongly its error pulls on the state at each earlier step, from the "
        "right (the output itself) to the left (long ago). An even colour means that all the past is heard; a colour "
        "that fades to the left means that only the last steps are."
    )
    alt = "; ".join(f"{s.name}: at most {number(s.flow.credit.max(initial=0))}" for s in diagnosis.stages)
    return Caption(shown, f"Size of the gradient of each output with respect to each state. {alt}.")


FIGURE = Figure("credit_map", "Which output reaches which state", ARRIVING, draw, caption)
