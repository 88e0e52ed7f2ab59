"""`fit(log=...)`: a user's function is told of each step once, in order, and may end the run."""

import json

import numpy as np
import pytest
import worker
from runs import assert_same_run, kept

import jrnn
from jrnn import InputError
from jrnn.training import NonFiniteError, Objective, fit
from jrnn.training.storage.run_folder import RunFolder

STEPS = 8  # of the worker, which has a checkpoint at every third step and fetches metrics at every second


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without a log."""
    out = tmp_path_factory.mktemp("whole")
    worker.run(out, STEPS)
    return kept(out)


def test_each_row_is_told_once_in_order_whenever_metrics_are_fetched(whole, tmp_path, monkeypatch):
    told, drawn, when = [], [], []
    draw = worker.Batches.__call__
    monkeypatch.setattr(worker.Batches, "__call__", lambda self, step: drawn.append(step) or draw(self, step))

    def log(row):
        told.append(dict(row))
        when.append(drawn[-1])
        row.clear()  # a dict of its own

    fitted = worker.run(tmp_path, STEPS, log=log)
    assert told == [json.loads(line) for line in whole[2].splitlines()]
    assert [type(row["loss"]) for row in told] == [float] * STEPS and fitted.history["step"].tolist() == [*range(STEPS)]
    assert when == [1, 1, 2, 3, 5, 5, 7, 7]  # after steps 2, 3 (a checkpoint), 4, 6 and 8
    assert_same_run(kept(tmp_path), whole)


def test_a_resumed_run_goes_on_where_the_log_was(whole, tmp_path):
    told = []
    for steps in (4, 4, STEPS):
        worker.run(tmp_path, steps, resume=steps > 4 or bool(told), log=told.append)
    assert [row["step"] for row in told] == [*range(STEPS)]
    assert_same_run(kept(tmp_path), whole)


def test_steps_done_again_after_a_crash_are_told_again_with_the_same_numbers(whole, tmp_path, monkeypatch):
    told = []
    checkpoint = RunFolder.checkpoint
    monkeypatch.setattr(RunFolder, "checkpoint", lambda run, step, carry: crash(step) or checkpoint(run, step, carry))

    def crash(step):
        if step == 6:
            raise MemoryError

    with pytest.raises(MemoryError):
        worker.run(tmp_path, STEPS, log=told.append)
    monkeypatch.undo()
    worker.run(tmp_path, STEPS, resume=True, log=told.append)
    assert [row["step"] for row in told] == [*range(6), *range(3, STEPS)]
    assert told[3:6] == told[6:9]
    assert_same_run(kept(tmp_path), whole)


def test_what_it_raises_ends_the_run_after_a_checkpoint(whole, tmp_path):
    def stops(row):
        if row["step"] == 4:
            raise ConnectionError("no network")

    with pytest.raises(ConnectionError, match="no network"):
        worker.run(tmp_path, STEPS, log=stops)
    step, _, metrics = kept(tmp_path)
    assert step == 6 and metrics.splitlines() == whole[2].splitlines()[:6]  # all that was fetched
    told = []
    worker.run(tmp_path, STEPS, resume=True, log=told.append)
    assert [row["step"] for row in told] == [6, 7]
    assert_same_run(kept(tmp_path), whole)
    with pytest.raises(ConnectionError, match="no network"):
        worker.run(None, STEPS, log=stops)


def test_the_skipped_updates_before_a_stop_are_told(tmp_path):
    told = []
    batch = {"x": np.full((4, 2, 3), np.inf), "y": np.zeros(2, int)}
    with pytest.raises(NonFiniteError, match="step 2: the last 3 updates were skipped"):
        options = {"max_skipped": 3, "log_every": 20, "out": tmp_path, "log": told.append}
        fit(jrnn.elman(4), Objective("classify", 3), lambda step: batch, steps=9, **options)
    assert [(row["step"], row["skipped"]) for row in told] == [(0, 1), (1, 1), (2, 1)]
    assert all(np.isnan(row["loss"]) and "in_a_row" not in row for row in told)
    assert not list((tmp_path).glob("checkpoints/*"))


@pytest.mark.parametrize("log", [3, "wandb", {"step": 0}])
def test_a_log_is_a_function(log):
    with pytest.raises(InputError, match="log: got a .*; need a function of a dict, the metrics of one step"):
        worker.run(None, 1, log=log)
