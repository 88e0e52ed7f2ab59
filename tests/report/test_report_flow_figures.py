"""The figures of where the gradient goes, and why, draw the numbers they are given."""

import dataclasses
import json

import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from jrnn.report import (
    plot_clipping_proof,
    plot_credit_map,
    plot_gates,
    plot_heard_lags,
    plot_lag_profile,
    plot_lyapunov,
    plot_unrolled,
    plot_window_bands,
    to_json,
)
from jrnn.report.figures import figures_of
from jrnn.report.figures.lag_gradients import caption
from jrnn.report.figures.lyapunov import expectations
from jrnn.report.figures.unrolled import FULL, boxes, followed, thickness
from jrnn.report.reasons import reasons
from jrnn.report.writing import STYLE
from jrnn.types import InputError
from jrnn.wording import compact
from tests.report import samples
from tests.report.test_report_figures import line, text

PLOTS = (
    plot_clipping_proof,
    plot_credit_map,
    plot_gates,
    plot_heard_lags,
    plot_lyapunov,
    plot_unrolled,
    plot_window_bands,
)


def meshes(ax):
    """{gid: the colours' values} of all parts."""
    return {c.get_gid(): c.get_array() for a in ax.figure.axes for c in a.collections if c.get_gid()}


@pytest.mark.parametrize("plot", PLOTS)
def test_ax_is_honoured_and_its_neighbour_left_alone(plot):
    for figure in (Figure((11, 7)), Figure((11, 7), layout="constrained")):
        first, second = figure.subplots(1, 2)
        before = first.get_subplotspec()
        assert plot(samples.gated(), ax=second) is second and first.get_subplotspec() is before
    free = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    assert plot(samples.gated(), ax=free, dark=True) is free
    figure.draw_without_rendering()


@pytest.mark.parametrize("make", samples.EVERY.values(), ids=samples.EVERY)
def test_every_diagnosis_can_be_drawn_and_named(make):
    value = make()
    drawings = {figure.name: figure for figure in figures_of(value)}
    assert {"unrolled", "lag_profile", "credit_map", "heard_lags", "singular_values"} <= set(drawings)
    for name, there in (("gates", "gated"), ("clipping_proof", "gated")):
        assert (name in drawings) == (make.__name__ == there)
    for name in ("window_bands", "lyapunov"):
        assert (name in drawings) == (make is not samples.unexplained)
    for figure in drawings.values():
        with matplotlib.style.context(STYLE):
            ax = figure.plot(value, dark=make is samples.gated)
            ax.figure.draw_without_rendering()
        assert np.isfinite([ax.get_xlim(), ax.get_ylim()]).all() and ax.get_title("left").startswith(figure.title)
        (title,) = (item for item in ax.findobj(Text) if item.get_text() == ax.get_title("left"))
        assert title.get_window_extent().x1 <= ax.figure.bbox.x1  # a long title would be cut off
        assert all(figure.caption(value))


def test_what_is_not_there_is_refused():
    value = samples.unexplained()
    for plot, words in (
        (plot_window_bands, "windows"),
        (plot_lyapunov, "spectrum"),
        (plot_gates, "without gates"),
        (plot_clipping_proof, "no clipping_proof"),
    ):
        with pytest.raises(InputError, match=f"measured: got .*{words}"):
            plot(value)


def test_a_map_where_there_are_many_outputs():
    value = samples.gated()
    ax = plot_credit_map(value)
    found = meshes(ax)
    for stage in value.stages:
        drawn = found[f"credit {stage.name}"]
        assert drawn.shape == (30, 31)
        np.testing.assert_array_equal(drawn.mask, np.arange(31) > np.arange(1, 31)[:, None])
        np.testing.assert_array_equal(drawn.compressed(), stage.flow.credit[~drawn.mask])
    k, t = line(ax, "needed-lag")
    np.testing.assert_array_equal(t - k, [20, 20])
    assert len([a for a in ax.figure.axes if "output" in a.get_ylabel()]) == 2
    assert not any("under" in item.get_text() for item in ax.get_legend().get_texts())


