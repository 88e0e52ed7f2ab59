"""Diagnoses made up for the tests, with numbers that are easy to recognise."""

from dataclasses import replace

import numpy as np

from jrnn.flow.lyapunov.dataset_spectrum import MeasuredSpectrum
from jrnn.flow.singular_values.window_quantiles import WindowBands
from jrnn.flow.summary import FlowSummary
from jrnn.flow.theory.network_theory import Expected
from jrnn.flow.verdicts.verdict import Verdict
from jrnn.prescribing.data_lags import ALONE, DataLags
from jrnn.prescribing.paired import Paired
from jrnn.prescribing.result import Prescription, Row
from jrnn.report import ClippingProof, Diagnosis, OverSeeds, Stage
from jrnn.training import Baseline


def verdict(values, lag, growth=None, **changes):
    """What `judge` would say of a curve without any spread."""
    at = float(values[lag])
    alive = np.flatnonzero(values >= 0.01)
    with np.errstate(divide="ignore"):
        growth = float(np.log(at) / lag) if growth is None else growth
    kind = "vanishing" if at < 0.01 else "exploding" if at > 100 else "healthy" if np.isfinite(at) else "not finite"
    fields = dict(
        kind=kind,
        lag=lag,
        arriving=at,
        arriving_interval=(0.8 * at, 1.25 * at),
        mean=at,
        mean_interval=(at, at),
        growth=growth,
        growth_interval=(growth - 0.01, growth + 0.01),
        entry=np.exp(growth),
        entry_interval=(0.9 * np.exp(growth), 1.1 * np.exp(growth)),
        of_entered=at,
        of_entered_interval=(0.8 * at, 1.25 * at),
        peak=float(np.nanmax(values[: lag + 1])),
        peak_lag=int(np.nanargmax(values[: lag + 1])),
        reach=int(alive.max(initial=0)),
        reach_is_bound=bool(len(values) - 1 in alive),
        level=0.995,
        sequences=17,
        outputs=3,
    )
    return Verdict(**{**fields, **changes})


def windows(rate, lags, units):
    """The i-th direction shrinks at rate - 0.1 i; the last one dies."""
    rates = np.append(rate - 0.1 * np.arange(units - 1), -np.inf)
    logs = np.outer(lags, rates)
    return WindowBands(np.array(lags), np.stack([logs - 0.3, logs, logs + 0.3]), units, 4)


def spectrum(rate, units):
    exponents = np.append(rate - 0.1 * np.arange(units - 1), -np.inf)
    errors = np.append(np.full(units - 1, 0.02), 0.0)
    return MeasuredSpectrum(exponents, errors, units, 4, 8, 224, ("too short a run: standard errors up to 0.02",))


ELMAN = Expected("", 0.9, 0.25, 0.6, -0.255, -0.6, 1.3)
GATE = Expected("", gate="f", half_lives=np.array([1.0, 4.0, 16.0]))


