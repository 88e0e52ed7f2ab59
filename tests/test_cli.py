"""The command line: what a newcomer types, and every kind of wrong input: exit code 2, one clear line, no traceback."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from jrnn import data, training
from jrnn.cli import main
from jrnn.commands.options import parser
from jrnn.commands.saved_runs import open_run
from jrnn.report import Stage, read_history
from jrnn.report.page import Picture
from tests.report import samples

RUN = [sys.executable, "-W", "error::RuntimeWarning", "-m", "jrnn.cli"]
TINY = ["--hidden", "6", "--steps", "4", "--batch-size", "8"]


def jrnn(*args, cwd, **variables):
    # compiled once and run once: XLA's optimisations would cost more than they save (.ci/run has them on)
    environment = {
        **os.environ,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    environment |= variables
    return subprocess.run(
        [*RUN, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300, env=environment
    )


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    """A user's own file: 40 sequences of 12 steps, 2 features, two classes, lengths that differ."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    x = rng.normal(size=(40, 12, 2)).astype(np.float32)
    y = (x[:, 0, 0] > 0).astype(np.int64)
    np.savez(folder / "mine.npz", x=x, y=y, lengths=rng.integers(3, 13, 40))
    return folder / "mine.npz"


@pytest.fixture(scope="module")
def trained(sequences, tmp_path_factory):
    """A run of `jrnn train` on it."""
    folder = tmp_path_factory.mktemp("train")
    done = jrnn("train", "--data", sequences, "--cell", "gru", *TINY, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout


@pytest.mark.thorough
def test_diagnose_own_data(sequences, tmp_path):
    # as someone has it who hunts a NaN: training, its telemetry and every instrument on it make none
    done = jrnn("diagnose", "--data", sequences, *TINY, "--layers", "2", "--lag", "5", cwd=tmp_path, JAX_DEBUG_NANS="1")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "jrnn-report"
    found = json.loads((out / "report.json").read_text(), parse_constant=pytest.fail)
    stages = found["stages"]
    assert [stage["name"] for stage in stages] == ["before training", "after training"]
    assert [each["name"] for each in found["baselines"]] == ["majority class"]
    assert found["data"]["lag"] == 5 and found["model"]["layers"] == 2 and found["model"]["state"] == 12
    assert found["history"] == {} and len(read_history(out / "report.json")["grad_norm"]) == 4
    assert "before training" in done.stdout and "of 5 steps" in done.stdout
    assert (out / "report.html").stat().st_size > 20_000 and list(out.glob("*.png"))
    # a second run writes beside the first, not over it
    assert jrnn("train", "--data", sequences, *TINY, cwd=tmp_path).returncode == 0
    assert (tmp_path / "jrnn-report-2" / "model").exists()


@pytest.mark.thorough
def test_train_then_diagnose_the_model(trained, tmp_path):
    run, said = trained
    assert "held-out" in said and "jrnn diagnose --model" in said
    saved = training.load(run)
    assert saved.cell.hidden == 6 and saved.objective.outputs == 2
    done = jrnn("diagnose", "--model", run, "--out", "seen", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "seen" / "report.json").read_text())
    assert [stage["name"] for stage in found["stages"]] == ["as saved"]
    assert found["model"]["cell"] == "GRU" and found["stages"][0]["step"] == 4


@pytest.mark.thorough
def test_resume_goes_on_with_a_generated_task(tmp_path):
    options = ["--data", "two-lag-coin:6", "--cell", "lem", "--hidden", "5", "--batch-size", "8", "--out", "run"]
    assert jrnn("train", *options, "--steps", "3", cwd=tmp_path).returncode == 0
    assert training.load(tmp_path / "run").objective == training.Objective("classify_each", 2, 6)
    refused = jrnn("train", *options, "--steps", "6", cwd=tmp_path)
    assert refused.returncode == 2 and "resume" in refused.stderr
    assert jrnn("train", *options, "--steps", "6", "--resume", cwd=tmp_path).returncode == 0
    whole = [*options[:-1], "whole"]
    done = jrnn("train", *whole, "--steps", "6", cwd=tmp_path)
    assert done.returncode == 0 and "Without what lies 6 steps back the loss is 0.519 (0.51917 with" in done.stdout
    one, other = (training.load(tmp_path / name).params for name in ("run", "whole"))
    for name in one:
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]))


