"""The figure of the gradient's way during training draws the history it is given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from jrnn.report import Diagnosis, plot_flow_telemetry
from jrnn.report.figures import figures_of
from jrnn.report.figures.flow_telemetry import FIGURE, caption
from jrnn.types import InputError

UPDATES = 50


def trained(**changes):
    """A run whose early gradient comes back."""
    rates = np.linspace(-0.3, 0.01, UPDATES)
    late = np.full(UPDATES, 0.02)
    probe = np.where(np.arange(UPDATES) % 10 == 0, rates, np.nan)
    columns = {
        "loss": np.linspace(2, 1, UPDATES),
        "delta_late": late,
        "delta_early": late * np.exp(57 * rates),
        "delta_growth": rates,
        "tangent_growth": probe,
    }
    return Diagnosis("Elman", {}, {}, (), history={**columns, **changes})


def seldom(every=10, **changes):
    """The same, measured in every `every`-th update alone."""
    value = trained(**changes)
    rows = np.arange(UPDATES) % every == 0
    for name in ("delta_late", "delta_early", "delta_growth"):
        value.history[name] = np.where(rows, value.history[name], np.nan)
    return value


def lines(ax):
    """Of both parts, by gid."""
    return {line.get_gid(): line for part in ax.figure.axes for line in part.lines}


@pytest.mark.parametrize("dark", [False, True])
def test_the_history_is_drawn_in_two_parts(dark):
    value = trained()
    ax = plot_flow_telemetry(value, dark=dark)
    found, (upper, lower) = lines(ax), ax.figure.axes
    assert ax is upper and ax.get_yscale() == "log" and lower.get_yscale() == "linear"
    for name in ("delta_late", "delta_early", "delta_growth"):
        np.testing.assert_array_equal(found[name].get_ydata(), value.history[name])
        assert found[name].axes is (lower if name == "delta_growth" else upper)
    np.testing.assert_array_equal(found["tangent_growth"].get_xdata(), [1, 11, 21, 31, 41])
    assert "loss per unit of state" in ax.get_ylabel() and "nats per step" in lower.get_ylabel()
    ax.figure.draw_without_rendering()
    above, below = (part.get_position() for part in (upper, lower))
    assert above.y0 > below.y1


def test_updates_that_measured_nothing_leave_no_gap():
    value = seldom()
    ax = plot_flow_telemetry(value)
    found = lines(ax)
    for name in ("delta_late", "delta_early", "delta_growth"):
        np.testing.assert_array_equal(found[name].get_xdata(), [1, 11, 21, 31, 41])
        np.testing.assert_array_equal(found[name].get_ydata(), value.history[name][::10])
        assert np.isfinite(found[f"{name} mean"].get_ydata()).all()
    assert ax.get_xlim() == (0, UPDATES + 1)
    assert FIGURE in figures_of(value)
    assert "At the end: 0.00138, 0.02" in caption(value)[1]


def test_ax_is_divided_and_nothing_else():
    figure = Figure()
    first, second = figure.subplots(1, 2)
    before = first.get_position().bounds
    assert plot_flow_telemetry(trained(), ax=second) is second
    assert first.get_position().bounds == before and len(figure.axes) == 3
    free = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    plot_flow_telemetry(trained(), ax=free)
    assert free.get_position().y0 > figure.axes[-1].get_position().y1


def test_zeros_infinities_and_missing_probes_are_left_out():
    early = np.where(np.arange(UPDATES) < 5, 0.0, 1e-3)
    growth = np.where(np.arange(UPDATES) < 5, -np.inf, -0.1)
    value = trained(delta_early=early, delta_growth=growth, delta_late=np.append(np.ones(UPDATES - 1), np.nan))
    value.history.pop("tangent_growth")
    ax = plot_flow_telemetry(value)
    ax.figure.draw_without_rendering()
    found = lines(ax)
    assert np.isnan(found["delta_early"].get_ydata()[:5]).all() and "tangent_growth" not in found
    assert np.isfinite(ax.get_ylim()).all() and np.isfinite(ax.figure.axes[1].get_ylim()).all()


def test_it_is_on_the_page_where_it_was_logged():
    value = trained()
    assert FIGURE in figures_of(value)
    assert "At the end: 0.0354, 0.02" in caption(value)[1]
    without = trained(delta_late=np.zeros(0))
    assert FIGURE not in figures_of(without)
    with pytest.raises(InputError, match="measured: got a history without 'delta_late'"):
        plot_flow_telemetry(without)
