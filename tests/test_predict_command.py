"""`jrnn predict` with a network whose forecast is the last value, saved by hand: what it says and what it writes."""

import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cli import main
from jrnn.data import load
from jrnn.training import Objective, save
from jrnn.training import load as load_model
from jrnn.training.intervals import held_out_intervals

LEVEL = np.round(100 + np.cumsum(np.random.default_rng(0).normal(size=60)), 3)


def table(values, start="2020-01-06", hours=24):
    times = np.datetime64(start, "h") + hours * np.arange(len(values))
    return "\n".join(["time,a", *(f"{str(t).replace('T', ' ')}:00,{v}" for t, v in zip(times, values))])


def saved(text, **options):
    """A folder `run` of the network z_t = x_t on old.csv."""
    with open("old.csv", "w") as file:
        file.write(text)
    data = load("old.csv", history=8, **options)
    features = data.x.shape[2]
    params = {"w_in": jnp.eye(features), "w_rec": jnp.zeros((features,) * 2), "bias": jnp.zeros(features)}
    head = {"w": jnp.eye(features)[:, :1], "bias": jnp.zeros(1)}
    cell, objective = jrnn.elman(features, activation="identity"), Objective.of(data)
    known = {"data": "old.csv", "scaling": data.series.scaling, "series": data.series.as_json()}
    known |= held_out_intervals(cell, params, objective, head, data)
    save("run", cell, params, loss_params=head, objective=objective, metadata=known)
    return data


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--data", "old.csv"], ["--data", "./old.csv"]])
def test_the_data_are_not_written_over(capsys, arguments):
    text = table(LEVEL)
    saved(text)
    assert main(["predict", "--model", "run", *arguments, "--out", "old.csv"]) == 2
    assert "--out: got 'old.csv', the file of --data; need another file" in capsys.readouterr().err
    with open("old.csv") as file:
        assert file.read() == text
    assert main(["predict", "--model", "run", *arguments, "--out", "new.csv"]) == 0


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
def test_missing_last_values_are_told_and_widen(capsys, missing):
    saved(table(LEVEL), missing=missing)
    widths = []
    for gap, told in (
        (0, "by itself."),
        (1, "as the last value is missing"),
        (3, "as the last 3 values are missing"),
    ):
        with open("new.csv", "w") as file:
            file.write(table([*LEVEL[: len(LEVEL) - gap], *[""] * gap]))
        assert main(["predict", "--model", "run", "--data", "new.csv", "--missing", missing]) == 0
        assert told in capsys.readouterr().out
        row = np.genfromtxt("forecast.csv", delimiter=",", skip_header=1)
        np.testing.assert_allclose(row[1], LEVEL[-1 - gap], rtol=1e-6)  # the network answers the last known value
        widths.append(row[3] - row[2])
    assert widths[0] < widths[1] < widths[2]
    with open("new.csv", "w") as file:
        file.write(table([""] * 30))
    assert main(["predict", "--model", "run", "--data", "new.csv", "--missing", missing]) == 2
    assert "without a value of 'a'" in capsys.readouterr().err


def test_what_is_said_of_new_rows(capsys):
    """Of the file's own length, of a gap that the network has no mark for, of errors that overlap."""
    data = saved(table(LEVEL))
    assert data.series.period == 7 and data.series.masked == ()
    few, gap = LEVEL[:5], [*LEVEL[:3], "", *LEVEL[4:]]
    for values, said, short in (
        (few, "The file has 5 rows, fewer than a period of 7", True),
        (gap, "The network has no mark for missing values of a: it", False),
    ):
        with open("new.csv", "w") as file:
            file.write(table(values))
        assert main(["predict", "--model", "run", "--data", "new.csv", "--missing", "mask"]) == 0
        told = capsys.readouterr().out
        assert said in told and ("The file has" in told) == short and "windows overlap and most steps" in told


def test_a_text_goes_on(capsys, tmp_path):
    """A network of a book, by the command line alone: the characters are kept with it."""
    rng = np.random.default_rng(0)
    (tmp_path / "book.txt").write_text("".join(rng.choice(["to be ", "or not ", "é\n"], 700)), encoding="utf-8")
    (tmp_path / "prompt.txt").write_text("or Q\n")
    sizes = ["--hidden", "4", "--steps", "2", "--batch-size", "4"]
    assert main(["train", "--data", "book.txt", "--out", "run", *sizes]) == 0
    (tmp_path / "book.txt").unlink()
    said = capsys.readouterr().out
    assert "Go on with a text: jrnn predict --model run --data PROMPT.txt" in said
    how = ["--steps", "30", "--temperature", "0.5", "--seed", "4"]
    assert main(["predict", "--model", "run", "--data", "prompt.txt", *how]) == 0
    said = capsys.readouterr().out
    assert "1 of them was rare or absent in training" in said and "Written: continuation.txt (30 characters)" in said
    text = (tmp_path / "continuation.txt").read_text(encoding="utf-8")
    assert text == load_model("run").generate("or Q", steps=30, temperature=0.5, seed=4) and set(text) <= set(
        "\n benorté"
    )
    for arguments, words in (
        (["--data", "prompt.txt", "--missing", "mask"], "--missing: got mask; need a model of a .csv"),
        (["--data", "prompt.txt", "--temperature", "-1"], "--temperature: got -1.0; need a number of at least 0"),
        ([], "need a text to go on with"),
    ):
        assert main(["predict", "--model", "run", *arguments]) == 2
        assert words in capsys.readouterr().err
    saved(table(LEVEL))
    assert main(["predict", "--model", "run", "--data", "old.csv", "--seed", "3"]) == 2
    assert "--seed: got 3; need a model that was trained on a text" in capsys.readouterr().err
