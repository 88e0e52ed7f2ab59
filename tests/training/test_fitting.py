"""`fit` against a plain loop, against itself interrupted, and against what one may get wrong."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_same_bits, cases

import jrnn
from jrnn import InputError
from jrnn.cures import clip_rate
from jrnn.training import NonFiniteError, Objective, fit, load
from jrnn.training.batches import Cases
from jrnn.training.storage.descriptions import described, difference
from jrnn.training.telemetry.metric_log import MetricLog

CLASSIFY = Objective("classify", 3)
CELL = jrnn.elman(4)


def generated(step):
    """A batch as a function of the step."""
    rng = np.random.default_rng(step)
    return {"x": rng.normal(size=(5, 4, 3)), "y": rng.integers(0, 3, 4)}


def test_an_epoch_is_a_permutation_and_batches_may_span_two():
    source = Cases(cases(10), CLASSIFY, 4, seed=3)
    drawn = np.concatenate([np.asarray(source.batch(source.arguments(step))["x"])[0] for step in range(10)])
    firsts = np.asarray(cases(10)["x"])[:, 0]
    index = np.array([int(np.argwhere((firsts == row).all(1))[0, 0]) for row in drawn]).reshape(4, 10)
    for epoch in index:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in index}) == 4
    again = Cases(cases(10), CLASSIFY, 4, seed=3)  # any step without the ones before it
    np.testing.assert_array_equal(again.batch(again.arguments(7))["x"][0], drawn[28:32])
    other = Cases(cases(10), CLASSIFY, 4, seed=4)
    assert not np.array_equal(other.batch(other.arguments(0))["x"][0], drawn[:4])
    assert Cases(cases(10), CLASSIFY, 64, seed=0).batch_size == 10


def test_the_first_steps_are_those_of_a_plain_loop():
    params, head = CELL.init(jax.random.key(1), 3), CLASSIFY.init(jax.random.key(2), 4)
    fitted = fit(CELL, CLASSIFY, generated, steps=6, params=params, loss_params=head, max_norm=0.5, learning_rate=0.01)
    weights = {"cell": params, "loss": head}
    tx = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.01))

    @jax.jit
    def loss_and_grads(weights, batch):
        def loss(weights):
            h = jnp.zeros((4, 4))
            for x in batch["x"]:
                p = weights["cell"]
                h = jnp.tanh(x @ p["w_in"] + h @ p["w_rec"] + jnp.broadcast_to(p["bias"], (4, 4)))
            z = h @ weights["loss"]["w"] + jnp.broadcast_to(weights["loss"]["bias"], (4, 3))
            right = jnp.take_along_axis(jax.nn.log_softmax(z), batch["y"][:, None], axis=1)
            return -right.mean()

        return jax.value_and_grad(loss)(weights)

    with jax.numpy_dtype_promotion("standard"):
        state, update = tx.init(weights), jax.jit(tx.update)
        for step in range(6):
            loss, grads = loss_and_grads(weights, generated(step))
            norm = float(optax.tree.norm(grads))
            np.testing.assert_allclose(fitted.history["loss"][step], float(loss), rtol=1e-12)
            np.testing.assert_allclose(fitted.history["grad_norm"][step], norm, rtol=1e-12)
            np.testing.assert_allclose(fitted.history["clip_factor"][step], min(1.0, 0.5 / norm), rtol=1e-12)
            assert fitted.history["clipped"][step] == (norm >= 0.5) and fitted.history["skipped"][step] == 0
            updates, state = update(grads, state, weights)
            weights = optax.apply_updates(weights, updates)
    ours = {"cell": fitted.params, "loss": fitted.loss_params}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), ours, weights)
    np.testing.assert_allclose(clip_rate(fitted.opt_state), fitted.history["clipped"].mean())
    assert fitted.step == 6 and not fitted.interrupted
    assert not params["w_in"].is_deleted()  # what the caller gave is copied, not donated


def test_a_resumed_run_has_the_bits_of_one_never_interrupted(tmp_path):
    cell = jrnn.dropout(jrnn.elman(3, dtype="bfloat16"), outputs=0.2)
    options = {"batch_size": 8, "checkpoint_every": 4, "log_every": 3, "learning_rate": 0.05}
    whole = fit(cell, CLASSIFY, cases(), steps=13, out=tmp_path / "whole", **options)
    for steps in (5, 13):
        parts = fit(cell, CLASSIFY, cases(), steps=steps, out=tmp_path / "parts", resume=True, **options)
    for name in ("params", "loss_params", "opt_state"):
        assert_same_bits(getattr(parts, name), getattr(whole, name))
    assert whole.history.keys() == parts.history.keys()
    for name, values in whole.history.items():
        np.testing.assert_array_equal(parts.history[name], values)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "parts")]
    assert lines[0] == lines[1] and len(lines[0].splitlines()) == 13
    first = json.loads(lines[0].splitlines()[0])
    flow = {"delta_early", "delta_late", "delta_growth", "delta_reach", "tangent_growth"}
    assert {"step", "loss", "accuracy", "grad_norm", "clip_factor", "clipped", "skipped"} == first.keys() - flow
    assert first.keys() >= flow
    assert sorted(int(p.name) for p in (tmp_path / "whole" / "checkpoints").iterdir()) == [8, 12, 13]
    again = fit(cell, CLASSIFY, cases(), steps=13, out=tmp_path / "whole", resume=True, **options)
    assert again.step == 13
    with pytest.raises(InputError, match="steps: got 2; need at least 13, what the run in .*whole has done"):
        fit(cell, CLASSIFY, cases(), steps=2, out=tmp_path / "whole", resume=True, **options)
    assert_same_bits(again.params, whole.params)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a few steps, on disk."""
    out = tmp_path_factory.mktemp("run")
    fit(CELL, CLASSIFY, cases(), steps=4, out=out, batch_size=8, checkpoint_every=2)
    return out


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name, change",
    [
        ("cell", {"cell": jrnn.elman(4, "relu")}),
        ("objective", {"objective": Objective("regress", 3), "data": cases(numbers=3)}),
        ("seed", {"seed": 1}),
        ("batch_size", {"batch_size": 4}),
        ("max_norm", {"max_norm": None}),
        ("learning_rate", {"learning_rate": 0.1}),
        ("optimizer|learning_rate", {"optimizer": optax.sgd(0.1)}),
        ("unroll_options", {"unroll_options": {"truncate": 2}}),
    ],
)
def test_resuming_another_run_names_the_difference(run, name, change):
    same = {
        "cell": CELL,
        "objective": CLASSIFY,
        "data": cases(),
        "steps": 9,
        "out": run,
        "resume": True,
        "batch_size": 8,
    }
    with pytest.raises(InputError, match=rf"^({name}): got .* as in .*checkpoints"):
        fit(**{**same, **change})
    if name == "cell":
        with pytest.raises(InputError, match="^cell: got hidden=5; need hidden=4, as in"):
            fit(**{**same, "cell": jrnn.elman(5)})
        with pytest.raises(InputError, match=r"^cell: got LSTM\(.*; need Elman\(hidden=4, .*, as in"):
            fit(**{**same, "cell": jrnn.lstm(4)})
    if name == "objective":
        for data in (cases(seed=1), generated):
            with pytest.raises(InputError, match="^data: got other data than the run in .* was trained on; need"):
                fit(**{**same, "data": data})