def test_strips_where_there_are_few_outputs_zeros_and_infinities_shown():
    last = [1e-3, 0.0, 1e-20, np.inf, np.nan, 2.0]
    flow = samples.flow(-0.1, lags=5, lag=2, credit=np.array([last]), output_times=np.array([5]))
    ax = plot_credit_map(samples.diagnosis(stages=(samples.Stage("as saved", 0, {}, flow),)))
    (drawn,) = meshes(ax).values()
    (mesh,) = (c for c in ax.collections if c.get_gid())
    assert drawn.shape == (1, 6) and (drawn[0, 0], drawn[0, 5]) == (1e-3, 2.0)
    assert (drawn[0, 1:3] < mesh.norm.vmin).all() and (drawn[0, 3:5] > mesh.norm.vmax).all()
    words = [item.get_text() for item in ax.get_legend().get_texts()]
    assert words == ["lag needed", "0, or under 1e-12 of the largest", "not finite"]
    assert line(ax, "needed-lag")[0][0] == 3 and "t = 5" in ax.get_ylabel()
    assert ax.get_position().height * ax.figure.get_size_inches()[1] > 1.2  # inches: no thin line


def test_arrows_are_as_thick_as_the_gradient_is_strong():
    value = samples.gated()
    ax = plot_unrolled(value)
    arrows = {patch.get_gid(): patch for patch in ax.patches if (patch.get_gid() or "").startswith("arrow")}
    before, after = value.stages
    for k in (10, 20, 30):
        shape = arrows[f"arrow after training {k}"].get_xy()
        fraction = np.exp(-0.1 * (30 - k))
        assert shape[0, 1] - shape[-2, 1] == pytest.approx(FULL * (1 + np.log10(fraction) / 4))
    texts = {item.get_gid(): item.get_text() for item in ax.texts}
    assert texts["fraction after training 10"] == "14 %" and texts["fraction before training 10"] == "10⁻⁴"
    assert "arrow before training 10" not in arrows  # 4.5e-5: a dotted line instead
    assert line(ax, "arrow before training 10")[0].size == 2
    assert thickness(0.0) == thickness(np.nan) == thickness(9e-5) == 0
    assert thickness(1.0) == FULL and thickness(1e9) == thickness(np.inf) == 2 * FULL
    assert "log scale" in text_of(ax)


def text_of(ax):
    return " ".join(item.get_text() for item in ax.texts)


def test_the_unrolled_network_shows_what_the_verdict_says():
    """Not one output alone, which few sequences may be long enough to have."""
    flow = samples.flow(-0.1, lags=31, lag=20, credit=np.ones((3, 32)))
    t, fractions = followed(flow)
    assert t == 31 and fractions[t - 20] == flow.at_lag and fractions[t] == 1
    np.testing.assert_array_equal(fractions[1:], flow.arriving[::-1])


def test_a_map_names_its_stage_readably_and_counts_whole_steps():
    ax = plot_credit_map(samples.gated())
    for part in ax.figure.axes[:2]:
        (name,) = [item for item in part.texts if "training" in item.get_text()]
        assert name.get_bbox_patch() is not None
        assert all(tick == round(tick) for tick in part.get_yticks())


def test_the_lag_profile_ends_where_sequences_do():
    values = np.append(np.exp(-0.1 * np.arange(20)), np.full(5, np.nan))
    flow = samples.flow(0, arriving=values, lag=9, output_times=np.array([12, 19, 20]))
    ax = plot_lag_profile(samples.diagnosis(stages=(samples.Stage("as saved", 0, {}, flow),)))
    assert ax.get_xlim()[1] == 19 and not [item for item in ax.texts if item.get_gid() == "note"]


def test_boxes_are_few_even_and_reach_the_lag():
    np.testing.assert_array_equal(boxes(5, 3), np.arange(6))
    np.testing.assert_array_equal(boxes(64, 62), [2, 10, 18, 25, 33, 41, 48, 56, 64])
    for t, lag in ((784, 783), (784, 50), (12, 0), (9, 20)):
        times = boxes(t, lag)
        assert len(times) <= 12 and times[-1] == t and times[0] == (t - lag if 0 < lag <= t else 0)