def flow(rate, lags=64, units=6, arriving=None, growth=None, lag=None, reach=None, **changes):
    values = np.exp(rate * np.arange(lags)) if arriving is None else np.asarray(arriving, float)
    steps = len(values)
    singular = np.linspace(1.1, 0.2, units)
    times = np.array([steps // 2, steps - 1, steps])
    credit = np.array([[values[t - k] if 0 <= t - k < steps else 0.0 for k in range(steps + 1)] for t in times])
    more = {} if reach is None else {"reach": reach}
    fields = dict(
        judgement=verdict(values, steps - 1 if lag is None else lag, growth, **more),
        arriving=values,
        arriving_low=values * 0.5,
        arriving_high=values * 2,
        singular_values=np.stack([singular * 0.9, singular, singular * 1.1]),
        credit=credit,
        output_times=times,
        lag_norms=np.append(values, 0.0) * 3,
        lag_shares=np.append(values, 0.0) / max(np.sum(values[np.isfinite(values)]), 1.0),
        effective_horizon=min(steps, 20),
        sum_error=1e-15,
        sequences=17,
        windows=windows(rate, sorted({1, 2, 4, max(lag or steps - 1, 1)}), units),
        spectrum=spectrum(rate, units),
        theory=(ELMAN,),
    )
    return FlowSummary(**{**fields, **changes})


def history(updates=40, max_norm=1.0, accuracy=True):
    rng = np.random.default_rng(0)
    norms = rng.uniform(0.2, 2.0, updates)
    columns = dict(
        loss=np.linspace(2.3, 0.7, updates),
        grad_norm=norms,
        clip_factor=np.minimum(1, max_norm / norms),
        clipped=(norms > max_norm).astype(int),
        skipped=np.zeros(updates, int),
    )
    return {**columns, "accuracy": np.linspace(0.1, 0.8, updates)} if accuracy else columns


def diagnosis(**changes):
    stages = (
        Stage("before training", 0, {"loss": 2.31, "accuracy": 0.102}, flow(-0.2)),
        Stage("after training", 40, {"loss": 0.71, "accuracy": 0.782}, flow(-0.05)),
    )
    fields = dict(
        title="Elman, 6 units, on digits",
        data={"name": "digits", "cases": 1797, "steps": 64, "lag": 63, "lag_reason": "the first pixel"},
        model={"cell": "elman", "hidden": 6, "max_norm": 1.0, "learning_rate": 0.001},
        stages=stages,
        history=history(),
        versions={"jrnn": "0.1.0", "jax": "0.10.2"},
        command="jrnn diagnose --hidden 6",
    )
    return Diagnosis(**{**fields, **changes})


SEEDS = OverSeeds(
    (3, 4, 5),
    ({"loss": 0.7, "accuracy": 0.8}, {"loss": 0.6, "accuracy": 0.7}, {"loss": 0.9, "accuracy": 0.9}),
    3,
    np.array([[2.0, 1.5, 1.1, 0.9], [2.1, 1.4, 1.2, 0.8], [1.9, 1.2, 1.0, 1.0]]),
)


def vanished():
    """784 steps: underflows to exact zeros before training, to 1e-30 after."""
    zeros = np.exp(-0.15 * np.arange(784))
    zeros[500:] = 0
    before = Stage("before training", 0, {"accuracy": 0.1}, flow(-0.15, arriving=zeros, growth=-np.inf))
    after = Stage("after training", 40, {"accuracy": 0.5}, flow(-69 / 783, lags=784))
    return diagnosis(stages=(before, after))


def broken():
    """Nothing is finite."""
    values = np.array([1.0, 1e5, np.inf, np.nan])
    stage = Stage("as saved", 7, {"loss": np.nan}, flow(0, arriving=values, growth=np.nan, lag=3, reach=2))
    bad = {
        "loss": [np.nan, np.inf, 1.0],
        "grad_norm": [np.nan, np.inf, 0.0],
        "clipped": [0, 0, 0],
        "skipped": [1, 1, 0],
    }
    return diagnosis(stages=(stage,), history={name: np.array(column, float) for name, column in bad.items()})


def regression():
    """No accuracy, no clipping."""
    stages = (
        Stage("before training", 0, {"loss": 0.51}, flow(-0.1, lag=11)),
        Stage("after training", 40, {"loss": 0.03}, flow(0.45, lag=11)),
    )
    return diagnosis(stages=stages, history=history(max_norm=np.inf, accuracy=False), model={"max_norm": None})


def saved():
    """A saved model: one stage, nothing trained."""
    return diagnosis(stages=diagnosis().stages[1:], history={})


def proof(lags=64):
    """Global clipping takes a tenth of everything; the per-step clip hits the past."""
    norms = np.exp(-0.1 * np.arange(lags))
    return ClippingProof(0.1, norms, 0.1 * norms, 0.1 * norms**2, 2e-16)


def gated():
    """An LSTM with a loss at every step: a map, gates and paths; with the proof about clipping."""
    steps = 30
    lags = np.arange(steps)
    times = np.arange(1, steps + 1)
    k = np.arange(steps + 1)
    stages = []
    for name, rate in (("before training", -0.5), ("after training", -0.1)):
        credit = np.where(k <= times[:, None], np.exp(rate * (times[:, None] - k)), 0.0)
        more = dict(
            credit=credit,
            output_times=times,
            arriving_by_state={"h": np.exp(-0.6 * lags), "c": np.append(0.0, np.exp(rate * lags[1:]))},
            lag_norms_by_gate={g: np.append(np.exp((rate - 0.1 * i) * lags), 0.0) for i, g in enumerate("ifgo")},
            theory=(GATE,),
        )
        stages.append(Stage(name, 0, {"loss": 0.5}, flow(rate, lags=steps, lag=20, **more)))
    return diagnosis(stages=tuple(stages), clipping_proof=proof(steps + 1))


def estimated():
    """An output at every step, too many to follow all: a sample of them, so what is said by lag has an error."""
    lags = np.arange(65)
    stages = []
    for name, rate in (("before training", -0.2), ("after training", -0.05)):
        norms = 3 * np.exp(rate * lags)
        errors = 0.1 * norms + 0.02
        stages.append(Stage(name, 0, {"loss": 0.5}, flow(rate, lag_norms=norms, lag_errors=errors, exact=False)))
    return diagnosis(stages=tuple(stages))


def unexplained():
    """A summary that was not asked why, of one step of way back."""
    stage = Stage("as saved", 0, {}, flow(-0.1, lags=2, lag=1, windows=None, spectrum=None, theory=()))
    return diagnosis(stages=(stage,), history={})


def on_task():
    """On a task whose plateau is known."""
    plateau = {"plateau": np.log(2), "plateau_reason": "ln 2, a guess between two equally likely bits"}
    return diagnosis(data={"name": "marked-bit:63", "lag": 63, "lag_reason": "shown at step 0", **plateau})


def beaten(loss=0.0459):
    """A healthy gradient, and a loss above that of persistence."""
    stages = (
        Stage("before training", 0, {"loss": 1.2}, flow(-0.2)),
        Stage("after training", 40, {"loss": loss}, flow(-0.05)),
    )
    known = (
        Baseline("persistence", "the last known value <stays>", {"loss": 0.00195}),
        Baseline("mean", "the mean", {"loss": 1.0}),
    )
    return diagnosis(stages=stages, baselines=known)


def raced(**changes):
    """A race that recommends, with an arm that failed and one that left; shorter lags tell nothing."""
    near, whole = (-0.02, 0.018), (0.97, 0.99)
    lags = DataLags(
        ALONE, "No shorter lag teaches this one: 1.8 % & all 64 steps 98 %.", 63, 0.004, near, 0.98, whole,
        (0.0, 0.01), np.array([1, 2, 4, 8, 16, 32, 63, 64]), np.array([0, 0, 0.01, 0, -0.3, 0, 0.004, 0.98]),
    )  # fmt: skip
    against = Paired(0.5, 0.4, 0.6, 0.975, 1.0)
    rows = (
        Row("chrono:63", "chrono:63", 1e-3, 0.2, 90, 0.05, 8, 0, 8, 2.5, 45.0, against),
        Row("as it is", "as it is", 1e-3, 1e-9, 90, 0.69, 0, 0, 8, 2.25, 90.0),
        Row("leaky:63", "leaky:63", 1e-3, 0.1, 10, 0.68, 0, 0, 2, 2.75),
        Row("floss:8", "floss:8", 1e-3, np.nan, 0, np.nan, 0, 0, 0, np.nan, failed="LinAlgError: <no QR>"),
    )
    curves = {row.name: (np.arange(4) * 30, np.full((4, row.seeds), row.loss)) for row in rows if row.seeds}
    found = Prescription(
        "chrono:63", "Take chrono:63.", "Seed by seed.", "fit()", rows, None, (), 1e-3, 63, 90, 0.1, 0.693, "plateau",
        (40.0, 50.0), {}, curves, data_lags=lags,
    )  # fmt: skip
    return diagnosis(prescription=replace(found, **changes))


EVERY = {f.__name__: f for f in (diagnosis, vanished, broken, regression, saved, gated, estimated, unexplained)}
