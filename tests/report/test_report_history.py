"""The history of a run is written once: in metrics.jsonl, or where there is none in report.json."""

import json
from pathlib import Path

import numpy as np
import pytest

from jrnn.report import read_history, read_report, to_json
from jrnn.report.json_import import logs_hold
from jrnn.report.writing import _json_text
from jrnn.types import InputError
from tests.report import samples


def logged(folder, history):
    """As the run writes it, by a writer of the test's own."""
    rows = [{"step": i} | {name: column[i] for name, column in history.items()} for i in range(len(history["loss"]))]
    lines = [json.dumps({name: plain(value) for name, value in row.items()}) for row in rows]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def plain(value):
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, int) or np.isfinite(value) else repr(float(value))


def written(folder, value):
    path = folder / "report.json"
    path.write_text(_json_text(value, folder))
    return path, json.loads(path.read_text())


def same(found, history):
    assert found.keys() == history.keys()
    for name, column in history.items():
        np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize("make", [samples.diagnosis, samples.broken])
def test_a_history_that_the_run_wrote_is_not_written_again(tmp_path, make):
    value = make()
    if make is samples.broken:  # NaN and infinities; a metric that some updates lack
        value.history["clip_factor"] = np.ones(3)
    logged(tmp_path, value.history)
    path, found = written(tmp_path, value)
    assert found["history"] == {} and found["history_file"] == "metrics.jsonl"
    assert found["clipping"] == to_json(value)["clipping"]
    same(read_history(path), value.history)
    assert read_report(path)[1][-1].name == value.stages[-1].name
    with (tmp_path / "metrics.jsonl").open("a") as file:  # the run went on after the report
        file.write(json.dumps({"step": 99} | {name: 0 for name in value.history}) + "\n")
    same(read_history(path), value.history)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="report: got .*metrics.jsonl.*need a file that can be read"):
        read_history(path)


def test_the_history_of_one_of_several_seeds_is_in_its_folder(tmp_path):
    value = samples.diagnosis(over_seeds=samples.SEEDS)
    for seed in samples.SEEDS.seeds:
        (tmp_path / f"seed-{seed}").mkdir()
        logged(tmp_path / f"seed-{seed}", value.history if seed == samples.SEEDS.typical else samples.history(7))
    path, found = written(tmp_path, value)
    assert found["history"] == {} and found["history_file"] == "seed-3/metrics.jsonl"
    same(read_history(path), value.history)


def test_another_run_beside_it_or_none(tmp_path):
    value = samples.diagnosis()
    for history in (None, {name: column[:-1] for name, column in value.history.items()}, samples.history(max_norm=0.5)):
        if history is not None:
            logged(tmp_path, history)
        path, found = written(tmp_path, value)
        assert found == to_json(value) and found["history_file"] is None
        same(read_history(path), value.history)
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff{}\n[]\n")
    assert not logs_hold(tmp_path / "metrics.jsonl", value.history)
    assert not logs_hold(Path("a\0b"), value.history) and not logs_hold(tmp_path / "metrics.jsonl", {})


def test_reports_of_before(tmp_path):
    found = to_json(samples.broken())
    del found["history_file"]
    (tmp_path / "report.json").write_text(json.dumps(found))
    same(read_history(tmp_path / "report.json"), samples.broken().history)
    assert read_history(written(tmp_path, samples.saved())[0]) == {}
    for text in ("[]", "{}", '{"history": 1}', '{"history_file": "metrics.jsonl", "clipping": null}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(InputError, match="report: got .*need the report.json that this version"):
            read_history(tmp_path / "report.json")