@pytest.mark.thorough
def test_a_forecaster_goes_the_whole_way(capsys, tmp_path, monkeypatch):
    """Train on a table with dates, a gap and a second column, read the red card, forecast new rows in their unit."""
    monkeypatch.chdir(tmp_path)
    rng, days = np.random.default_rng(0), np.arange("2020-01-01", "2020-03-11", dtype="M8[D]")
    level = 1000 + np.cumsum(rng.normal(size=70))
    lines = [f"{day},{value:.3f},{i % 2}" for i, (day, value) in enumerate(zip(days, level))]
    for name, kept in (("old.csv", lines[:20] + lines[21:60]), ("new.csv", lines[30:])):
        (tmp_path / name).write_text("\n".join(["date,sales,promo", *kept]))
    options = "--target sales --horizon 2 --history 12 --change --out run".split()
    train = ["train", "--data", "old.csv", *TINY, *options]
    assert "1 missing row (after 2020-01-20)" in refused(capsys, *train)
    assert main([*train, "--missing", "interpolate"]) == 0
    said = capsys.readouterr().out
    assert said.index("The network loses to an answer") < said.index("On held-out data: loss")
    for words in (
        "Times in column 1 ('date'): 2020-01-01 to 2020-02-29, one row a day",
        "Read and not forecast: 3 ('promo')",
        "First row: 2020-01-01, sales =",
        "Without a network, persistence (the last known value stays): loss",
    ):
        assert words in said, said
    assert main(["predict", "--model", "run", "--data", "new.csv", "--out", "out.csv", "--level", "0.8"]) == 0
    assert "sales after the last row; low and high hold 80 % of the" in capsys.readouterr().out
    head, *rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert head == ["time", "sales", "sales_low", "sales_high"]
    assert [row[0] for row in rows] == ["2020-03-11", "2020-03-12"]
    for _, value, low, high in rows:
        assert float(low) < float(high) and abs(float(value) - level[-1]) < 15
    again = open_run(parser().parse_args(["diagnose", "--model", "run", "--data", "new.csv"]))
    assert again.dataset.series == data.Series.from_json(again.known["series"]) and again.dataset.outputs == 2
    assert "need no such option beside --model" in refused(capsys, "diagnose", "--model", "run", "--horizon", "3")
    for args, words in (
        (["--model", "nowhere"], "--model"),
        (["--model", "run", "--data", "none.csv"], "--data"),
        (["--model", "run", "--level", "0.7"], "need one of 0.5, 0.8, 0.9, 0.95"),
        (["--model", "run", "--out", "old.csv/x"], "--out"),
    ):
        assert words in refused(capsys, "predict", *args)


def refused(capsys, *args):
    """The one line on standard error of a command that must exit with 2."""
    try:
        code = main([str(a) for a in args])
    except SystemExit as stop:  # argparse's own
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2 and "Traceback" not in said
    return said


