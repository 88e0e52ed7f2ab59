"""Every figure draws the results themselves: of each kind that holds its numbers, alone and by name."""

import matplotlib.style
import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

import jrnn
from jrnn import report
from jrnn.flow import Comparison
from jrnn.flow.curves import flow_curves
from jrnn.report.figures import FIGURES
from jrnn.types import InputError
from tests.report import results, samples
from tests.report.results import LAGS, RATES, T
from tests.report.test_report_figures import line
from tests.report.test_report_flow_figures import meshes

SUMMARY = samples.flow(-0.2, lags=8, lag=5)
CURVES = flow_curves(results.gradient_flow())
MEDIAN = np.exp(RATES[1] * np.arange(T))
RACE = samples.raced().prescription
NORMS = results.history()["grad_norm"]
JACOBIANS = np.stack([np.diag(s) for s in ((0.9, 0.5), (0.7, 0.3), (0.8, 0.4))])[:, None]  # [T, B, N, N]

# figure, a result, the name of a line, its x and y
DRAWN = {
    "lag_profile of a flow": ("lag_profile", results.gradient_flow(), "arriving", np.arange(T), MEDIAN),
    "lag_profile of its curves": ("lag_profile", CURVES, "arriving", np.arange(T), MEDIAN),
    "lag_profile of a summary": ("lag_profile", SUMMARY, "arriving", np.arange(8), SUMMARY.arriving),
    "heard_lags of a flow": ("heard_lags", results.gradient_flow(), "heard", LAGS, 2 * np.exp(-0.3 * LAGS)),
    "heard_lags of a summary": ("heard_lags", SUMMARY, "heard", np.arange(8), SUMMARY.lag_norms[:8]),
    "gates of a flow": ("gates", results.gradient_flow(), "gate f", LAGS, np.exp(-0.3 * LAGS)),
    "windows": ("window_bands", results.window_spectrum(), "largest", [1, 2, 4], [-0.1, -0.2, -0.4]),
    "bands of windows": ("window_bands", SUMMARY.windows, "largest", SUMMARY.windows.lags, SUMMARY.windows.largest),
    "windows of a summary": ("window_bands", SUMMARY, "largest", SUMMARY.windows.lags, SUMMARY.windows.largest),
    "Jacobians": ("singular_values", JACOBIANS, "singular values", [1, 2], [0.8, 0.4]),
    "singular values of a summary": (
        "singular_values", SUMMARY, "singular values", np.arange(1, 7), SUMMARY.singular_values[1],
    ),
    "a spectrum": ("lyapunov", results.lyapunov(), "exponents", np.arange(1, 4) / 4, [-0.15, -0.25, -0.35]),
    "a measured spectrum": (
        "lyapunov", SUMMARY.spectrum, "exponents", np.arange(1, 7) / 6, [-0.2, -0.3, -0.4, -0.5, -0.6, np.nan],
    ),
    "the spectrum of a summary": (
        "lyapunov", SUMMARY, "exponents", np.arange(1, 7) / 6, [-0.2, -0.3, -0.4, -0.5, -0.6, np.nan],
    ),
    "clipping of a history": ("clipping", results.history(), "clipped", [2, 4], NORMS[[1, 3]]),
    "the limit of a history": ("clipping", results.history(), "max-norm", [0, 1], [1, 1]),
    "clipping of a fit": ("clipping", results.fitted(), "not clipped", [1, 3, 5], NORMS[[0, 2, 4]]),
    "a proof": ("clipping_proof", results.clipping_proof(), "not clipped", LAGS, np.exp(-0.1 * LAGS)),
    "a proof of a report": ("clipping_proof", samples.proof(7), "not clipped", LAGS, np.exp(-0.1 * LAGS)),
    "delta of a history": ("flow_telemetry", results.history(), "delta_late", [1, 3, 5], [0.1] * 3),
    "delta of a fit": ("flow_telemetry", results.fitted(), "delta_early", [1, 3, 5], [0.01] * 3),
    "loss of a history": ("training", results.history(), "loss", np.arange(1, 6), [2.0, 1.5, 1.0, 0.8, 0.5]),
    "loss of a list": ("training", {"loss": [2.0, 1.0]}, "loss", [1, 2], [2.0, 1.0]),
    "loss of a fit": ("training", results.fitted(), "loss", np.arange(1, 6), [2.0, 1.5, 1.0, 0.8, 0.5]),
    "a race": ("race", RACE, "chrono:63", RACE.curves["chrono:63"][0], [0.05] * 4),
    "data lags of a race": ("data_lags", RACE, "explained", RACE.data_lags.windows - 1, None),
    "losses over seeds": ("over_seeds", samples.SEEDS, "median", [1, 2, 3, 4], [2.0, 1.4, 1.1, 0.9]),
    "data lags": ("data_lags", RACE.data_lags, "explained", RACE.data_lags.windows - 1, None),
}  # fmt: skip
OTHERS = {
    "credit_map": results.gradient_flow(),
    "unrolled": results.gradient_flow(),
    **{each[0]: each[1] for each in DRAWN.values()},
}
"""One result for every figure."""