def test_heard_lags_and_the_horizon():
    value = samples.diagnosis()
    ax = plot_heard_lags(value)
    for stage in value.stages:
        lags, drawn = line(ax, f"heard {stage.name}")
        np.testing.assert_array_equal(lags, np.arange(64))  # lag T, exactly zero, is left out
        np.testing.assert_array_equal(drawn, stage.flow.lag_norms[:64])
        assert line(ax, f"horizon {stage.name}")[0][0] == 20
    _, drawn = line(plot_heard_lags(samples.vanished()), "heard before training")
    known = drawn[np.isfinite(drawn)]
    assert known[-1] == pytest.approx(3e-12) and len(known) == 186 and np.isnan(drawn[186:]).all()


def test_the_error_of_an_estimate_is_a_band():
    """From ||G|| - error to ||G|| + error at each lag, cut at the axis; none where all outputs were followed."""
    value = samples.estimated()
    ax = plot_heard_lags(value)
    bands = {c.get_gid(): c for c in ax.collections if (c.get_gid() or "").startswith("error")}
    assert set(bands) == {"error before training", "error after training"}
    bottom = ax.get_ylim()[0]
    for stage in value.stages:
        corners = bands[f"error {stage.name}"].get_paths()[0].vertices
        norms, errors = stage.flow.lag_norms, stage.flow.lag_errors
        for lag in (0, 7, 63):
            ends = corners[corners[:, 0] == lag, 1]
            assert ends.max() == pytest.approx(norms[lag] + errors[lag])
            assert ends.min() == pytest.approx(max(norms[lag] - errors[lag], bottom))
    assert "band" in caption(value)[0] and "estimated from 3 outputs" in caption(value)[0]
    plain = plot_heard_lags(samples.diagnosis())
    assert not [c for c in plain.collections if (c.get_gid() or "").startswith("error")]
    assert "band" not in caption(samples.diagnosis())[0]


def test_gates_and_paths():
    value = samples.gated()
    ax = plot_gates(value)
    upper, lower = ax.figure.axes
    flow = value.stages[-1].flow
    for gate in "ifgo":
        np.testing.assert_array_equal(line(upper, f"gate {gate}")[1], flow.lag_norms_by_gate[gate][:-1])
    np.testing.assert_array_equal(line(lower, "by way of h")[1], flow.arriving_by_state["h"])
    _, c = line(lower, "by way of c")
    assert np.isnan(c[0]) and c[1] == flow.arriving_by_state["c"][1]


def test_bands_over_lags():
    value = samples.gated()
    ax = plot_window_bands(value)
    for stage in value.stages:
        windows = stage.flow.windows
        lags, drawn = line(ax, f"largest {stage.name}")
        np.testing.assert_array_equal(lags, [1, 2, 4, 20])
        np.testing.assert_array_equal(drawn, windows.log_singular_values[1, :, 0])
        assert windows.complete and np.isfinite(line(ax, f"median {stage.name}")[1]).all()
    assert "−∞" in text_of(ax) and line(ax, "needed-lag")[0][0] == 20
    assert line(ax, "one-percent")[1][0] == pytest.approx(np.log(0.01))
    deep = line(plot_window_bands(samples.vanished()), "largest after training")[1]
    assert deep.min() == -30


