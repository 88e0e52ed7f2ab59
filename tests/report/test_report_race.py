"""What the page, the terminal, the JSON file and the figures show of a race."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from jrnn.report import plot_data_lags, plot_race, print_report, to_json
from jrnn.report.figures import figures_of
from jrnn.report.figures.data_lags import FIGURE
from jrnn.report.page import Picture, html_page
from jrnn.report.templating import unbroken
from jrnn.types import InputError
from tests.report import samples


def test_page_and_terminal_say_what_was_found():
    value = samples.raced()
    found = value.prescription
    page = html_page(value, {"data_lags": Picture(b"<svg/>", b"<svg/>")})
    for words in (
        found.sentence,
        found.evidence,
        found.data_lags.sentence,
        "failed: LinAlgError: <no QR>",
        FIGURE.title,
    ):
        assert unbroken(words) in page
    assert page.count("<svg") == 1 and "the needed" not in page
    stream = io.StringIO()
    print_report(value, Console(file=stream, width=160))
    for words in (found.sentence, found.data_lags.sentence, "failed: LinAlgError: <no QR>"):
        assert words in stream.getvalue()
    silent = samples.raced(data_lags=None)
    assert "shorter lag" not in html_page(silent, {}) and FIGURE not in figures_of(silent)


def test_json_has_the_profile_and_the_failure():
    found = json.loads(json.dumps(to_json(samples.raced()), allow_nan=False))["prescription"]
    assert found["data_lags"]["kind"] == "the lag alone" and found["data_lags"]["explained"][-1] == 0.98
    assert [row["failed"] for row in found["table"]] == ["", "", "", "LinAlgError: <no QR>"]
    assert set(found["curves"]) == {"chrono:63", "as it is", "leaky:63"}


def test_the_profile_is_what_was_measured():
    value = samples.raced()
    ax = plot_data_lags(value)
    lines = {line.get_gid(): line for line in ax.lines}
    np.testing.assert_array_equal(lines["explained"].get_xdata(), value.prescription.data_lags.windows - 1)
    np.testing.assert_array_equal(lines["explained"].get_ydata(), [0, 0, 0.01, 0, 0, 0, 0.004, 0.98])  # none below 0
    assert list(lines["needed-lag"].get_xdata()) == [63, 63]
    assert "lag needed: 63" in [text.get_text() for text in ax.get_legend().get_texts()]
    text, alternative = FIGURE.caption(value)
    assert value.prescription.data_lags.sentence in text and "0.4 % below lag 63, 98 % with all steps" in alternative
    ax.figure.draw_without_rendering()
    plot_data_lags(value, dark=True).figure.draw_without_rendering()


def test_the_race_draws_those_that_ran():
    ax = plot_race(samples.raced())
    assert {line.get_gid() for line in ax.lines} >= {"chrono:63", "as it is", "leaky:63"}
    assert "floss:8" not in {line.get_gid() for line in ax.lines}
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("make", [samples.diagnosis, lambda: samples.raced(data_lags=None)])
def test_without_a_profile_there_is_no_figure(make):
    with pytest.raises(InputError, match="measured"):
        plot_data_lags(make())
