"""The figures: bars of the summary, curves of growth. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from jrnn.extras import require
from jrnn.report.figures import style

CELLS = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman"}
BARS = {"peer": "best of Flax, Equinox and Haiku", "torch_best": "PyTorch, best settings", "torch": "PyTorch, default"}
LINES = {"jrnn": "jrnn", "jrnn xla": "jrnn, pure JAX", "flax.linen": "Flax"}
AXES = {"steps": "steps T", "batch": "sequences B", "hidden": "units H"}
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
LOOK = style.LIGHT
Points = Sequence[tuple[float, float, float | None]]


def sheet(rows: int, columns: int, size: tuple[float, float], **shared: Any) -> tuple[Any, Any]:
    """A figure of its own, without pyplot, and its axes [rows, columns]."""
    figures = require("matplotlib.figure")
    figure = figures.Figure(figsize=size, layout="constrained", facecolor=LOOK.background)
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def head(figure: Any, heading: str, handles: Sequence[Any], columns: int) -> None:
    """The heading and the legend of all panels, above them."""
    made = figure.legend(
        handles=handles,
        title=heading,
        loc="outside upper left",
        ncols=columns,
        alignment="left",
        frameon=False,
        labelcolor=LOOK.text,
        fontsize=9.5,
        title_fontproperties={"weight": "bold", "size": 11},
    )
    made.get_title().set_color(LOOK.text)


def on(device: str) -> str:
    """A device in a heading."""
    return "CPU" if device == "cpu" else device


def bars(rows: Sequence[Mapping[str, Any]], device: str) -> Any:
    """How many times faster a training step of jrnn is, by cell and size, from 1; pale where threads shared a core."""
    rows = [row for row in rows if row["kind"] == "step"]
    cells = [cell for cell in CELLS if any(row["cell"] == cell for row in rows)]
    heading = f"Training step on {on(device)}: times faster with jrnn than with"
    figure, panels = sheet(len(cells), 1, (5.6, 1.4 + 1.7 * len(cells)), sharey=True)
    values = [row["reached"][name] for row in rows for name in BARS if row["reached"][name]]
    low, high = 0.85 * min([0.95, *values]), 1.5 * max([2.0, *values])
    for ax, cell in zip(panels[:, 0], cells, strict=True):
        style.furnish(ax, LOOK, "", "times, log scale")
        ax.grid(False, axis="x")
        ax.set_title(CELLS[cell], loc="left", color=LOOK.text, fontsize=10, fontweight="bold", pad=3)
        ax.set_yscale("log")
        ax.set_ylim(low, high)
        ticks = [tick for tick in TICKS if low <= tick <= high]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_yticks([], minor=True)
        of_cell = [row for row in rows if row["cell"] == cell]
        handles = [group(ax, name, [(row["reached"][name], row["real_cores"]) for row in of_cell]) for name in BARS]
        ax.axhline(1, color=LOOK.text, linewidth=1)
        ax.set_xticks(range(len(of_cell)), map(numbered if ax is panels[-1, 0] else itemgetter("size"), of_cell))
    note = "" if all(row["real_cores"] for row in rows) else "; pale: threads had to share a core"
    panels[-1, 0].set_xlabel(f"steps T × sequences B, features F → units H{note}", fontsize=8)
    head(figure, heading, handles, 1)
    return figure


def numbered(row: Mapping[str, Any]) -> str:
    """A size by its name and its numbers."""
    return f"{row['size']}\n{row['steps']} × {row['batch']}\n{row['features']} → {row['hidden']}"


def group(ax: Any, name: str, found: Sequence[tuple[float | None, bool]]) -> Any:
    """One opponent's bars, each with its number; the hatching tells PyTorch's two apart."""
    place = list(BARS).index(name)
    color = (LOOK.after, LOOK.before, LOOK.others[0])[place]
    hatch = ("", "", "////")[place]
    there = [(i + 0.29 * (place - 1), value, real) for i, (value, real) in enumerate(found) if value]
    drawn = ax.bar(
        [x for x, _, _ in there],
        [value - 1 for _, value, _ in there],
        0.27,
        bottom=1,
        color=color,
        hatch=hatch,
        edgecolor=LOOK.background,
        linewidth=0.5,
        label=BARS[name],
        zorder=2,
    )
    for bar, (x, value, real) in zip(drawn, there, strict=True):
        bar.set_alpha(1.0 if real else 0.4)
        text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
        ax.annotate(
            text,
            (x, max(value, 1.0)),
            (0, 1.5),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=LOOK.text,
        )
    return drawn


def curves(found: Sequence[tuple[str, Mapping[str, Points]]], base: Mapping[str, int], device: str) -> Any:
    """Time and memory against each axis, both logarithmic: one column an axis; lines differ by marker and dash, too."""
    symbols = {"steps": "T", "batch": "B", "hidden": "H", "features": "F"}
    given = ", ".join(f"{symbol} = {base[name]}" for name, symbol in symbols.items())
    heading = f"A training step of an LSTM on {on(device)}; where not varied {given}"
    figure, panels = sheet(2, len(found), (1.2 + 3.1 * len(found), 5.2), sharex="col", sharey="row")
    looks = {
        "jrnn": {"color": LOOK.after, "marker": "o"},
        "jrnn xla": {"color": LOOK.before, "marker": "s", "linestyle": (0, (4, 1.5))},
        "flax.linen": {"color": LOOK.others[0], "marker": "^", "linestyle": (0, (1, 1.2))},
    }
    for j, (axis, lines) in enumerate(found):
        for i, label in enumerate(("milliseconds", "memory, MiB")):
            ax = panels[i, j]
            style.furnish(ax, LOOK, AXES[axis] if i else "", label if j == 0 else "")
            ax.set_xscale("log")
            ax.set_yscale("log")
            ticks = sorted({point[0] for points in lines.values() for point in points})
            ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            ax.set_xticks([], minor=True)
            handles = []
            for name, points in lines.items():
                kept = [(point[0], point[1 + i]) for point in points if point[1 + i]]
                handles += ax.plot(*zip(*kept), label=LINES[name], markersize=4.5, **looks[name]) if kept else []
            if i == 0 and j == 0:
                head(figure, heading, handles, len(handles))
    return figure


def intervals(cases: Sequence[Mapping[str, Any]], device: str) -> Any:
    """Times of the best peer over jrnn's by size, with intervals, pale where undecided; a panel a kind of call."""
    cells = [cell for cell in CELLS if any(case["cell"] == cell for case in cases)]
    kinds = {"step": "training step", "forward": "forward pass"}
    ranked = sorted({case["label"]: case["flops"]["step"] for case in cases}.items(), key=itemgetter(1))
    place = {label: i for i, (label, _) in enumerate(ranked)}
    figure, panels = sheet(1, 2, (8.4, 1.3 + 0.2 * len(ranked)), sharey=True, sharex=True)
    handles = []
    for ax, kind in zip(panels[0], kinds, strict=True):
        style.furnish(ax, LOOK, "times, log scale", "")
        ax.set_title(kinds[kind], loc="left", color=LOOK.text, fontsize=10, fontweight="bold", pad=3)
        ax.set_xscale("log")
        ax.axvline(1, color=LOOK.text, linewidth=1)
        for i, cell in enumerate(cells):
            of_cell = [case for case in cases if case["cell"] == cell]
            found = [case["against"][kind] for case in of_cell]
            middle = [one["ratio"] for one in found]
            below = [one["ratio"] - (one["low"] or one["ratio"]) for one in found]
            above = [(one["high"] or one["ratio"]) - one["ratio"] for one in found]
            where = [place[case["label"]] + 0.3 * (i - (len(cells) - 1) / 2) for case in of_cell]
            color, marker = (LOOK.after, LOOK.before)[i % 2], "os"[i % 2]
            for decided in (True, False):
                here = [k for k, case in enumerate(of_cell) if case["decided"] == decided]
                ax.errorbar(
                    [middle[k] for k in here],
                    [where[k] for k in here],
                    xerr=[[ends[k] for k in here] for ends in (below, above)],
                    fmt=marker,
                    markersize=4,
                    linewidth=1.2,
                    color=color,
                    alpha=1.0 if decided else 0.35,
                )
            if ax is panels[0, 0]:
                handles += ax.plot([], [], marker, color=color, markersize=5, label=CELLS[cell])
        low, high = ax.get_xlim()
        ticks = [tick for tick in TICKS if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_xticks([], minor=True)
    panels[0, 0].set_yticks(range(len(ranked)), [label for label, _ in ranked], fontsize=8)
    panels[0, 0].set_ylabel("T x B x F, H: less to more arithmetic", fontsize=8)
    heading = f"On {on(device)}, random sizes: times faster with jrnn than with the best of Flax, Equinox and Haiku"
    head(figure, heading, handles, len(handles))
    return figure
