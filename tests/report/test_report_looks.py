"""How figures look where a user draws them: the user's style counts, and nothing is cut or on top of something else."""

import sys
from itertools import pairwise
from types import SimpleNamespace

import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure

from jrnn import report
from jrnn.report.figures import lag_profile, style
from jrnn.report.figures.themes import DARK
from jrnn.report.writing import STYLE, _render
from tests.report import results, samples
from tests.report.test_report_figures import line
from tests.report.test_report_results import OTHERS, RACE, SUMMARY, plot

METHODS = {
    "heard": (results.gradient_flow(), "arriving"),
    "summary": (SUMMARY, "arriving"),
    "spectrum": (results.lyapunov(), "exponents"),
    "measured spectrum": (SUMMARY.spectrum, "exponents"),
    "windows": (results.window_spectrum(), "largest"),
    "bands": (SUMMARY.windows, "largest"),
    "fit": (results.fitted(), "loss"),
    "race": (RACE, "chrono:63"),
    "data lags": (RACE.data_lags, "explained"),
    "proof": (results.clipping_proof(), "not clipped"),
}


@pytest.mark.parametrize("result, gid", METHODS.values(), ids=METHODS)
def test_a_result_plots_itself(result, gid):
    ax = Figure().add_subplot()
    assert result.plot(ax=ax, title="mine", legend=False, dark=True) is ax
    assert ax.get_title() == "mine" and ax.get_legend() is None
    assert matplotlib.colors.to_hex(ax.get_facecolor()) == DARK.background
    assert len(line(ax, gid)[0])


def test_the_users_style_counts():
    """Size, letters, width of lines, colours; of axes that are given their own colours."""
    cycle = matplotlib.cycler(color=["#112233", "#445566", "#778899"])
    mine = {"figure.figsize": (3, 2), "font.size": 7, "axes.prop_cycle": cycle, "lines.linewidth": 0.5}
    mine |= {"axes.titleweight": "bold", "axes.titlelocation": "right"}
    with matplotlib.rc_context(mine):
        ax = plot("lag_profile")({"a": SUMMARY, "b": SUMMARY}, legend="lower left")
        assert list(ax.figure.get_size_inches()) == [3, 2] and ax.xaxis.label.get_fontsize() == 7
        drawn = [each for each in ax.lines if (each.get_gid() or "").startswith("arriving")]
        assert [each.get_color() for each in drawn] == ["#112233", "#445566"]
        assert {each.get_linewidth() for each in drawn} == {0.5}
        assert ax.get_title("right") == "Gradient that arrives" and ax.title.get_fontsize() == pytest.approx(8.4)
        assert max(each.get_fontsize() for each in ax.texts) <= 7
        assert ax.get_legend()._loc == 3  # lower left
    with matplotlib.style.context("dark_background"):
        ax = plot("lag_profile")(SUMMARY)
        assert matplotlib.colors.to_rgb(ax.get_facecolor()) == (0, 0, 0)
        assert matplotlib.colors.to_hex(line_color(ax, "one-percent")) == "#ffffff"
    assert matplotlib.colors.to_rgb(plot("lag_profile")(SUMMARY).get_facecolor()) == (1, 1, 1)


def line_color(ax, gid):
    (found,) = [each for each in ax.lines if each.get_gid() == gid]
    return found.get_color()


LONG = "bit-lstm-with-a-rather-long-name"
STATES = np.random.default_rng(0).normal(size=(5, 3, 2))  # [T, B, N]


@pytest.mark.parametrize("names", np.array_split([*sorted(OTHERS), "fixed_points"], 8), ids="+".join)
def test_two_small_panels_side_by_side(names):
    """5 by 2 inches, 7 points: no title cut or on another, no legend on a title or outside its axes, labels whole, with
    a long name too."""
    alone = ("gates", "race", "clipping_proof", "clipping", "window_bands", "heard_lags")
    with matplotlib.rc_context({"font.size": 7}):
        figure = Figure(figsize=(5, 2))
        for name, ax in zip(names, figure.subplots(1, 2), strict=True):
            if name == "fixed_points":
                report.plot_fixed_points(results.fixed_points(), STATES, ax=ax)
            else:
                plot(name)(OTHERS[name] if name in alone else {"elman": OTHERS[name], LONG: OTHERS[name]}, ax=ax)
        figure.draw_without_rendering()
    whole = figure.bbox.padded(1)
    titles = [part.title.get_window_extent() for part in figure.axes if part.get_title()]
    assert len(titles) == 2 and not titles[0].overlaps(titles[1])
    for part in figure.axes:
        labels = [part.title, part.xaxis.label, part.yaxis.label]
        boxes = [each.get_window_extent() for each in labels if each.get_text()]
        assert all(whole.contains(*corner) for box in boxes for corner in box.corners())
        legend = part.get_legend()
        if legend is not None:
            box = legend.get_window_extent()
            assert all(part.bbox.padded(1).contains(*corner) for corner in box.corners())
            assert not any(box.overlaps(title) for title in titles)


