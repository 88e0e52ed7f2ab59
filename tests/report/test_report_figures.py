"""The figures draw the numbers they are given."""

import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jrnn.report import plot_clipping, plot_lag_profile, plot_singular_values, plot_training
from jrnn.report.figures.training import caption as training_caption
from jrnn.types import InputError
from tests.report import samples

FIGURES = (plot_lag_profile, plot_singular_values, plot_clipping, plot_training)


def line(ax, gid):
    (found,) = [line for line in ax.lines if line.get_gid() == gid]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def text(ax):
    titles = " ".join(ax.get_title(place) for place in ("left", "center", "right"))
    return " ".join(item.get_text() for item in [*ax.texts, *ax.get_legend().get_texts()]) + titles


def draw(ax):
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("plot", FIGURES)
def test_ax_is_honoured_and_pyplot_left_alone(plot):
    pyplot_before = "matplotlib.pyplot" in sys.modules
    ax = Figure().add_subplot()
    assert plot(samples.diagnosis(), ax=ax) is ax
    new = plot(samples.diagnosis(), dark=True)
    assert isinstance(new, Axes) and new.figure is not ax.figure
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_before


@pytest.mark.parametrize("make", samples.EVERY.values(), ids=samples.EVERY)
def test_every_diagnosis_can_be_drawn(make):
    value = make()
    for plot in FIGURES if value.history else FIGURES[:2]:
        draw(plot(value, dark=make is samples.saved))


def test_a_known_plateau_is_a_line():
    ax = plot_training(samples.on_task())
    np.testing.assert_array_equal(line(ax, "plateau")[1], [np.log(2)] * 2)
    low, high = ax.get_ylim()
    assert low < np.log(2) < high and "plateau 0.693" in text(ax)
    (said, _) = training_caption(samples.on_task())
    assert "0.693" in said and "63 steps back: ln 2, a guess" in said
    assert "plateau" not in training_caption(samples.diagnosis()).text
    assert not [each for each in plot_training(samples.diagnosis()).lines if each.get_gid() == "plateau"]


def test_lag_profile_is_what_was_measured():
    value = samples.diagnosis()
    ax = plot_lag_profile(value)
    for stage in value.stages:
        lags, drawn = line(ax, f"arriving {stage.name}")
        np.testing.assert_array_equal(lags, np.arange(64))
        np.testing.assert_array_equal(drawn, stage.flow.arriving)
        at, height = line(ax, f"reach {stage.name}")
        assert at[0] == stage.flow.reach and height[0] == stage.flow.arriving[stage.flow.reach]
    assert line(ax, "needed-lag")[0][0] == 63 and line(ax, "one-percent")[1][0] == 0.01
    bands = [found for found in ax.collections if not (found.get_gid() or "").startswith("interval")]
    assert ax.get_yscale() == "log" and len(bands) == 2
    band = bands[1].get_paths()[0].vertices
    assert band[:, 1].max() == 2 and np.isclose(band[:, 1].min(), value.stages[1].flow.arriving_low[-1])
    for words in ("needed: lag 63", "1 %", "1 % reaches 23 steps", "1 % reaches at least 63 steps"):
        assert words in text(ax)


def test_zeros_stop_at_the_floor_with_a_note():
    value = samples.vanished()
    ax = plot_lag_profile(value)
    _, drawn = line(ax, "arriving before training")
    exact = value.stages[0].flow.arriving
    first = int(np.argmax(exact < 1e-12))
    np.testing.assert_array_equal(drawn[:first], exact[:first])
    assert drawn[first] == 1e-12 and np.isnan(drawn[first + 1 : -1]).all()
    assert ax.get_ylim()[0] == pytest.approx(1e-12)
    assert f"below 1e-12 from lag {first}" in text(ax)


def test_infinite_and_missing_fractions_are_noted():
    ax = plot_lag_profile(samples.broken())
    _, drawn = line(ax, "arriving as saved")
    np.testing.assert_array_equal(drawn, [1, 1e5, 1e12, np.nan])
    assert "not a number from lag 3" in text(ax)
    assert np.isfinite(ax.get_ylim()).all()


def test_all_zero_profile_has_an_axis():
    flow = samples.flow(-1, arriving=np.zeros(5), reach=0)
    stage = samples.Stage("as saved", 0, {}, flow)
    draw(plot_lag_profile(samples.diagnosis(stages=(stage,), history={})))


def test_singular_values_are_what_was_measured():
    value = samples.diagnosis()
    ax = plot_singular_values(value)
    for stage in value.stages:
        i, drawn = line(ax, f"singular values {stage.name}")
        np.testing.assert_array_equal(i, np.arange(1, 7))
        np.testing.assert_array_equal(drawn, stage.flow.singular_values[1])
    assert line(ax, "one")[1][0] == 1


def test_large_and_zero_singular_values_take_a_log_axis():
    singular = np.stack([np.array([30.0, 1.0, 0.0])] * 3)
    stage = samples.Stage("as saved", 0, {}, samples.flow(-0.1, singular_values=singular))
    ax = plot_singular_values(samples.diagnosis(stages=(stage,), history={}))
    assert ax.get_yscale() == "log"
    draw(ax)


def test_clipping_separates_the_updates():
    value = samples.diagnosis()
    norms, clipped = value.history["grad_norm"], value.history["clipped"] > 0
    ax = plot_clipping(value)
    for gid, chosen in (("clipped", clipped), ("not clipped", ~clipped)):
        at, drawn = line(ax, gid)
        np.testing.assert_array_equal(at, 1 + np.flatnonzero(chosen))
        np.testing.assert_array_equal(drawn, norms[chosen])
    assert line(ax, "max-norm")[1][0] == 1.0
    assert f"{100 * clipped.mean():.2g} %" in text(ax)


def test_no_max_norm_and_skipped_updates_are_said():
    assert "no clipping" in text(plot_clipping(samples.regression()))
    ax = plot_clipping(samples.broken())
    assert "skipped (2)" in text(ax)
    np.testing.assert_array_equal(line(ax, "skipped")[0], [1, 2])


def test_training_curves():
    value = samples.diagnosis()
    ax = plot_training(value)
    np.testing.assert_array_equal(line(ax, "loss")[1], value.history["loss"])
    right = ax.figure.axes[1]
    np.testing.assert_array_equal(line(right, "accuracy")[1], 100 * value.history["accuracy"])
    assert len(plot_training(samples.regression()).figure.axes) == 1


@pytest.mark.parametrize("plot", [plot_clipping, plot_training])
def test_nothing_trained_is_an_error(plot):
    with pytest.raises(InputError, match="measured: got a history without"):
        plot(samples.saved())


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'pip install "jrnn\[plots\]"'):
        plot_lag_profile(samples.diagnosis())
