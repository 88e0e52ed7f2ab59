"""What a notebook shows of a result: the numbers, in HTML that stands alone, is whole and escaped."""

import re
import sys
from html import unescape
from html.parser import HTMLParser

import jax
import numpy as np
import pytest

import jrnn
from jrnn.flow import Comparison
from jrnn.flow.curves import flow_curves
from jrnn.prescribing import Best
from jrnn.report import templating
from jrnn.report.page import html_page
from jrnn.report.small_curve import Curve
from jrnn.training import Streamed
from jrnn.types import InputError
from tests.report import results, samples

SUMMARY = samples.flow(-0.2, lags=8, lag=5)
RESULTS = {
    "GradientFlow": (results.gradient_flow(), ["1 % of the gradient reaches at least 5 steps back", "lag 5"]),
    "FlowSummary": (SUMMARY, [SUMMARY.sentence, "95 % of the weights' gradient from the last 8 steps", "lag 5"]),
    "LyapunovSpectrum": (
        results.lyapunov(),
        ["3 of 4 exponents, the mean of 2", "-0.150 nats", "4.62 steps"],
    ),
    "MeasuredSpectrum": (SUMMARY.spectrum, ["-inf nats", "falls to exactly 0", "too short a run"]),
    "WindowSpectrum": (results.window_spectrum(), ["smallest of 2", "-0.400 nats", "67 %", "N = 3"]),
    "WindowBands": (SUMMARY.windows, ["smallest", "-1.000 nats", "37 %"]),
    "Fitted": (results.fitted(), ["GRU(3)", "40 %", "0.5", "90.0 %"]),
    "Prescription": (samples.raced().prescription, ["Take chrono:63.", "0.5 (0.4 to 0.6)", "failed: LinAlgError: <no"]),
    "Comparison": (Comparison({"<b>elman": SUMMARY}), ["<b>elman", "37 %", "healthy", "at least 7 steps"]),
}


class Whole(HTMLParser):
    """Fails on a tag that is closed without being open, and keeps the text."""

    def __init__(self):
        super().__init__()
        self.open, self.said = [], ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        assert tag in {"div", "table", "thead", "tr", "th", "td", "pre", "svg", "path", "text"}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.said += f"{data.strip()} ".lstrip()


@pytest.mark.parametrize("name", RESULTS)
def test_a_card_says_what_was_found(name, monkeypatch):
    """It needs no matplotlib, and asks for nothing outside."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result, words = RESULTS[name]
    html = result._repr_html_()
    parser = Whole()
    parser.feed(html)
    assert not parser.open and parser.said.startswith(name) and len(html) < 8000
    for each in words:
        assert each in parser.said, (each, parser.said)
    assert "np." not in html and not re.search(r"https?:|<script|url\(|src=|NaN|None", html)
    assert not re.search(r"color:\s*(#|white|black)|background", html)  # the notebook's own, light or dark


def test_the_curve_is_what_arrives():
    html = SUMMARY._repr_html_()
    path = re.search(r'<path d="(M[^"]*)" fill="none"', html)[1]
    points = np.array([pair.split() for pair in re.split("[ML]", path)[1:]], float)
    assert len(points) == 8
    np.testing.assert_allclose(points[:, 0], Curve.LEFT + (Curve.RIGHT - Curve.LEFT) * np.arange(8) / 7, atol=0.06)
    steps = np.diff(points[:, 1])
    np.testing.assert_allclose(steps, steps[0], atol=0.11)  # an exponential is a straight line
    assert steps[0] > 0 and 'role="img"' in html and "37 % at lag 5" in unescape(html)


def test_a_long_curve_and_one_with_gaps_stay_small():
    values = np.where(np.arange(5000) % 1000 < 20, np.nan, np.exp(-0.01 * np.arange(5000)))
    html = samples.flow(0, arriving=values, growth=-0.01, lag=4999, reach=460)._repr_html_()
    assert len(html) < 8000 and "nan" not in html


def test_what_holds_no_values_has_no_card():
    said = []

    def traced(x):
        flow = results.gradient_flow(credit=results.gradient_flow().credit * x)
        said.append(flow._repr_html_())
        return x

    jax.jit(traced)(np.float64(1))
    shapes = jax.tree.map(lambda a: None, results.gradient_flow())
    assert said == [None] and shapes._repr_html_() is None
    of_two = (
        results.gradient_flow(output_times=np.ones((2, 6), int)),
        results.window_spectrum()._replace(size=np.array([3, 3])),
        results.lyapunov()._replace(size=np.array([4, 4])),
    )
    empty = (
        results.gradient_flow(credit=np.zeros((0, 7, 3)), output_times=np.zeros(0, int)),
        results.lyapunov()._replace(exponents=np.zeros((0, 3))),
        results.window_spectrum()._replace(log_singular_values=np.zeros((0, 1, 2))),
    )
    assert [each._repr_html_() for each in (*of_two, *empty)] == [None] * 6


def test_without_jinja2_there_is_no_card_and_a_page_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert SUMMARY._repr_html_() is None
    templating._environment.cache_clear()
    with pytest.raises(InputError, match=r'package jinja2: got not installed; need pip install "jrnn\[plots\]"'):
        html_page(samples.saved(), {})


def test_a_user_s_own_names_are_escaped():
    found = Comparison({"<script>alert(1)</script>": SUMMARY})
    assert "<script" not in found._repr_html_() and "&lt;script&gt;" in found._repr_html_()
    recipe = samples.raced(recipe="<img src=x>").prescription._repr_html_()
    assert "<img" not in recipe and "&lt;img" in recipe


LINES = {
    **{name: result for name, (result, _) in RESULTS.items() if name != "Comparison"},
    "ClippingProof": results.clipping_proof(),
    "ClippingProof of a report": samples.proof(),
    "Diagnosis": samples.gated(),
    "Stage": samples.gated().stages[0],
    "DataLags": samples.raced().prescription.data_lags,
    "FiniteTime": results.lyapunov().finite_time(2),
    "FlowCurves": flow_curves(results.gradient_flow()),
    "Arrival": results.gradient_flow().arrival(),
    "Verdict": results.gradient_flow().verdict(4),
    "Expected": samples.GATE,
    "Best": Best(jrnn.gru(3), {"w": np.zeros((9, 9))}, None, 0, 100),
    "Streamed": Streamed({"w": np.zeros((9, 9))}, None, None, np.zeros((4, 3)), {"loss": np.float32(1)}),
}


@pytest.mark.parametrize("name", LINES)
def test_a_result_prints_as_one_short_line(name):
    text = repr(LINES[name])
    assert "\n" not in text and len(text) < 220 and "np." not in text and "rray(" not in text, text


def test_a_run_of_one_update_or_without_losses():
    none = {name: values[:0] for name, values in results.history().items()}
    one = {name: values[:1] for name, values in results.history().items()}
    for history in (none, one, {}):
        assert "GRU(3)" in results.fitted(history=history)._repr_html_()
