"""`jrnn compare`: reports as they are, saved runs measured, and a clear line for everything else."""

import json
from argparse import Namespace

import numpy as np
import pytest

import jrnn
from jrnn.cli import main
from jrnn.commands import comparing
from jrnn.commands.saved_runs import open_run
from jrnn.report import to_json
from jrnn.report.json_import import read_report
from jrnn.training import Objective, save
from jrnn.types import InputError
from tests.report import samples


def report(folder, value):
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(to_json(value)))
    return str(folder)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two reports at lag 63, one at lag 20, a saved run, an empty folder."""
    monkeypatch.chdir(tmp_path)
    report(tmp_path / "elman", samples.diagnosis())
    report(tmp_path / "saved", samples.saved())
    report(tmp_path / "lstm", samples.gated())
    (tmp_path / "empty").mkdir()
    np.savez("mine.npz", x=np.zeros((20, 30, 1), np.float32), y=np.arange(20) % 2)
    cell = jrnn.elman(2)
    params = {"w_in": np.zeros((1, 2)), "w_rec": np.zeros((2, 2)), "bias": np.zeros(2)}
    head = {"w": np.zeros((2, 2)), "b": np.zeros(2)}
    known = {"data": str(tmp_path / "mine.npz"), "step": 3}
    save("run", cell, params, loss_params=head, objective=Objective("classify", 2), metadata=known)
    asked = []

    def measure(name, step, cell, params, objective, loss_params, dataset, lag):
        asked.append((name, step, dataset.name, lag))
        return samples.Stage(name, step, {}, samples.flow(-0.1, lags=30, lag=lag))

    monkeypatch.setattr(comparing, "measure", measure)
    return asked


@pytest.mark.parametrize("make", samples.EVERY.values(), ids=samples.EVERY)
def test_a_report_is_read_back(make, tmp_path):
    """Every number that is compared or drawn, infinities and NaN too."""
    value = make()
    about, stages = read_report(f"{report(tmp_path / 'out', value)}/report.json")
    assert about["name"] == value.data["name"] and len(stages) == len(value.stages)
    for found, wanted in zip(stages, value.stages, strict=True):
        assert (found.name, found.step) == (wanted.name, wanted.step)
        assert repr(found.flow.judgement) == repr(wanted.flow.judgement)
        np.testing.assert_equal(vars(found.flow.judgement), vars(wanted.flow.judgement))
        names = set(vars(wanted.flow)) - {"judgement", "windows", "spectrum", "theory"}
        np.testing.assert_equal(*({name: vars(each)[name] for name in names} for each in (found.flow, wanted.flow)))


def test_reports_side_by_side(here, capsys):
    assert main(["compare", "elman", "saved", "--out", "side"]) == 0
    said = capsys.readouterr().out
    assert "arrives at lag 63" in said and "elman" in said and here == []
    with open("side/compare.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_runs_are_measured_on_the_lag_that_all_need(here, capsys):
    assert main(["compare", "lstm", "run", "--lag", "20"]) == 0
    said = capsys.readouterr().out
    assert here == [("run", 3, "mine.npz", 20)] and "arrives at lag 20" in said
    assert "lstm: digits; run: mine.npz" in said  # not on equal terms


def test_new_data_have_the_models_classes(here):
    """Of a model of "a" and "b", "b" alone is class 1, and "c" none."""
    found = open_run(Namespace(model="run", data=None, missing=None, command="compare"))
    known = found.known | {"classes": ["a", "b"]}
    save("named", found.saved.cell, found.saved.params, loss_params=found.saved.loss_params,
         objective=found.objective, metadata=known)  # fmt: skip
    asked = Namespace(model="named", data="new.npz", missing=None, command="compare")
    np.savez("new.npz", x=np.zeros((4, 30, 1)), y=["b"] * 4)
    assert open_run(asked).dataset.y.tolist() == [1] * 4
    np.savez("new.npz", x=np.zeros((4, 30, 1)), y=["b", "c"] * 2)
    with pytest.raises(
        InputError, match="y: got the label 'c', which the model has no class for; need its labels: a, b"
    ):
        open_run(asked)


RUN = {"name": "a.csv", "file": "/a.csv", "cases": 1200, "steps": 9, "features": 1, "series": None, "source": "First."}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, ""),
        ({"name": "b.csv"}, "r: a.csv; s: b.csv"),
        ({"file": "/b/a.csv"}, "r: /a.csv; s: /b/a.csv"),
        ({"cases": 30}, "r: 1,200 cases; s: 30 cases"),
        ({"series": 3}, "the same file with other columns, another scaling, window or horizon"),
        ({"source": "Second."}, "the same name with another description"),
    ],
)
def test_data_differ_by_more_than_their_name(other, said):
    assert comparing.differing({"r": RUN, "s": RUN | other}) == said
    short = {name: value for name, value in RUN.items() if name not in other}  # what is not known of one tells nothing
    assert comparing.differing({"r": short, "s": RUN | other}) == ""


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["elman", "lstm"], "--lag: got none, and the runs need different ones (elman 63, lstm 20); need one lag"),
        (["elman", "lstm", "--lag", "20"], "a report without the network that it is of; need none of --lag"),
        (["elman", "run", "--data", "mine.npz"], "a report without the network that it is of"),
        (["run", "--lag", "30"], "--lag: got 30; need a lag from 1 to 29"),
        (["elman", "elman"], "RUN: got 'elman' twice"),
        (["elman", "nowhere"], "RUN: got 'nowhere', which is not there; need a folder of `jrnn train --out` or"),
        (["elman", "mine.npz"], "RUN: got 'mine.npz', a file"),
        (["elman", "empty"], "RUN: got 'empty', a folder without a run or a report"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_cannot_be_compared(here, capsys, arguments, words):
    assert main(["compare", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("jrnn compare: ") and words in said.err and len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": {}, "stages": [{}]}', '{"data": 3, "stages": []}'])
def test_another_programs_report_is_refused(text, tmp_path):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match="report: got .*need the report.json that this version"):
        read_report(tmp_path / "report.json")
