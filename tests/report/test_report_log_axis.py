"""Labels of logarithmic axes say as text what matplotlib's own say as formulas."""

import pickle

import matplotlib
import pytest
from matplotlib.figure import Figure

from jrnn.report.figures.log_axis import plain, set_log_scale


def labels(scale, low, high):
    """Those of the large and the small ticks between."""
    figure = Figure()
    ax = figure.add_subplot()
    ax.plot([low, high], [low, high])
    scale(ax)
    ax.set_ylim(low, high)
    figure.draw_without_rendering()
    return [
        [tick.get_text() for tick in ax.get_yticklabels(minor=minor) if low <= tick.get_position()[1] <= high]
        for minor in (False, True)
    ]


def matplotlibs(ax):
    ax.set_yscale("log")


@pytest.mark.parametrize(("low", "high"), [(1e-7, 10), (0.9, 1.2e5), (2e-3, 9e-3), (1e-30, 1e30), (0.2, 30)], ids=str)
def test_each_label_says_what_matplotlib_says(low, high):
    said, formulas = labels(set_log_scale, low, high), labels(matplotlibs, low, high)
    raised = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
    for own, theirs in zip(said, formulas, strict=True):
        assert len(own) == len(theirs)
        for text, formula in zip(own, theirs, strict=True):
            number = formula.removeprefix(r"$\mathdefault{").removesuffix("}$").replace(r"\times", "×")
            base, _, power = number.partition("^")
            plainly = "".join(raised.get(letter, "") for letter in text)
            assert text.rstrip("".join(raised)) == base and plainly == power.strip("{}") and "$" not in text
    assert sum(map(bool, said[0] + said[1])) >= 2


def test_what_text_cannot_say_stays_a_formula():
    assert plain(r"$\mathdefault{2\times10^{-3}}$") == "2×10⁻³" and plain(r"$\mathdefault{1}$") == "1"
    assert plain(r"$\mathdefault{10^{0.50}}$") == r"$\mathdefault{10^{0.50}}$" and plain("") == ""
    with matplotlib.rc_context({"text.usetex": True}):
        assert plain(r"$\mathdefault{10^{3}}$") == r"$\mathdefault{10^{3}}$"


def test_a_figure_can_be_pickled():
    ax = Figure().add_subplot()
    set_log_scale(ax)
    ax.set_ylim(1e-3, 10)
    again = pickle.loads(pickle.dumps(ax.figure))
    again.draw_without_rendering()
    assert "10⁻²" in [tick.get_text() for tick in again.axes[0].get_yticklabels()]
