"""What `jrnn prescribe` prints is a command that runs as it stands, composed cures and saved networks included."""

import json
import shlex
from types import SimpleNamespace

import numpy as np
import pytest

import jrnn
from jrnn.cli import main
from jrnn.commands.options import parser
from jrnn.commands.output import next_step, of_its_stage
from jrnn.commands.prescribing import command_line, saved_network
from jrnn.commands.running import build, chosen_cures, load_data
from jrnn.cures import AutoClip, Chrono, LeakyUnits, Omega, apply_to_cell
from jrnn.cures.catalogue import cures_of
from jrnn.prescribing.candidates import as_cures
from jrnn.types import InputError
from tests.report import samples

DATA = ["--data", "marked-bit:6", "--cell", "gru", "--hidden", "3"]


@pytest.mark.parametrize(
    "text, cures",
    [
        ("chrono:200", (Chrono(200),)),
        ("chrono:200+leaky:200", (Chrono(200), LeakyUnits(200))),
        ("chrono:200 + leaky:1e+3 +auto-clip", (Chrono(200), LeakyUnits(1000), AutoClip())),
    ],
)
def test_composed_cures_have_one_spelling(text, cures):
    """The same text for `--cure`, for a candidate of `prescribe`, and as an arm is named."""
    assert cures_of(text) == as_cures(text) == cures
    args = parser().parse_args(["train", *DATA, "--cure", text, "--cure", "omega:0.5"])
    assert chosen_cures(args) == (*cures, Omega(0.5))
    with pytest.raises(InputError, match="cure: got"):
        cures_of(text + "+")


@pytest.mark.parametrize("command", ["train", "diagnose"])
@pytest.mark.parametrize("own", [(), (LeakyUnits(7),)], ids=["", "own cures"])
def test_the_printed_command_makes_what_was_recommended(command, own):
    args = parser().parse_args(["prescribe", *DATA, "--layers", "2", "--max-norm", "inf", "--seed", "3"])
    dataset = load_data(args)
    cell = apply_to_cell(own, build(args, dataset))
    composed = as_cures("chrono:6+auto-clip")
    found = SimpleNamespace(cures=composed, best=SimpleNamespace(updates=18), learning_rate=0.0015)
    words = shlex.split(command_line(args, found, own))
    assert words[:2] == ["jrnn", "train"]
    again = parser().parse_args([command, *words[2:]])
    assert load_data(again).name == dataset.name
    cures = chosen_cures(again)
    assert cures == (*own, *composed)
    assert apply_to_cell(cures, build(again, dataset)) == apply_to_cell(composed, cell)
    assert (again.steps, again.learning_rate, again.max_norm, again.seed) == (18, 0.0015, np.inf, 3)


@pytest.mark.parametrize(
    "options, command",
    [
        (
            ["--data", "marked-bit:6", "--cell", "gru", "--hidden", "3"],
            "--data marked-bit:6 --cell gru --lag 63 --hidden 3",
        ),
        (["--cell", "gru", "--cure", "leaky:9"], "--model OUT --lag 63"),
        (["--model", "OUT", "--data", "mine.npz"], "--model OUT --data mine.npz --lag 63"),
        (["--model", "weights.npz", "--data", "mine.npz"], ""),
    ],
)
def test_a_diagnosis_ends_with_a_command(options, command, tmp_path):
    """Of a network by its options; of one with cures, or that was saved, by its folder."""
    stage = samples.diagnosis().stages[0]
    args = parser().parse_args(["diagnose", *[word.replace("OUT", str(tmp_path)) for word in options]])
    found = next_step(args, jrnn.gru(3), stage, tmp_path)
    assert found["next_command"].startswith(
        f"jrnn prescribe {command}".replace("OUT", str(tmp_path)) if command else ""
    )
    assert bool(found["next_command"]) == bool(command) and "chrono:63" in found["advice"]
    if command:
        parser().parse_args(shlex.split(found["next_command"].replace("None", "1"))[1:])


@pytest.mark.thorough
def test_a_saved_network_is_raced_by_the_command_of_its_diagnosis(tmp_path, monkeypatch, capsys):
    """train with a cure, diagnose --model, run what that prints, and again with what it saved."""
    monkeypatch.chdir(tmp_path)
    tiny = ["--hidden", "3", "--learning-rate", "0.002", "--batch-size", "16", "--max-norm", "0.5"]
    cured = ["--cure", "scale-gradient:0.5+auto-clip"]
    assert main(["train", "--data", "marked-bit:40", *tiny, *cured, "--steps", "2", "--out", "run"]) == 0
    assert main(["diagnose", "--model", "run", "--out", "seen"]) == 0
    command = json.loads((tmp_path / "seen" / "report.json").read_text())["next_command"]
    assert command == "jrnn prescribe --model run --lag 40" and command in capsys.readouterr().out
    args = parser().parse_args(shlex.split(command)[1:])
    cell, own, dataset = saved_network(args)
    assert cell == jrnn.cures.scale_gradient(jrnn.elman(3), h=0.5) and [each.name for each in own] == ["scale-gradient"]
    assert (args.learning_rate, args.batch_size, args.max_norm, args.cell, dataset.lag) == (0.002, 16, 0.5, "elman", 40)
    assert "Left out: auto-clip" in capsys.readouterr().out
    assert main([*shlex.split(command)[1:], "--updates", "18", "--cure", "leaky:40+auto-clip", "--out", "raced"]) == 0
    said = capsys.readouterr().out
    page = json.loads((tmp_path / "raced" / "report.json").read_text())["prescription"]
    assert {row["cure"] for row in page["table"]} == {"as it is", *(row["cure"] for row in page["table"][1:])}
    assert page["data_lags"]["kind"] == "the lag alone" and "No shorter lag teaches" in said
    assert "No shorter lag teaches" in (tmp_path / "raced" / "report.html").read_text()
    assert (tmp_path / "raced" / "data_lags.png").exists()
    if page["recommends"]:
        (line,) = [line for line in said.splitlines() if line.startswith("On the command line")]
        words = shlex.split(line.split(": ", 1)[1])
        assert words[words.index("--cure") + 1] == "scale-gradient:0.5" and parser().parse_args(words[1:])
    again = parser().parse_args(["prescribe", "--model", "raced"])
    assert saved_network(again)[0] == jrnn.training.load("raced").cell and again.cell == "elman"


@pytest.mark.parametrize(
    "options, words",
    [
        (["--model", "nowhere"], ["--model", "nowhere", "a folder of `jrnn train`\n"]),
        (["--model", "nowhere", "--hidden", "3"], ["--hidden", "3", "beside --model"]),
        (["--model", "nowhere", "--seed", "3"], ["--seed", "3", "beside --model"]),
        (["--model", "a.npz"], ["--model", "'a.npz', a file", "a folder of `jrnn train`\n"]),
        (["--data", "marked-bit:6", "--cure", "chrono:3+nothing"], ["--cure", "'nothing'", "chrono:T_MAX"]),
    ],
)
def test_bad_options(options, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npz").touch()
    assert main(["prescribe", *options]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words) and said.count("\n") == 1


def test_advice_names_its_stage_where_the_last_one_got_another_verdict():
    first, last = samples.diagnosis().stages
    assert first.flow.verdict != last.flow.verdict
    step = {"advice": "Try this.", "next_command": "jrnn"}
    said = of_its_stage(step, (first, last))
    assert said == {"advice": "As the network was before training: Try this.", "next_command": "jrnn"}
    assert of_its_stage(step, (first, first)) == step and of_its_stage({}, (first, last)) == {}
