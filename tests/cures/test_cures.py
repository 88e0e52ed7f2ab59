"""Every cure as a value: its text, its recipe, what it refuses, what it changes, and whole runs of `fit` under it."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.cures import CURES, Chrono, LeakyUnits, Rate, Training, advise, apply_to_cell, apply_to_training, cure
from jrnn.cures.base import check_cures
from jrnn.training import Objective, fit, load, save
from jrnn.types import InputError

LSTM, GRU, ELMAN = jrnn.lstm(3), jrnn.gru(3), jrnn.elman(3, w_rec="gaussian")
LINEAR = jrnn.elman(3, "identity", w_rec="gaussian")  # every exponent can be had of it
CASES = {
    "chrono:9": GRU,
    "leaky:9": ELMAN,
    "uniform-gate:9": LSTM,
    "refine": GRU,
    "orthogonal": ELMAN,
    "min-gru:9": LSTM,
    "tune-gain": LINEAR,
    "floss:2": ELMAN,
    "scale-gradient:0.5": LSTM,
    "h-detach:0.25": LSTM,
    "omega:2": ELMAN,
    "norm-stabilizer:1": ELMAN,
    "auto-clip:10": ELMAN,
    "z-clip:2.5": ELMAN,
    "rate:0.5": ELMAN,
}
rng = np.random.default_rng(0)
DATA = {"x": rng.normal(size=(12, 7, 2)).astype(np.float32), "y": rng.integers(0, 2, 12)}


def test_every_cure_has_its_case():
    assert {text.partition(":")[0] for text in CASES} == set(CURES)


@pytest.mark.parametrize("text", CASES)
def test_texts_and_recipes(text):
    one = cure(text)
    assert one.option == text and cure(one.option) == one and hash(cure(text)) == hash(one)
    assert eval(one.python, {"jrnn": jrnn}) == one
    assert one.sentence.endswith(".") and one.formula and one.source and type(one).__doc__.strip()


@pytest.mark.parametrize(
    "text", ["chron:3", "chrono", "chrono:x", "chrono:3:4", "chrono:2", "rate:0", "floss:0", "h-detach:2", ""]
)
def test_bad_texts(text):
    with pytest.raises(InputError, match="need"):
        cure(text)


@pytest.mark.parametrize(
    "text, cell",
    [
        ("chrono:9", ELMAN),
        ("uniform-gate:9", ELMAN),
        ("refine", ELMAN),
        ("orthogonal", GRU),
        ("tune-gain", jrnn.min_gru(3)),
        ("floss", jrnn.Bidirectional(ELMAN)),
        ("leaky:9", jrnn.stack(ELMAN, jrnn.leaky(GRU, 9))),
    ],
)
def test_a_cure_that_does_not_fit_says_what_would(text, cell):
    with pytest.raises(InputError, match=f"{text.partition(':')[0]}.*need a cell|need an lstm|need a causal"):
        apply_to_cell([cure(text)], cell)


def test_cures_reach_every_layer():
    """Through stacks, wrappers and both directions; what does not fit one layer is left out there."""
    deep = jrnn.stack(jrnn.dropout(jrnn.Bidirectional(LSTM), outputs=0.1), jrnn.residual(GRU), ELMAN)
    found = apply_to_cell([Chrono(9)], deep)
    chrono = jrnn.initializers.chrono(9)
    both = jrnn.Bidirectional(jrnn.lstm(3, bias=chrono))
    assert found == jrnn.stack(jrnn.dropout(both, outputs=0.1), jrnn.residual(jrnn.gru(3, bias=chrono)), ELMAN)
    leaks = apply_to_cell([LeakyUnits(9)], jrnn.stack(GRU, ELMAN))
    assert leaks == jrnn.stack(jrnn.leaky(GRU, 9), jrnn.leaky(ELMAN, 9))


def test_cures_compose():
    """One after the other: leaky units around gates that start open; two rates multiply."""
    found = apply_to_cell([Chrono(9), LeakyUnits(5)], GRU)
    assert found == jrnn.leaky(jrnn.gru(3, bias=jrnn.initializers.chrono(9)), 5)
    training = apply_to_training([Rate(0.5), Rate(3)], Training(optax.sgd(1.0)))
    updates, _ = training.optimizer.update({"a": jnp.ones(2)}, training.optimizer.init({"a": jnp.zeros(2)}))
    np.testing.assert_allclose(updates["a"], -1.5)
    clipped = apply_to_training([cure("auto-clip"), cure("omega:3")], Training(optax.sgd(1.0), 1.0))
    assert clipped.max_norm is None and [penalty.weight for penalty in clipped.penalties] == [3.0]


@pytest.mark.parametrize("text", CASES)
def test_a_run_of_fit(text, tmp_path):
    """Killed and resumed it ends with the same bits; what is saved comes back; the cure changed something."""
    cell, cures, objective = CASES[text], [cure(text)], Objective("classify", 2)
    options = {"batch_size": 4, "seed": 3, "flow_every": None, "checkpoint_every": 2, "learning_rate": 1e-2}
    whole = fit(cell, objective, DATA, steps=4, cures=cures, **options)
    fit(cell, objective, DATA, steps=2, cures=cures, out=tmp_path / "run", **options)
    resumed = fit(cell, objective, DATA, steps=4, cures=cures, out=tmp_path / "run", resume=True, **options)
    for ours, theirs in zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert whole.cell == resumed.cell == apply_to_cell(cures, cell)
    save(tmp_path / "model", whole.cell, whole.params, loss_params=whole.loss_params, objective=objective)
    again = load(tmp_path / "model")
    assert again.cell == whole.cell
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    with pytest.raises(InputError, match="cures|cell|max_norm"):
        fit(cell, objective, DATA, steps=4, out=tmp_path / "run", resume=True, **options)
    plain = fit(cell, objective, DATA, steps=4, **options)
    ours, theirs = (jax.tree.leaves((each.cell, each.params)) for each in (whole, plain))
    same = [np.shape(a) == np.shape(b) and np.array_equal(a, b) for a, b in zip(ours, theirs, strict=False)]
    assert whole.cell != plain.cell or not all(same)


def test_measured_starts_are_taken_on_the_first_batch():
    """`fit` under tune-gain starts where `tune_gain` on the first batch ends."""
    from jrnn.training.batches import source_of
    from jrnn.training.random_streams import RandomStream, stream_key

    objective = Objective("classify", 2)
    started = fit(
        LINEAR,
        objective,
        DATA,
        steps=1,
        learning_rate=1e-30,
        batch_size=4,
        seed=3,
        cures=[cure("tune-gain")],
        flow_every=None,
    )
    plain = fit(LINEAR, objective, DATA, steps=1, learning_rate=1e-30, batch_size=4, seed=3, flow_every=None)
    source = source_of(DATA, objective, 4, 3)
    xs = source.batch(source.arguments(0))["x"]
    expected = jrnn.cures.tune_gain(LINEAR, plain.params, xs, key=stream_key(3, RandomStream.CURES))
    np.testing.assert_allclose(started.params["w_rec"], expected["w_rec"], rtol=1e-6)
    assert not np.allclose(started.params["w_rec"], plain.params["w_rec"])


@pytest.mark.parametrize("given", ["chrono:9", Chrono(9), [3], 3])
def test_what_is_no_sequence_of_cures(given):
    with pytest.raises(InputError, match="cures"):
        check_cures(given)


def verdict(kind, lag=200):
    xs = jax.random.normal(jax.random.key(0), (9, 4, 2))
    flow = jrnn.gradient_flow(ELMAN, ELMAN.init(jax.random.key(1), 2), xs, lambda run: jnp.sum(run.last**2))
    return dataclasses.replace(flow.verdict(4), kind=kind, lag=lag)


def test_advice():
    lost = verdict("vanishing")
    assert advise(GRU, lost).cures[0] == Chrono(200) and "chrono:200" in advise(GRU, lost).sentence
    assert advise(ELMAN, lost).cures[0] == LeakyUnits(200)
    assert all(one.refuses(ELMAN) is None for one in advise(ELMAN, lost).cures)
    assert advise(GRU, verdict("healthy")).cures == () and advise(GRU, verdict("undecided")).cures == ()
    assert advise(ELMAN, verdict("chaotic")).cures[0] == cure("tune-gain")
    assert advise(GRU, verdict("vanishing", 1)).cures[0] == Chrono(3)
    for kind in ("vanishing", "healthy", "exploding", "undecided"):
        assert "no forecast" in verdict(kind).advice, "it says what a verdict is not"
    assert "leaky:200" in lost.advice and "chrono:200" in lost.advice and math.isfinite(lost.arriving)
