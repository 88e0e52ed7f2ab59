"""`jrnn predict` with a network whose forecast is the last value, saved by hand: what it says and what it writes."""

import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cli import main
from jrnn.data import load
from jrnn.training import Objective, save
from jrnn.training.predicting import held_out_intervals

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


def test_a_last_row_without_a_value_is_told(capsys):
    saved(table(LEVEL), missing="interpolate")
    for last, told in ((LEVEL[-1], False), ("", True)):
        with open("new.csv", "w") as file:
            file.write(table([*LEVEL[:-1], last]))
        assert main(["predict", "--model", "run", "--data", "new.csv"]) == 0
        assert ("The last row lacks a value" in capsys.readouterr().out) == told


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