def test_the_spectrum_and_theory_beside_it():
    value = samples.diagnosis()
    ax = plot_lyapunov(value)
    strip = ax.figure.axes[1]
    for stage in value.stages:
        found = stage.flow.spectrum
        i, drawn = line(ax, f"exponents {stage.name}")
        np.testing.assert_allclose(i, np.arange(1, 7) / 6)
        np.testing.assert_array_equal(drawn, np.where(np.isfinite(found.exponents), found.exponents, np.nan))
        assert line(strip, f"measured largest {stage.name}")[1][0] == found.exponents[0]
        assert line(strip, f"expected largest {stage.name}")[1][0] == -0.255
        assert line(strip, f"expected mean {stage.name}")[1][0] == -0.6
    bars = [c for c in ax.collections if len(c.get_segments()) == 6]
    assert any(np.allclose(np.ptp(bar.get_segments()[0][:, 1]), 0.04) for bar in bars)
    assert line(ax, "needed")[1][0] == pytest.approx(np.log(0.01) / 63)
    assert "1 direction dies" in text_of(ax) and "keeps 1 % over lag 63" in text(ax)
    assert ax.get_ylim()[1] > np.log(1.3)
    gates = plot_lyapunov(samples.gated())
    np.testing.assert_allclose(line(gates, "gate  after training")[1], -np.log(2) / np.array([16, 4, 1]))


def test_expectations_of_a_stack():
    low, high = (
        samples.ELMAN,
        dataclasses.replace(samples.ELMAN, largest_exponent=-0.1, mean_exponent=-0.2, norm_gain=2.0),
    )
    np.testing.assert_allclose(expectations((low, high)), [-0.1, -0.4, np.log(2)])
    assert np.isnan(expectations((low, samples.GATE))).all() and np.isnan(expectations(())).all()


def test_clipping_proof_draws_shares():
    value = samples.gated()
    ax = plot_clipping_proof(value)
    share = np.exp(-0.1 * np.arange(31))
    (plain, clipped, other) = (np.asarray(one.get_ydata()) for one in ax.lines)
    np.testing.assert_allclose(plain, share)
    np.testing.assert_allclose(clipped, share)
    np.testing.assert_allclose(other, share**2)


def test_the_verdicts_interval_stands_at_its_lag():
    ax = plot_lag_profile(samples.regression())
    for stage in samples.regression().stages:
        (bar,) = [c for c in ax.collections if c.get_gid() == f"interval {stage.name}"]
        ((x, low), (_, high)) = bar.get_segments()[0]
        assert abs(x - 11) < 1.5 and (low, high) == pytest.approx(stage.flow.judgement.arriving_interval)


def test_reasons_hold_the_numbers():
    said = " ".join(reasons(samples.diagnosis().stages[-1].flow))
    for words in ("1 keeps 1 % or more over 63 steps", "the best keeps 4.3 %", "-0.050 ± 0.020", "above the -0.073"):
        assert words in said, said
    lost = samples.flow(-0.2, lags=51, windows=samples.windows(-0.01, [1, 2, 50], 6))
    assert "lies mostly along the others: 0.0045 % arrives" in " ".join(reasons(lost))
    gone = " ".join(reasons(samples.diagnosis().stages[0].flow))
    assert "none keep 1 %" in gone and "below the -0.073" in gone and "last 20 steps" in gone
    gate = " ".join(reasons(samples.gated().stages[-1].flow))
    assert "forget gate alone halves what a typical unit holds in 4 steps" in gate
    bound = dataclasses.replace(samples.ELMAN, norm_gain=0.9)
    must = " ".join(reasons(samples.flow(-0.2, lags=51, theory=(bound,))))
    assert "must vanish: at most 0.52 % can be left after 50 steps" in must
    assert reasons(samples.broken().stages[0].flow) == []


def test_the_new_numbers_are_in_the_json():
    found = json.loads(json.dumps(to_json(samples.gated()), allow_nan=False))
    flow = found["stages"][1]["flow"]
    assert flow["windows"]["lags"] == [1, 2, 4, 20] and flow["spectrum"]["exponents"][-1] == "-inf"
    assert flow["theory"][0]["gate"] == "f" and flow["theory"][0]["half_lives"] == [1, 4, 16]
    assert found["clipping_proof"]["max_norm"] == 0.1 and to_json(samples.diagnosis())["clipping_proof"] is None


def test_compact_fractions():
    given = (1, 0.12, 0.0034, 1.2e-6, 0, 31.2, 2e5, np.inf, np.nan)
    expected = ["100 %", "12 %", "0.34 %", "10⁻⁶", "0 %", "31×", "10⁵", "inf", "nan"]
    assert [compact(x) for x in given] == expected
