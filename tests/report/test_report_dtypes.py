"""A network of 16 bits from training to the page, as someone has it who hunts a NaN."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.report import ClippingProof, Diagnosis, Stage, print_report, write_report
from jrnn.training import Objective, fit


@pytest.mark.thorough
def test_from_training_to_the_page(tmp_path, capsys):
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(8, 6, 2)).astype("float32"), "y": np.arange(8) % 2}
    data["lengths"] = np.array([6, 5, 4, 6, 3, 6, 6, 2])
    objective, cell = Objective("classify", 2), jrnn.gru(3, dtype="bfloat16")
    with jax.debug_nans(True):
        fitted = fit(cell, objective, data, steps=2, max_norm=0.1, batch_size=4, flow_every=1)
        xs, lengths = jnp.swapaxes(jnp.asarray(data["x"]), 0, 1), jnp.asarray(data["lengths"])

        def loss(head, run):
            return objective(head, run, {"y": jnp.asarray(data["y"])})[0]

        given = dict(loss_params=fitted.loss_params, lengths=lengths)
        found = jrnn.flow.summarise(cell, fitted.params, xs, loss, lag=2, **given)
        proof = jrnn.clipping_proof(cell, fitted.params, xs, loss, max_norm=1e-3, **given)
    plain, clipped, per_step = (
        np.asarray(norms, float) for norms in (proof.lag_norms, proof.clipped_lag_norms, proof.per_step_lag_norms)
    )
    shown = ClippingProof(1e-3, plain, clipped, per_step, float(proof.largest_difference), float(proof.step_max_norm))
    lag = {"lag": 2, "lag_reason": "asked for", "cases": 8, "steps": 6, "name": "made up"}
    stage = Stage("after training", 2, {"loss": 0.5}, found)
    diagnosis = Diagnosis("GRU, 3 units", lag, {"max_norm": 0.1}, (stage,), fitted.history, clipping_proof=shown)
    written = {path.name for path in write_report(diagnosis, tmp_path)}
    assert {"report.html", "flow_telemetry.png", "clipping_proof.png", "lyapunov.png", "gates.png"} <= written
    assert json.loads((tmp_path / "report.json").read_text())["stages"][0]["flow"]["judgement"]["lag"] == 2
    print_report(diagnosis)
    assert "after training" in capsys.readouterr().out
