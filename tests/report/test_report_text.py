"""The terminal table and the JSON file hold the numbers that were put in."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from jrnn.report import Stage, print_report, to_json
from jrnn.report.explained import advice
from jrnn.report.reasons import reasons
from jrnn.report.table import lags_to_show, table_rows
from jrnn.types import InputError
from tests.report import samples


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def printed(value, width=80):
    stream = io.StringIO()
    print_report(value, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("make", samples.EVERY.values(), ids=samples.EVERY)
def test_json_is_strict_and_equal(make):
    value = make()
    found = strict(json.dumps(to_json(value), allow_nan=False))
    assert (found["title"], found["command"], found["versions"]) == (value.title, value.command, value.versions)
    assert len(found["stages"]) == len(value.stages)
    for got, stage in zip(found["stages"], value.stages, strict=True):
        assert (got["name"], got["step"]) == (stage.name, stage.step)
        assert (got["verdict"], got["sentence"]) == (stage.flow.verdict, stage.flow.sentence)
        assert {k: float(v) for k, v in got["scores"].items()} == pytest.approx(stage.scores, abs=0, rel=0, nan_ok=True)
        for name in ("arriving", "arriving_low", "arriving_high", "singular_values"):
            numbers = np.array(got["flow"][name], object).astype(float)
            np.testing.assert_array_equal(numbers, getattr(stage.flow, name))
        for name in ("lag", "growth", "entry", "of_entered", "reach", "reach_is_bound", "outputs", "sequences"):
            np.testing.assert_array_equal(float(got["flow"][name]), float(getattr(stage.flow, name)))
        np.testing.assert_array_equal(float(got["at_lag"]), stage.flow.at_lag)
    assert set(found["history"]) == set(value.history)
    for name, column in value.history.items():
        np.testing.assert_array_equal(np.array(found["history"][name], object).astype(float), column)


def test_json_names_what_is_not_finite():
    found = to_json(samples.broken())["stages"][0]
    assert found["flow"]["arriving"] == [1.0, 1e5, "inf", "nan"] and found["flow"]["growth"] == "nan"
    assert to_json(samples.vanished())["stages"][0]["flow"]["growth"] == "-inf"


def test_json_takes_numpy_and_other_values():
    data = {"cases": np.int64(3), "flag": np.bool_(True), "shape": (1, np.float32(0.5)), "dtype": np.dtype("float32")}
    found = strict(json.dumps(to_json(samples.diagnosis(data=data)), allow_nan=False))["data"]
    assert found == {"cases": 3, "flag": True, "shape": [1, 0.5], "dtype": "float32"}


def test_clipping_facts_in_json():
    value = samples.diagnosis()
    norms = value.history["grad_norm"]
    assert to_json(value)["clipping"] == {
        "updates": 40,
        "max_norm": 1.0,
        "clipped_share": float((norms > 1).mean()),
        "norm_median": float(np.median(norms)),
        "norm_largest": float(norms.max()),
        "skipped": 0,
    }
    assert to_json(samples.saved())["clipping"] is None


@pytest.mark.parametrize("make", samples.EVERY.values(), ids=samples.EVERY)
def test_terminal_shows_every_number_at_80_columns(make):
    value = make()
    text = printed(value)
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for row in table_rows(value):
        assert " ".join([row.label, *filter(None, row.values)]) in flat
    for stage in value.stages:
        assert stage.flow.sentence in flat


def test_terminal_rows():
    flat = " ".join(printed(samples.diagnosis()).split())
    for words in (
        "accuracy 10.2 % 78.2 %",
        "loss (nats a case) 2.31 0.71",
        "at lag 1 82 % 95 %",
        "at lag 32 0.17 % 20 %",
        "at lag 63 (the task needs it) 3.4e-04 % 4.3 %",
        "1 % still reaches back 23 steps at least 63 steps",
        "left after the first step 82 % 95 %",
        "growth per step after it -0.200 nats -0.050 nats",
        "halves in 3.47 steps halves in 13.9 steps",
        "updates skipped (not finite) 0",
    ):
        assert words in flat
    assert "loss (mean squared error) 0.51 0.03" in " ".join(printed(samples.regression()).split())
    assert "[bold]x[/bold]" in printed(samples.diagnosis(title="[bold]x[/bold]"))


def test_a_known_plateau_is_shown():
    flat = " ".join(printed(samples.on_task()).split())
    assert (
        "loss without the lag (plateau) 0.693 0.693" in flat and "plateau" not in printed(samples.diagnosis()).lower()
    )
    assert "Plateau 0.693: ln 2, a guess between two equally likely bits." in flat
    assert to_json(samples.on_task())["data"]["plateau"] == np.log(2)


def test_a_network_that_loses_to_a_baseline_is_told_first():
    """In the terminal, in the JSON file, and as rows of the table; a network that wins gets the rows alone."""
    said = " ".join(printed(samples.beaten()).split())
    assert said.startswith(
        "The network loses to an answer that needs no network. On held-out data its loss is 0.0459, and"
    )
    assert "persistence (the last known value <stays>) has 0.00195, 23.5 times less" in said
    assert "loss of persistence 0.00195 0.00195" in said and "loss of the mean 1 1" in said
    found = to_json(samples.beaten())
    assert found["loses_to"] == [{"name": "persistence", "score": "loss", "own": 0.0459, "theirs": 0.00195}]
    assert found["red_card"] in said and found["baselines"][1]["scores"] == {"loss": 1.0}
    won = samples.beaten(0.001)
    assert not printed(won).startswith("The network loses") and "loss of persistence" in printed(won)
    assert to_json(won)["loses_to"] == [] and to_json(won)["red_card"] == "" == to_json(samples.broken())["red_card"]


def test_a_loss_of_the_first_step_alone_is_told_from_fading():
    """An LSTM whose memory halves in 37 steps and of whose gradient 7 % enters it."""
    rate = -np.log(2) / 37
    lost = samples.flow(rate, arriving=np.append(1, 0.0713 * np.exp(rate * np.arange(1, 112))), growth=rate)
    seen = {"kind": "healthy", "entry": 0.07, "of_entered": 0.125}
    lost = replace(lost, judgement=replace(lost.judgement, **seen))
    value = samples.diagnosis(stages=(Stage("as saved", 0, {}, lost),))
    text = " ".join(printed(value, 200).split())
    for words in (
        "at lag 111 (the task needs it) 0.89 %",
        "left after the first step 7 %",
        "so the gradient halves in 37 steps",
    ):
        assert words in text
    assert "7 % gets past the first step" in " ".join(reasons(lost))
    gone = replace(lost, judgement=replace(lost.judgement, kind="vanishing", entry=0.005))
    assert "output gate that starts open" in advice(gone) and "output gate" not in advice(lost)


def test_terminal_prints_to_standard_output(capsys):
    print_report(samples.saved())
    assert "In the training run" not in (out := capsys.readouterr().out) and "as saved" not in out and "accuracy" in out


def test_missing_rich_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.table", None)
    with pytest.raises(InputError, match=r'pip install "jrnn\[train\]"'):
        print_report(samples.diagnosis())


def test_lags_to_show():
    assert lags_to_show(63, 63) == [1, 2, 4, 8, 16, 32, 63]
    assert lags_to_show(64, 5) == [1, 2, 4, 5, 8, 16, 32, 64]
    assert lags_to_show(0, 0) == [0]
