"""A benchmark that was interrupted goes on where it was."""

import json

import pytest

from benchmarks import training_step
from benchmarks.__main__ import main
from benchmarks.kept import Kept, sources

pytestmark = pytest.mark.thorough
MACHINE = {"cpu": "one", "date": "today", "load_average": 0.5}


@pytest.mark.parametrize(
    "again, known",
    [
        (MACHINE, True),
        (MACHINE | {"date": "tomorrow", "load_average": 2.0}, True),
        (MACHINE | {"cpu": "other"}, False),
    ],
)
def test_a_case_is_measured_once_on_a_machine(again, known, tmp_path):
    path = tmp_path / "new folder" / "cases"
    case = {"seconds": [0.1 + 0.2, 1e-17], "size": None}
    assert Kept(path, MACHINE).case("a", lambda: case) == case
    later, measured = Kept(path, again), []
    assert later.case("a", lambda: measured.append("a") or {}) == (case if known else {})
    assert measured == ([] if known else ["a"])
    assert Kept(path, MACHINE).case("b", lambda: {"b": 1}) == {"b": 1}
    later.forget()
    assert not path.exists()
    later.forget()


def test_a_line_that_was_cut_short_is_measured_again(tmp_path):
    path = tmp_path / "cases"
    for name in "ab":
        Kept(path, MACHINE).case(name, lambda: {"x": 1})
    path.write_text(path.read_text()[:-9])
    torn = Kept(path, MACHINE)
    assert set(torn.cases) == {"a"}
    torn.case("b", lambda: {"x": 2})
    assert Kept(path, MACHINE).cases == {"a": {"x": 1}, "b": {"x": 2}}


def test_without_a_path_nothing_is_kept():
    kept = Kept()
    assert kept.case("a", lambda: {"x": 1}) == {"x": 1}
    kept.forget()


def test_other_sources_have_another_digest(tmp_path):
    (tmp_path / "jrnn").mkdir()
    digests = {sources(tmp_path)}
    for name, text in (("a.py", "1"), ("a.py", "2"), ("k.sum", "3"), ("b.py", "")):
        (tmp_path / "jrnn" / name).write_text(text)
        digests.add(sources(tmp_path))
    assert len(digests) == 5
    (tmp_path / "jrnn" / "notes.md").write_text("")
    assert sources(tmp_path) in digests


def test_the_command_goes_on_after_an_interruption(monkeypatch, tmp_path, capsys):
    """The second run measures only what the first one did not, and its report is that of a run in one go."""
    path, measured = tmp_path / "report.json", []

    def stub(cell, label, *_):
        if stop and len(measured) == 1:
            raise KeyboardInterrupt
        measured.append((cell, label))
        return {"cell": cell, "size": label, "disagreements": []}

    monkeypatch.setattr(training_step, "run_case", stub)
    monkeypatch.setattr(training_step, "summary", lambda cases: [])
    monkeypatch.setattr(training_step, "show", lambda report: "")
    arguments = ["--quick", "--only", "training_step", "--out", str(path)]
    stop = True
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    assert not path.exists() and len(measured) == 1
    stop = False
    assert main(arguments) == 0
    assert len(measured) == len(set(measured)) > 1
    cases = json.loads(path.read_text())["training_step"]["cases"]
    assert [(case["cell"], case["size"]) for case in cases] == measured
    assert list(tmp_path.iterdir()) == [path]
    assert "kept" in capsys.readouterr().err