def test_differences_are_named_by_field():
    def between(one, other):
        return difference(described(one), described(other))

    stacks = [jrnn.stack(jrnn.elman(3), jrnn.lstm(hidden)) for hidden in (4, 5)]
    assert between(*stacks) == ("cells[1].hidden=4", "cells[1].hidden=5")
    both = between(jrnn.elman(4, "relu"), jrnn.elman(5))
    assert both == ("hidden=4, activation='relu'", "hidden=5, activation='tanh'")
    assert between(stacks[0], jrnn.stack(jrnn.elman(3)))[0].startswith("cells=(Elman(")


@pytest.mark.thorough
def test_metadata_is_in_every_checkpoint(tmp_path):
    same = {"cell": CELL, "objective": CLASSIFY, "data": cases(), "out": tmp_path, "checkpoint_every": 2}
    fit(**same, steps=3, metadata={"data": "digits", "step": "theirs"})
    for folder, step in ((tmp_path, 3), (tmp_path / "checkpoints" / "2", 2)):
        found = load(folder).metadata
        assert found.keys() == {"data", "step", "config"} and (found["data"], found["step"]) == ("digits", step)
    fit(**same, steps=4, resume=True)  # kept
    assert load(tmp_path).metadata["data"] == "digits"
    fit(**same, steps=5, resume=True, metadata={"data": "lag"})  # replaced, and no reason to refuse
    assert load(tmp_path).metadata["data"] == "lag" and load(tmp_path).metadata["step"] == 5
    for bad in ({"x": object()}, "digits"):
        with pytest.raises(InputError, match="^metadata: got"):
            fit(**same, steps=5, resume=True, metadata=bad)


