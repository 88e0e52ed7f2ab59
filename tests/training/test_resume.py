"""A resume trusts nothing that lies in the folder: repaired where that is safe, said, and the end has the same bits."""

import json
import re
import shutil
import warnings

import numpy as np
import pytest
import worker
from runs import assert_same_run, kept

from jrnn import InputError
from jrnn.training import load
from jrnn.training.storage import checkpoints
from jrnn.training.telemetry.metrics import as_row, cut_back

STEPS = 8
ROW = {"step": 0, "loss": 1.5, "grad_norm": 2.0, "clip_factor": 0.5, "clipped": 1, "skipped": 0}


def lines(*rows):
    return "".join(json.dumps({**ROW, **row}) + "\n" for row in rows)


def test_metrics_are_cut_back_atomically(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines({"step": 0}, {"step": 1, "loss": "nan"}, {"step": 2}) + '{"step": 3, "lo')
    rows = cut_back(path, 2)
    assert [row["step"] for row in rows] == [0, 1] and np.isnan(rows[1]["loss"])
    assert path.read_text() == lines({"step": 0}, {"step": 1, "loss": "nan"})
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


BAD_LINES = {
    "a step that is no number": lines({"step": "3"}),
    "a step that is no integer": lines({"step": 3.0}),
    "a step that is a bool": lines({"step": True}),
    "a negative step": lines({"step": -1}),
    "a step of 1e400": lines({"step": 0}).replace('"step": 0', '"step": 1e400'),
    "a step of 5,000 digits": lines({"step": 0}).replace('"step": 0', '"step": ' + "9" * 5000),
    "no step": '{"loss": 1.0, "grad_norm": 2.0, "clip_factor": 0.5, "clipped": 1, "skipped": 0}\n',
    "no clipped": '{"step": 3, "loss": 1.0, "grad_norm": 2.0, "clip_factor": 0.5, "skipped": 0}\n',
    "a loss that is text": lines({"loss": "low"}),
    "a loss that is a list": lines({"loss": [1.0]}),
    "a loss that is null": lines({"loss": None}),
    "an integer that no array holds": lines({"clipped": 2**63}),
    "a list": "[1, 2]\n",
    "a number": "3\n",
    "text": '"step"\n',
    "null": "null\n",
    "no JSON": "loss: 3\n",
    "an empty line": "\n",
    "half a line": '{"step": 3, "lo\n',
    "two rows in a line": lines({"step": 3}).strip() + lines({"step": 4}),
    "brackets without end": "[" * 100_000 + "\n",
    "no UTF-8": b'{"step": 3, "l\xff\xfe": 1}\n',
    "zeros, as a file system leaves them": b"\0" * 512 + b"\n",
    "UTF-16": lines({"step": 3}).encode("utf-16")[:-1] + b"\n",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_line_that_is_no_row_is_dropped_and_told(name, tmp_path):
    path, bad = tmp_path / "metrics.jsonl", BAD_LINES[name]
    bad = bad.encode() if isinstance(bad, str) else bad
    assert as_row(bad.rstrip(b"\n")) is None
    path.write_bytes(lines({"step": 0}).encode() + bad + lines({"step": 1}).encode())
    with pytest.warns(UserWarning, match=r"metrics.jsonl: lines 2(, 3)? could not be read and were dropped; the train"):
        rows = cut_back(path, 2)
    assert rows == [ROW, {**ROW, "step": 1}] and path.read_text() == lines({"step": 0}, {"step": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path.write_bytes(path.read_bytes() + bad.rstrip(b"\n"))  # torn at the end: what a kill leaves, and nothing lost
        assert cut_back(path, 2) == rows and path.read_text() == lines({"step": 0}, {"step": 1})


def test_steps_twice_out_of_order_and_missing(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines({"step": 2}, {"step": 0}, {"step": 2, "loss": 7.0}, {"step": 9}))
    with pytest.warns(UserWarning, match=r"steps 1 have no row; where a step has several rows, the last one counts"):
        rows = cut_back(path, 3)
    assert rows == [ROW, {**ROW, "step": 2, "loss": 7.0}]
    with pytest.warns(UserWarning, match=r"steps 1, 3, 4, 5, 6, \.\.\. \(8 of them\) have no row"):
        cut_back(path, 10)


def test_a_folder_in_the_place_of_the_metrics_is_renamed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for name in ("metrics.jsonl.damaged", "metrics.jsonl.damaged1"):
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "theirs").write_text(name)
        with pytest.warns(UserWarning, match=f"it was no file, and is {name} now; steps 0, 1 have no row"):
            assert cut_back(path, 2) == []
        assert (tmp_path / name / "theirs").read_text() == name and path.read_text() == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that stopped after 6 steps, checkpoints at 3 and 6, and what it is when it ends without a stop."""
    folder = tmp_path_factory.mktemp("runs")
    worker.run(folder / "whole", STEPS)
    worker.run(folder / "part", 6)
    return folder / "part", kept(folder / "whole")


@pytest.mark.thorough
@pytest.mark.parametrize("damage", ["a line", "no file", "a folder", "twice"])
def test_a_run_with_damaged_metrics_ends_with_the_same_parameters(damage, run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    path = out / "metrics.jsonl"
    content = path.read_text().splitlines(keepends=True)
    if damage in ("no file", "a folder"):
        path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "a line":
        path.write_text("".join([*content[:2], "{}\n", *content[3:]]))
    elif damage == "twice":
        path.write_text("".join(content + content))
    with pytest.warns(UserWarning, match=r"metrics.jsonl: .*; the training itself is as it was"):
        fitted = worker.run(out, STEPS, resume=True)
    step, arrays, metrics = kept(out)
    missing = {"a line": [2], "twice": []}.get(damage, range(6))
    assert fitted.history["step"].tolist() == [i for i in range(STEPS) if i not in missing]
    rows = [line for i, line in enumerate(run[1][2].splitlines(keepends=True)) if i not in missing]
    assert_same_run((step, arrays, metrics), (*run[1][:2], "".join(rows)))


FILES = {
    "a list": "[]",
    "nothing": "",
    "empty": "{}",
    "a number": "3",
    "null": "null",
    "text": '"x"',
    "half": '{"a": 1',
}
FILES |= {
    "wrong types": '{"description/metadata": "x"}',
    "deep": "[" * 100_000,
    "no UTF-8": b"\xff\xfe{}",
    "a folder": None,
}


@pytest.mark.parametrize("name", FILES)
def test_a_list_of_checksums_that_is_none(name, run, tmp_path):
    """The checkpoint counts as damaged: an older one is taken, and the end is the same."""
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    for step in (6, 3):
        path, content = out / "checkpoints" / str(step) / "files.json", FILES[name]
        path.unlink()
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if step == 6:
            with pytest.warns(UserWarning, match="passed over damaged checkpoints: .*6"):
                assert load(out).metadata["step"] == 3
    with pytest.raises(InputError, match="^directory: got .*; need at least one whole checkpoint"):
        load(out)
    with pytest.raises(InputError, match="^out: got .*; need at least one whole checkpoint"):
        worker.run(out, STEPS, resume=True)
    with pytest.raises(InputError, match="^directory: got .*6.*; need a whole checkpoint"):
        load(out / "checkpoints" / "6")


def test_from_a_damaged_checkpoint_the_one_before_goes_on(run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    (out / "checkpoints" / "6" / "files.json").write_text("[]")
    with pytest.warns(UserWarning, match="passed over damaged checkpoints: .*6"):
        worker.run(out, STEPS, resume=True)
    assert_same_run(kept(out), run[1])
    assert (out / "checkpoints" / "6.damaged").is_dir()


def places(value, at=()):
    """Every place in a JSON value."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


def changed(value, at, new):
    """The JSON value with another value at a place."""
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(value[at[0]], at[1:], new)
    return copy


@pytest.mark.thorough
def test_a_description_that_says_something_else_is_refused_or_passed_over(run, tmp_path):
    """Every part of it replaced by what it is not, its checksum right: an InputError or a whole result, no other
    error."""
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    shutil.rmtree(out / "checkpoints" / "3")
    folder = out / "checkpoints" / "6"
    path = folder / "description" / "metadata"
    whole = path.read_text()
    spots, outcomes = list(places(json.loads(whole))), {"refused": 0, "read": 0}
    rng = np.random.default_rng(0)
    values = [None, [], {}, "x", -1, 1.5, True, [[]], {"class": []}]
    for number in rng.choice(len(spots), 40, replace=False):
        new = values[rng.integers(len(values))]
        path.write_text(json.dumps(changed(json.loads(whole), spots[number], new)))
        (folder / "files.json").write_text(json.dumps(checkpoints.checksums(folder)))
        for call in (lambda: load(out), lambda: worker.run(out, 6, resume=True)):
            try:
                call()
                outcomes["read"] += 1
            except InputError as error:
                assert re.match(r"\w+: got ", str(error))
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 10, outcomes
