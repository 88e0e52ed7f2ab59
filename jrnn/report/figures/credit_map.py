"""The credit map: which output's gradient reaches which state, in colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jrnn.extras import require
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures.base import ARRIVING, Caption, Drawn, Figure, Part
from jrnn.report.figures.log_axis import plain_formatter
from jrnn.report.figures.quantities import FLOW
from jrnn.report.figures.style import FLOOR, color_axes, finish, fold, label_box, prepare, split
from jrnn.report.figures.themes import Look
from jrnn.wording import number, sentence_case

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 6
"""Up to this many outputs, each is drawn as a strip; more make a map."""


def plot_credit_map(
    measured: Any,
    *,
    ax: Axes | None = None,
    lag: int | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws ||part(t, k)|| in colour (logarithmic, one scale for all): output t against state k.

    With few outputs (a loss at the end has one) each is a strip, named on the left; otherwise there is a map for each
    network, one above the other. Grey is 0 or under 1e-12 of the largest, the accent colour not finite; no colour where
    k > t, for an output does not depend on later states. The green line is at the lag the task needs.

    Args:
      measured: a `GradientFlow`, a `FlowSummary`, a dict {name: any of them}, or a `Diagnosis`: its stages.
      ax: matplotlib Axes to draw on, divided where there are several maps; by default those of a new figure.
      lag: the lag that the task needs, to be marked; by default that of the verdict, where there is one.
      title, legend: another title ("" for none); whether there is a legend, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes (of the first map); `.figure` is the Figure, `.figure.savefig(path)` writes it.
    Raises:
      InputError: `measured` is none of them, or matplotlib is not installed.
    """
    return FIGURE.plot(measured, ax, lag=lag, title=title, legend=legend, dark=dark)


def draw(drawn: Drawn, ax: Axes | None, look: Look) -> Axes:
    """As `plot_credit_map` says."""
    parts = drawn.parts
    strips = max(part.of.outputs for part in parts) <= FEW
    colors, norm = _colors([part.of.credit for part in parts], look)
    rows = sum(part.of.outputs for part in parts) if strips else 0
    height = 1.8 + 0.62 * max(rows, 2) if strips else 1.3 + 2.6 * len(parts)
    every = np.concatenate([shown(part.of.credit, part.of.output_times, norm).compressed() for part in parts])
    ax = prepare(ax, look, "", "", height)
    panels = [ax] if strips else split(ax, (1.0,) * len(parts))
    if strips:
        mesh = _strips(ax, drawn, colors, norm, look)
    else:
        mesh = [_map(panel, part, drawn.lag, colors, norm, look) for panel, part in zip(panels, parts, strict=True)][-1]
    for panel in panels:
        panel.grid(False)
        color_axes(panel, look)
    panels[-1].set_xlabel("state $h_k$: time k (step)", color=look.text)
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    extend = beyond.get((bool((every < norm.vmin).any()), bool((every > norm.vmax).any())), "neither")
    shape: dict[str, Any] = {"pad": 0.02, "aspect": 14 if strips else 28, "extend": "neither" if look.above else extend}
    shape["format"] = plain_formatter()()
    bar = ax.figure.colorbar(mesh, ax=panels, **shape)
    if look.roomy:
        bar.set_label(look.ylabel("‖part(t, k)‖ (loss per unit of state)", "‖part(t, k)‖"), color=look.text)
    else:  # beside the bar it would be read as the label of the next axes
        bar.ax.set_xlabel("‖part‖", color=look.text)
    bar.outline.set_visible(False)
    color_axes(bar.ax, look)
    bar.ax.minorticks_off()
    # inside a map a legend would hide what it explains
    return finish(ax, look, _key(every, norm, drawn.lag, look) if look.above or look.legend is not True else [])


def _colors(credits: list[np.ndarray], look: Look) -> tuple[Any, Any]:
    """The colour map and one logarithmic scale for all stages."""
    every = np.concatenate([np.ravel(credit) for credit in credits]).astype(float)
    known = every[np.isfinite(every) & (every > 0)]
    high = known.max(initial=1e-300) if known.size else 1.0
    low = max(known.min(initial=high), FLOOR * high) if known.size else 0.1
    maps, colors = require("matplotlib").colormaps, require("matplotlib.colors")
    chosen = maps[look.scale].copy()
    chosen = chosen.with_extremes(under=look.grid, over=look.accent, bad="none")
    low, high = 10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high))
    return chosen, colors.LogNorm(min(low, high / 10), high)