UNLIKE = ("gates", "race", "clipping_proof", "over_seeds")
"""Figures that draw several results otherwise than as a line each."""


def plot(name):
    return getattr(report, f"plot_{name}")


@pytest.mark.parametrize("row", DRAWN.values(), ids=DRAWN)
def test_a_result_is_drawn_as_it_is(row):
    name, result, gid, x, y = row
    found = line(plot(name)(result), gid)
    np.testing.assert_allclose(found[0], x)
    if y is not None:
        np.testing.assert_allclose(found[1], y)


def test_every_figure_is_in_the_table():
    assert set(OTHERS) == {figure.name for figure in FIGURES}


def test_the_credit_of_a_flow():
    """The median over sequences; outputs without gradient are left out; no lag is known, so none is marked."""
    ax = plot("credit_map")(results.gradient_flow())
    drawn = meshes(ax)
    assert set(drawn) == {"credit 5", "credit 6"}
    np.testing.assert_allclose(drawn["credit 6"][0], np.exp(RATES[1] * (6 - LAGS)))
    np.testing.assert_allclose(drawn["credit 5"].compressed(), np.exp(RATES[1] * (5 - LAGS[:6])))
    assert not [each for each in ax.lines if each.get_gid() == "needed-lag"]
    marked = plot("credit_map")(results.gradient_flow(), lag=4)
    assert {each.get_xdata()[0] for each in marked.lines if each.get_gid() == "needed-lag"} == {1, 2}
    texts = {each.get_gid(): each.get_text() for each in plot("unrolled")(results.gradient_flow()).texts}
    assert texts["fraction 3"] == "41 %" and texts["fraction 6"] == "100 %"


def test_a_flow_that_was_read_backwards_is_counted_in_the_order_of_reading():
    forwards, backwards = (flow_curves(results.gradient_flow(reverse)) for reverse in (False, True))
    for name in ("arriving", "credit", "output_times"):
        np.testing.assert_allclose(getattr(backwards, name), getattr(forwards, name))


@pytest.mark.parametrize("name", ["lag_profile", "heard_lags", "gates", "window_bands", "lyapunov"])
def test_a_lag_is_marked_where_it_is_given(name):
    gid = "needed" if name == "lyapunov" else "needed-lag"
    result = {"window_bands": results.window_spectrum(), "lyapunov": results.lyapunov()}.get(
        name, results.gradient_flow()
    )
    plain, marked = plot(name)(result), plot(name)(result, lag=3)
    assert [each.get_gid() for each in plain.lines].count(gid) == 0
    where = line(marked, gid)
    assert where[1][0] == pytest.approx(np.log(0.01) / 3) if name == "lyapunov" else where[0][0] == 3


# by name


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in UNLIKE])
def test_results_by_name(name):
    """Solid lines, each with a colour and a marker of its own, and a legend with the names (maps name themselves)."""
    ax = plot(name)({"elman <1>": OTHERS[name], "lstm": OTHERS[name]})
    words = " ".join(each.get_text() for part in ax.figure.axes for each in part.findobj(matplotlib.text.Text))
    assert "elman" in words.lower() and "lstm" in words.lower()
    if name in ("credit_map", "unrolled"):
        return
    shown = zip(ax.get_legend().get_texts(), ax.get_legend().legend_handles, strict=True)
    looks = [look for text, look in shown if text.get_text().split(":")[0] in ("elman <1>", "lstm")]
    assert len(looks) == 2
    if name == "lyapunov":  # the entries are bars
        looks = [each for each in ax.lines if (each.get_gid() or "").startswith("exponents")]
    assert len({each.get_color() for each in looks}) == len({each.get_marker() for each in looks}) == 2
    assert {each.get_linestyle() for each in looks} == ({"None"} if name == "clipping" else {"-"})


@pytest.mark.parametrize("name", ["gates", "race", "clipping_proof"])
def test_what_shows_one_network_has_a_panel_for_each(name):
    ax = plot(name)({"elman": OTHERS[name], "lstm": OTHERS[name]})
    titles = [part.get_title() for part in ax.figure.axes if part.get_title()]
    assert titles == ["elman", "lstm"] and ax.figure.get_figwidth() == 2 * rcParams["figure.figsize"][0]