@pytest.mark.parametrize(
    "args, words",
    [
        (["--cell", "rnn"], ["--cell", "'rnn'", "elman, lstm, gru"]),
        (["--hidden", "0"], ["--hidden", "0", "positive"]),
        (["--hidden", "two"], ["--hidden", "'two'"]),
        (["--layers", "-1"], ["--layers", "-1"]),
        (["--steps", "0"], ["--steps", "0"]),
        (["--max-norm", "0"], ["--max-norm", "0"]),
        (["--max-norm", "nan"], ["--max-norm", "nan"]),
        (["--learning-rate", "-1"], ["--learning-rate", "-1"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--lag", "64"], ["--lag", "64", "from 1 to 63"]),
        (["--lag", "0"], ["--lag", "from 1"]),
        (["--data", "nothing"], ["--data", "nothing", "digits, mnist"]),
        (["--data", "missing.npz"], ["--data", "missing.npz"]),
        (["--model", "nowhere"], ["--model", "nowhere"]),
        (["--model", "nowhere", "--hidden", "3"], ["--hidden", "--model"]),
        (["--model", "nowhere", "--seed", "3"], ["--seed", "--model"]),
        (["--out", "/dev/null/x"], ["--out", "/dev/null/x"]),
        (["--out", ""], ["--out", "a folder"]),
        (["--data", ""], ["--data", "digits, mnist"]),
        (["--learning-rate", "inf"], ["--learning-rate", "inf"]),
        (["--resume"], ["--resume", "no run"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_options(capsys, args, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, "diagnose", *args)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "arrays, words",
    [
        (dict(x=np.ones((4, 0, 2)), y=np.zeros(4, int)), ["x", "0"]),
        (dict(x=np.full((4, 3, 2), np.nan), y=np.arange(4) % 2), ["x", "nan", "case"]),
        (dict(x=np.ones((4, 3, 2)), y=np.arange(4) % 2, lengths=[1, 2, 3, 4]), ["lengths", "4"]),
        (dict(x=np.ones((4, 3, 2)), y=np.arange(4) % 2, lengths=[1, 2, 3, -1]), ["lengths", "-1"]),
        (dict(x=np.ones((4, 3, 2)), y=np.arange(5) % 2), ["y"]),
        (dict(x=np.ones((4, 3, 2))), ["y"]),
    ],
    ids=["no steps", "nan", "length too long", "negative length", "other count", "no y"],
)
def test_bad_files(capsys, arrays, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("bad.npz", **arrays)
    said = refused(capsys, "diagnose", "--data", "bad.npz")
    assert all(word in said for word in words), said
    assert not list(tmp_path.glob("jrnn-report*"))


def test_text_in_csv(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n" + "1,2\n" * 30 + "3,many\n")
    said = refused(capsys, "diagnose", "--data", "bad.csv")
    assert "many" in said and "32" in said


def test_model_and_data_that_do_not_fit(capsys, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, "diagnose", "--model", trained[0], "--data", "digits")
    assert "--data" in said and "2 outputs" in said


def test_model_and_data_of_other_features(capsys, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(20, 6, 3))
    np.savez("three.npz", x=x, y=np.arange(20) % 2)
    said = refused(capsys, "diagnose", "--model", trained[0], "--data", "three.npz")
    assert "3 features" in said and "2 features" in said and not list(tmp_path.glob("jrnn-report*"))


def test_a_missing_package_is_named_before_anything_is_computed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    for package, extra in (("matplotlib", "plots"), ("orbax", "train"), ("rich", "train"), ("tensorboardX", "train")):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *a, p=package: None if name == p else find(name, *a)
        )
        said = refused(capsys, "diagnose", "--tensorboard")
        assert package in said and f"jrnn[{extra}]" in said and not list(tmp_path.iterdir())


@pytest.mark.thorough
def test_a_killed_run_can_be_diagnosed(sequences, tmp_path):
    """What `fit` checkpointed knows its data; from another folder too."""
    assert (
        jrnn("train", "--data", sequences.name, *TINY, "--out", tmp_path / "run", cwd=sequences.parent).returncode == 0
    )
    shutil.rmtree(tmp_path / "run" / "model")
    done = jrnn("diagnose", "--model", tmp_path / "run", "--out", "seen", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "seen" / "report.json").read_text())["stages"][0]["step"] == 4


def test_help_reads_well(capsys):
    for args in (["--help"], ["diagnose", "--help"], ["train", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(args)
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= 95
        if len(args) == 2:
            for option in (
                "--cell",
                "--hidden",
                "--layers",
                "--max-norm",
                "--steps",
                "--seed",
                "--data",
                "--out",
                "--resume",
            ):
                assert re.search(rf"^  {option}\b.*", said, re.M), option
    assert main([]) == 2


@pytest.mark.thorough
def test_several_seeds(sequences, capsys, tmp_path, monkeypatch):
    """Each is the run of its seed on one split; the one with the median held-out loss stands for all in --out."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", str(sequences), *TINY, "--seed", "4", "--seeds", "3", "--out", "run"]) == 0
    said = capsys.readouterr().out
    every = {seed: training.load(tmp_path / f"run/seed-{seed}") for seed in (4, 5, 6)}
    assert {saved.metadata["seed"] for saved in every.values()} == {4}  # of the split, which is the same for all
    held_out = data.load(str(sequences), seed=4)
    held_out = held_out.subset(held_out.test)
    losses = {
        seed: training.evaluate(saved.cell, saved.params, saved.objective, saved.loss_params, held_out)["loss"]
        for seed, saved in every.items()
    }
    typical = sorted(losses, key=losses.get)[1]
    low, middle, high = (f"{value:.3g}" for value in sorted(losses.values()))
    assert "Over 3 seeds, median (least to most): accuracy" in said and f", loss {middle} ({low} to {high})" in said
    assert f"On held-out data, seed {typical}: accuracy" in said
    chosen = training.load(tmp_path / "run")
    assert chosen.metadata["member"] == typical and chosen.metadata["members"] == [4, 5, 6]
    np.testing.assert_array_equal(chosen.params["w_rec"], every[typical].params["w_rec"])
    assert main(["predict", "--model", "run", "--data", str(sequences)]) == 0
    others = ", ".join(f"run/seed-{seed}" for seed in (4, 5, 6) if seed != typical)
    assert f"held-out loss is the median, seed {typical}; the others: {others}." in capsys.readouterr().out
    words = refused(capsys, "train", "--data", sequences, *TINY, "--seed", "4", "--out", "run", "--resume")
    assert "--seeds: got none, and run holds the runs of 3 seeds; need --seeds N" in words
    words = refused(capsys, "train", "--data", sequences, *TINY, "--seeds", "1", "--out", "new")
    assert "--seeds: got 1; need a whole number from 2 to 100" in words
    words = refused(capsys, "diagnose", "--model", "run", "--seeds", "2")
    assert "--seeds: got 2; need no such option beside --model" in words


@pytest.mark.thorough
def test_a_diagnosis_over_seeds(sequences, capsys, tmp_path, monkeypatch):
    """Which network is shown, and what is said of the others; its flow, made up, is the subject of other tests."""

    def measured(name, step, cell, params, objective, head, dataset, lag):
        scores = training.evaluate(cell, params, objective, head, dataset.subset(dataset.test))
        return Stage(name, step, scores, samples.flow(-0.2, lags=12, lag=lag))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jrnn.commands.diagnosing.measure", measured)
    monkeypatch.setattr("jrnn.commands.diagnosing.prove_clipping", lambda *_: None)
    monkeypatch.setattr("jrnn.report.writing._render", lambda *_: Picture(b"<svg/>", b"<svg/>"))
    assert main(["diagnose", "--data", str(sequences), *TINY, "--seeds", "2", "--out", "run"]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "run/report.json").read_text())
    every = found["over_seeds"]
    assert every["seeds"] == [0, 1] and every["typical"] == found["model"]["seed"] and "losses" not in every
    shown = every["scores"][every["typical"]]
    before, after = (stage["scores"] for stage in found["stages"])
    assert after == pytest.approx(shown) and before != after
    assert shown["loss"] == min(each["loss"] for each in every["scores"])  # of two the lower
    assert "loss over 2 seeds" in said and (tmp_path / "run/over_seeds.png").is_file()
    assert "The same training from 2 seeds" in (tmp_path / "run/report.html").read_text()