@pytest.mark.thorough
def test_optimizers_are_told_apart_by_what_they_do(tmp_path):
    same = {"cell": CELL, "objective": CLASSIFY, "data": generated, "out": tmp_path, "resume": True}
    fit(**same, steps=1, optimizer=optax.sgd(0.1))
    with pytest.raises(InputError, match="optimizer"):
        fit(**same, steps=2, optimizer=optax.sgd(0.2))
    assert fit(**same, steps=2, optimizer=optax.sgd(0.1)).step == 2


@pytest.mark.thorough
def test_a_folder_that_holds_a_run_is_not_overwritten(run, tmp_path):
    with pytest.raises(InputError, match=r"out: got .*need resume=True \(--resume\) to continue it, or another folder"):
        fit(CELL, CLASSIFY, cases(), steps=4, out=run)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="out: got .*a folder that can be written"):
        fit(CELL, CLASSIFY, cases(), steps=4, out=tmp_path / "file" / "run")


@pytest.mark.parametrize(
    "match, change",
    [
        ("steps", {"steps": -1}),
        ("batch_size", {"batch_size": 0}),
        ("log_every", {"log_every": 1.5}),
        ("max_skipped", {"max_skipped": 0}),
        ("max_norm", {"max_norm": 0.0}),
        ("seed", {"seed": -1}),
        ("cell", {"cell": "lstm"}),
        ("objective", {"objective": "classify"}),
        ("data: got a list", {"data": [1, 2]}),
        (r"data\['y'\]: got none", {"data": {"x": np.zeros((3, 2, 1))}}),
        ("out: got None", {"resume": True}),
        ("out: got None", {"tensorboard": True}),
        ("learning_rate", {"learning_rate": 0.0}),
        ("learning_rate", {"learning_rate": float("nan")}),
        ("learning_rate", {"learning_rate": "fast"}),
        ("optimizer: got 'adam'", {"optimizer": "adam"}),
        ("optimizer: got <function", {"optimizer": optax.adam}),
        ("learning_rate: got 0.1; need none", {"learning_rate": 0.1, "optimizer": optax.sgd(0.1)}),
        (r"unroll_options: got the keys \['trunc'\]", {"unroll_options": {"trunc": 2}}),
        ("unroll_options: got a list", {"unroll_options": ["truncate"]}),
        ("objective: got a loss of type NoneType", {"objective": lambda *given: None}),
        ("objective: got a loss of type str", {"objective": lambda *given: "0"}),
        (r"objective: got a loss of float64\[4\]", {"objective": lambda p, unrolled, batch: unrolled.last[0]}),
        ("objective: got a loss that is a tuple", {"objective": lambda p, unrolled, b: (unrolled.last.sum(), 1, 2)}),
        ("xs", {"data": {"x": np.zeros((3, 2, 1), int), "y": np.zeros(3, int)}}),
        ("params: got int", {"params": {"w_in": np.zeros((3, 4), int)}}),
    ],
)
def test_bad_arguments(match, change):
    with pytest.raises(InputError, match=match):
        fit(**{"cell": CELL, "objective": CLASSIFY, "data": cases(lengths=False), "steps": 1, **change})