def test_a_comparison_is_drawn_with_its_verdicts():
    found = Comparison({"elman": SUMMARY, "lstm": samples.flow(-0.01, lags=8, lag=5)})
    words = [each.get_text() for each in found.plot().get_legend().get_texts()]
    assert words == ["elman: healthy, 1 % reaches at least 7 steps", "lstm: healthy, 1 % reaches at least 7 steps"]


def test_an_ensemble_is_drawn_over_its_seeds():
    """The median, in the figure that it has; its card tells the same."""
    both = {name: np.stack([values, 3 * values]) for name, values in results.history().items()}
    ensemble = results.fitted(history=both, seeds=(0, 1))
    np.testing.assert_allclose(line(ensemble.plot(legend=False), "median")[1], 2 * results.history()["loss"])
    card = ensemble._repr_html_()
    assert "seeds, of which the median" in card and ">1</td>" in card  # the loss of the last update
    with pytest.raises(InputError, match="plot_over_seeds"):
        plot("clipping")(ensemble)


# refusals


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_result_of_another_kind_is_refused(figure):
    wrong = samples.proof() if figure.name != "clipping_proof" else results.lyapunov()
    for given, said in ((wrong, f"a {type(wrong).__name__}"), ({"a": wrong}, "'a': a "), (None, "a NoneType")):
        with pytest.raises(InputError) as error:
            figure.plot(given)
        assert f"measured: got {said}" in str(error.value) and f"need {figure.quantity.words}" in str(error.value)
    with pytest.raises(InputError, match="measured: got an empty dict; need"):
        figure.plot({})


@pytest.mark.parametrize(
    "name, result, words",
    [
        ("heard_lags", results.gradient_flow(lag_norms=None), "by_lag=True"),
        ("gates", results.gradient_flow(lag_norms_by_gate={}), "gated cell"),
        ("window_bands", samples.flow(-0.1, windows=None), "why=True"),
        ("lyapunov", {"a": samples.flow(-0.1, spectrum=None)}, "why=True"),
        ("training", {"grad_norm": np.ones(3)}, "'loss'"),
        ("training", {"loss": np.ones((3, 2))}, "'loss' of shape .3, 2.; need one number an update"),
        ("flow_telemetry", {"loss": np.ones(3), "delta_late": np.full(3, np.nan)}, "flow_every"),
        ("data_lags", samples.raced(data_lags=None).prescription, "jrnn prescribe"),
        ("lag_profile", results.gradient_flow(output_times=np.ones((2, T), int)), "jax.vmap"),
        ("lag_profile", results.gradient_flow(credit=np.zeros((T, T + 1, 0))), "a sequence at least"),
        ("lyapunov", results.lyapunov()._replace(size=np.array([4, 4])), "jax.vmap"),
        ("lyapunov", results.lyapunov()._replace(exponents=np.zeros((0, 3))), "why=True"),
        ("window_bands", results.window_spectrum()._replace(size=np.array([3, 3])), "jax.vmap"),
    ],
)
def test_a_result_without_the_numbers_is_refused(name, result, words):
    with pytest.raises(InputError, match=words):
        plot(name)(result)


@pytest.mark.parametrize(
    "name, value", [("ax", Figure()), ("lag", 2.5), ("lag", -1), ("lag", 99), ("legend", None), ("legend", 3)]
)
def test_a_bad_option_is_named(name, value):
    with pytest.raises(InputError, match=f"^{name}: got "):
        plot("lag_profile")(SUMMARY, **{name: value})


@pytest.mark.thorough
def test_a_whole_way_from_a_network():
    """The real results: of a network, of one sequence without a batch axis."""
    cell = jrnn.elman(3)
    params = {"w_in": np.ones((1, 3)), "w_rec": 0.5 * np.eye(3), "bias": np.zeros(3)}
    xs = np.linspace(-1, 1, 5)[:, None]
    flow = jrnn.gradient_flow(cell, params, xs, lambda run: run.outputs[-1].sum())
    _, drawn = line(flow.plot(), "arriving")
    h, ratio = np.zeros(3), [1.0]
    states = [h := np.tanh(x + 0.5 * h) for x in xs]
    for state in states[:0:-1]:
        ratio.append(ratio[-1] * 0.5 * (1 - state[0] ** 2))
    np.testing.assert_allclose(drawn, ratio, rtol=1e-6)