def test_ticks_of_narrow_axes_stand_apart():
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(5, 2))
        ax = figure.subplots(1, 2)[1]
        report.plot_over_seeds(np.arange(600.0).reshape(3, 200), ax=ax)
        figure.draw_without_rendering()
    ticks = [each.get_window_extent() for each in ax.get_xticklabels() if 0 <= each.get_position()[0] <= 200]
    assert len(ticks) > 2 and all(one.x1 + 3 < other.x0 for one, other in pairwise(ticks))


def test_on_low_axes_the_label_of_the_lag_leaves_the_frame_free():
    ax = Figure(figsize=(8, 1.6)).add_subplot()
    plot("lag_profile")(SUMMARY, ax=ax)
    ax.figure.draw_without_rendering()
    (label,) = [each for each in ax.texts if "lag" in each.get_text()]
    assert label.get_bbox_patch().get_window_extent().y1 < ax.bbox.y1


@pytest.mark.parametrize("width", [50, 90, 120, 400])
def test_a_long_name_is_folded_and_keeps_its_end(width):
    """Two lines at most, which fit as they are drawn; what fits, and formulas, stay as they are."""
    figure = Figure(dpi=72)
    for name in (LONG, "Elman with orthogonal weights, lr 0.003", "x" * 99):
        folded = style.fold(name, width, 10)
        first, *more = folded.split("\n")
        assert name.startswith(first) and len(more) <= 1 and all(name.endswith(line.lstrip("…")) for line in more)
        assert figure.text(0, 0, folded, fontsize=10).get_window_extent().width <= 1.02 * width
        assert (folded == name) == (figure.text(0, 0, name, fontsize=10).get_window_extent().width <= width)
    assert style.fold("$\\sigma_i$ of a long, long name", width, 10) == "$\\sigma_i$ of a long, long name"


def test_lines_of_small_axes_are_told():
    """One result alone, on axes too narrow for many words: each line that no axis names is in the legend."""
    with matplotlib.rc_context({"font.size": 7}):
        axes = Figure(figsize=(7, 2)).subplots(1, 3)
        for ax, name in zip(axes, ("window_bands", "lyapunov", "race"), strict=True):
            plot(name)(OTHERS[name], ax=ax, **({} if name == "race" else {"lag": 3}))
    told = [" / ".join(text.get_text() for text in ax.get_legend().get_texts()).replace("\n", " ") for ax in axes]
    assert told[0] == "the largest / 80 %; thin: the median / lag 3; its mark: 1 %"
    assert told[1] == "1 % at lag 3" and told[2].endswith("/ target")


def test_a_layout_that_was_chosen_is_kept():
    plain, tight, moved = Figure(), Figure(layout="tight"), Figure()
    moved.subplots_adjust(left=0.3)
    engines = [figure.get_layout_engine() for figure in (plain, tight, moved)]
    for figure in (plain, tight, moved):
        plot("lag_profile")(SUMMARY, ax=figure.add_subplot())
    plot("lag_profile")(SUMMARY, ax=Figure().subfigures(1, 2)[1].subplots())  # is the figure's, and left to it
    assert engines[0] is None and type(plain.get_layout_engine()).__name__ == "ConstrainedLayoutEngine"
    assert tight.get_layout_engine() is engines[1] and moved.get_layout_engine() is None


def test_curves_that_break_off_keep_their_markers():
    """All gaps, gaps at the start, one point: a line by name is drawn whatever it holds."""
    losses = {"a": np.full(8, np.nan), "b": [np.nan, 0.5], "c": [1.0]}
    ax = plot("training")({name: {"loss": values} for name, values in losses.items()})
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]


def test_text_is_text(tmp_path):
    """In the SVG of jrnn's own writer, and in a user's SVG and PDF with the rcParams that say so."""
    with matplotlib.style.context(STYLE):
        plot("lag_profile")(SUMMARY, dark=False).figure.savefig(tmp_path / "own.svg")
    with matplotlib.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        figure = plot("lag_profile")(SUMMARY).figure
        figure.savefig(tmp_path / "mine.svg")
        figure.savefig(tmp_path / "mine.pdf")
    for name in ("own.svg", "mine.svg"):
        assert ">How far back the gradient reaches</text>" in (tmp_path / name).read_text()
    assert b"/FontFile2" in (tmp_path / "mine.pdf").read_bytes()


def test_a_notebook_shows_new_figures_and_none_of_a_report(monkeypatch):
    """Those of pyplot stand under the cell; elsewhere pyplot knows of none."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    for shell, runs in ((None, False), (object(), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert style.in_notebook() == runs
    monkeypatch.delitem(sys.modules, "IPython")
    assert not style.in_notebook()
    plot("lag_profile")(SUMMARY)
    assert not pyplot.get_fignums()
    monkeypatch.setattr(style, "in_notebook", lambda: True)
    ax = plot("lag_profile")(SUMMARY, dark=True)
    assert [pyplot.figure(number) for number in pyplot.get_fignums()] == [ax.figure]
    pyplot.close("all")
    _render(samples.saved(), lag_profile.FIGURE)
    plot("lag_profile")(SUMMARY, ax=Figure().add_subplot())
    assert not pyplot.get_fignums()