def shown(credit: np.ndarray, times: np.ndarray, norm: Any) -> Any:
    """The values to draw: none for k > t; zeros and tiny ones lie below the scale, infinities and NaN above it."""
    values = np.array(credit, float)
    values = np.where(np.isfinite(values), np.maximum(values, 0.5 * norm.vmin), 2 * norm.vmax)
    return np.ma.masked_array(values, mask=np.arange(values.shape[1]) > np.asarray(times)[:, None])


def _strips(ax: Axes, drawn: Drawn, colors: Any, norm: Any, look: Look) -> Any:
    """One strip an output, those of the first stage on top; returns the last mesh."""
    names, row, mesh = [], 0, None
    parts = drawn.parts
    alone = all(part.of.outputs == 1 for part in parts) and all(part.name for part in parts)
    each = look.height / sum(part.of.outputs for part in parts)  # points a strip
    gap = "\n" if look.above or each > 24 * look.font else " "
    for part in parts:
        flow = part.of
        for values, t in zip(shown(flow.credit, flow.output_times, norm), flow.output_times, strict=True):
            edges = np.arange(len(values) + 1) - 0.5
            mesh = ax.pcolormesh(edges, [row - 0.36, row + 0.36], values[None], cmap=colors, norm=norm)
            mesh.set_gid(f"{part.gid('credit')} {t}")
            mesh.set_rasterized(True)  # as vectors, cells that touch show seams
            _needed(ax, drawn.lag, [t, t], [row - 0.44, row + 0.44], look)
            name = fold(sentence_case(part.name), 0.3 * look.width, 9 * look.font)
            names.append(name.replace(" ", gap, 1) if alone else f"{name},{gap}t = {t}".removeprefix(f",{gap}"))
            row += 1
    ylabel = f"output $y_t$, t = {parts[-1].of.output_times[-1]}" if alone else "output $y_t$, t in steps"
    ax.set_ylabel(look.ylabel(ylabel, "output $y_t$"), color=look.text)
    ax.set_yticks(range(row), names, fontsize=9 * look.font if look.above else min(9 * look.font, 0.9 * each))
    ax.set_ylim(row - 0.4, -0.6)
    ax.set_xlim(-0.5, parts[-1].of.credit.shape[1] - 0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return mesh


def _map(ax: Axes, part: Part, lag: int | None, colors: Any, norm: Any, look: Look) -> Any:
    """One network: outputs upwards, states to the right."""
    flow = part.of
    times = np.asarray(flow.output_times, float)
    values = shown(flow.credit, flow.output_times, norm)
    middles = (times[1:] + times[:-1]) / 2 if len(times) > 1 else np.zeros(0)
    first = times[0] - (middles[0] - times[0] if len(middles) else 0.5)
    edges = np.concatenate([[first], middles, [times[-1] + 0.5]])
    mesh = ax.pcolormesh(np.arange(values.shape[1] + 1) - 0.5, edges, values, cmap=colors, norm=norm)
    mesh.set_gid(part.gid("credit"))
    mesh.set_rasterized(True)
    if lag is not None:
        span = np.array([max(lag, times[0]), times[-1]])
        _needed(ax, lag, span, span, look)
    ax.set_ylabel(look.ylabel("output $y_t$: time t (step)", "output $y_t$"), color=look.text)
    corner: dict[str, Any] = {"ha": "right", "color": look.text, "fontsize": 10 * look.font, "bbox": label_box(look)}
    if part.name:
        ax.text(0.97, 0.05, sentence_case(part.name), transform=ax.transAxes, **corner)
    ax.yaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator("auto", integer=True))
    ax.set_xlim(-0.5, values.shape[1] - 0.5)
    ax.set_ylim(edges[0], edges[-1])
    return mesh


def _needed(ax: Axes, lag: int | None, times: Any, heights: Any, look: Look) -> None:
    """The states that lie the needed lag before the outputs at these times."""
    if lag is not None:
        style: dict[str, Any] = {"color": look.good, "linewidth": 2 * look.line, "linestyle": "-."}
        ax.plot(np.asarray(times) - lag, heights, gid="needed-lag", **style)


def _key(every: np.ndarray, norm: Any, lag: int | None, look: Look) -> list[Any]:
    """Legend entries for the line and for the colours that are not on the scale."""
    lines, patches = require("matplotlib.lines"), require("matplotlib.patches")
    found = []
    if lag is not None:
        found.append(lines.Line2D([], [], color=look.good, linewidth=2 * look.line, linestyle="-.", label="lag needed"))
    if (every < norm.vmin).any():
        found.append(patches.Patch(color=look.grid, label="0, or under 1e-12 of the largest"))
    if (every > norm.vmax).any():
        found.append(patches.Patch(color=look.accent, label="not finite"))
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


FIGURE = Figure("credit_map", "Which output reaches which state", "Credit map", ARRIVING, FLOW, draw, caption)