def test_bad_batches_are_skipped_and_counted_and_too_many_stop_the_run(tmp_path):
    def sometimes(step):
        batch = generated(step)
        batch["x"][2, 1, 0] = np.nan if step in (1, 2) or step >= 5 else 0.0
        return batch

    fitted = fit(CELL, CLASSIFY, sometimes, steps=5, max_skipped=3, out=tmp_path)
    assert fitted.history["skipped"].tolist() == [0, 1, 1, 0, 0] and fitted.opt_state.skipped == 2
    rows = [
        json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert rows[1]["loss"] == "nan" and isinstance(rows[0]["loss"], float)
    with pytest.raises(NonFiniteError, match=r"step 7: the last 3 .*inputs, time index 2: x\[2, 1, 0\]") as caught:
        fit(CELL, CLASSIFY, sometimes, steps=50, max_skipped=3, log_every=20, out=tmp_path, resume=True)
    assert caught.value.step == 7 and caught.value.report.place == "inputs"
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 8


@pytest.mark.thorough
def test_an_exploding_network_is_named_with_its_time_step():
    """relu(4 h) grows fourfold a step: float32 overflows at 4^64, whatever clipping does."""
    cell = jrnn.elman(2, "relu", w_in="identity", w_rec=jrnn.initializers.identity(4.0), dtype="float32")
    data = {"x": np.ones((4, 100, 1), np.float32), "y": np.zeros((4, 2), np.float32)}
    with pytest.raises(NonFiniteError) as caught:
        fit(cell, Objective("regress", 2), data, steps=30, max_skipped=2, learning_rate=1e-9)
    report = caught.value.report
    assert (
        report.place == "states"
        and 60 <= report.time <= 70
        and report.leaf == "h"
        and report.parameter.startswith("cell[")
    )


@pytest.mark.parametrize("flow_every, programs", [(None, 1), (2, 2)])
def test_a_trace_for_all_steps_of_a_kind_and_what_the_loss_returns(flow_every, programs):
    traces = []

    def loss(loss_params, unrolled, batch):
        traces.append(1)
        return jnp.square(unrolled.last).mean(), {"largest": jnp.abs(unrolled.last).max(), "step": jnp.ones(())}

    options = {"max_norm": None, "optimizer": optax.sgd(0.1), "max_skipped": None, "flow_every": flow_every}
    fitted = fit(jrnn.Bidirectional(CELL), loss, generated, steps=5, **options)
    assert len(traces) == programs and fitted.loss_params is None
    assert fitted.history["largest"].shape == (5,) and fitted.history["step"].tolist() == list(range(5))
    assert (np.diff(fitted.history["loss"]) != 0).all() and (fitted.history["clip_factor"] == 1).all()


@pytest.mark.thorough
def test_targets_for_each_step_and_learning():
    data = cases(16, 5, each=True, lengths=False)
    data["y"] = (data["x"][..., 0] > 0).astype(int)
    fitted = fit(CELL, Objective("classify_each", 2), data, steps=60, learning_rate=0.05, batch_size=16, log_every=60)
    assert fitted.history["accuracy"][-1] > 0.95 > fitted.history["accuracy"][0]


def test_the_progress_bar_and_tensorboard_files(tmp_path, capsys):
    fit(CELL, CLASSIFY, generated, steps=2, out=tmp_path, progress=True, tensorboard=True)
    shown = capsys.readouterr().out
    assert "2/2" in shown and "loss" in shown
    assert [path.stat().st_size > 100 for path in tmp_path.glob("events.out.tfevents.*")] == [True]


def test_the_progress_bar_fits_in_80_columns(tmp_path, capsys, monkeypatch):
    """At 8000 steps, with the longest numbers; the clip rate counts the earlier part; no steps left, no compiling."""
    monkeypatch.setenv("COLUMNS", "80")
    row = {"loss": 1.234e-05, "accuracy": 1.0, "grad_norm": 1.234e-05, "skipped": 0}
    earlier = [{**row, "step": step, "clipped": 1} for step in range(30)]
    with MetricLog(None, 30, 8000, progress=True, tensorboard=False, history=earlier) as telemetry:
        telemetry([{**row, "step": step, "clipped": 0} for step in range(30, 40)])
        telemetry([{**row, "step": 7999, "clipped": 1}])
        telemetry.bar.progress.update(telemetry.bar.task, text=TEXT)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "8000/8000" in line and line.rstrip().endswith(TEXT) and len(line.rstrip()) <= 80
    with MetricLog(None, 30, 40, progress=True, tensorboard=False, history=earlier) as telemetry:
        telemetry([{**row, "step": step, "clipped": 0} for step in range(30, 40)])
    assert "clipped 75 %" in capsys.readouterr().out
    with MetricLog(None, 30, 30, progress=True, tensorboard=False, history=earlier):
        pass
    shown = capsys.readouterr().out
    assert "compiling" not in shown and "30/30" in shown and "nothing left to do" in shown


TEXT = "loss 1.2e-05  accuracy 100.0 %  norm 1.2e-05  clipped 100 %  1234/s"
