"""Forecasts of saved networks against a network that copies its input; intervals against known noise."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import jrnn
from jrnn.data.series import forecast_windows
from jrnn.data.splits import chronological_starts
from jrnn.interop import to_stablehlo
from jrnn.report.red_card import losses, red_card
from jrnn.training import Baseline, Objective, Saved, baselines, evaluate
from jrnn.training.intervals import LEVELS, gaps_within, held_out_intervals, residual_intervals, residuals_after
from jrnn.types import InputError


def copier(data):
    """A network whose forecast of each step ahead is the target's last value: h = x, z = h."""
    columns = data.series.target_columns
    params = {
        "w_in": jnp.eye(data.x.shape[2], dtype=jnp.float32),
        "w_rec": jnp.zeros((data.x.shape[2],) * 2, jnp.float32),
        "bias": jnp.zeros(data.x.shape[2], jnp.float32),
    }
    head = np.tile(np.eye(data.x.shape[2], dtype=np.float32)[:, columns], data.series.horizon)
    return params, {"w": jnp.asarray(head), "bias": jnp.zeros(head.shape[1], jnp.float32)}


@pytest.fixture(scope="module")
def walk():
    """Two random walks, far from zero; the first is forecast three steps ahead: errors grow as sqrt(h)."""
    rng = np.random.default_rng(0)
    values = np.array([5e4, -3.0]) + np.cumsum(rng.normal(size=(3000, 2)) * [20.0, 0.1], axis=0)
    data = forecast_windows("walk", values, "made.", 10, names=["a", "b"], targets=["a"], horizon=3)
    cell, objective = jrnn.elman(2, activation="identity"), Objective.of(data)
    params, head = copier(data)
    known = {"scaling": data.series.scaling, "series": data.series.as_json()}
    known |= held_out_intervals(cell, params, objective, head, data)
    return values, data, Saved(cell, params, head, objective, known)


def test_a_copying_network_ties_with_persistence(walk):
    """Its loss is that of persistence, and the red card says so first."""
    _, data, saved = walk
    assert saved.params.keys() == jax.eval_shape(lambda: saved.cell.init(jax.random.key(0), 2)).keys()
    loss = evaluate(saved.cell, saved.params, saved.objective, saved.loss_params, data.subset(data.test))["loss"]
    known = {each.name: each.scores["loss"] for each in baselines(saved.objective, data)}
    assert list(known) == ["mean", "persistence"] and "--change" in baselines(saved.objective, data)[1].advice
    np.testing.assert_allclose(loss, known["persistence"], rtol=1e-4)
    truth = data.subset(data.test)["y"].astype(float)
    mean = data.subset(data.train)["y"].astype(float).reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(known["mean"], np.mean((truth - mean) ** 2), rtol=1e-6)


def test_forecasts_are_in_the_unit_of_the_user(walk):
    values, data, saved = walk
    found = saved.predict(values[-10:], level=0.8)
    assert found.values.shape == found.low.shape == (10, 3, 1) and found.level == 0.8
    np.testing.assert_allclose(found.values[:, :, 0], np.tile(values[-10:, :1], 3), rtol=1e-6)
    assert repr(found) == "<Forecast: float64[10, 3, 1]; 80 % intervals>"
    many = saved.predict(np.stack([values[:10], values[-10:]]), level=0.8)
    np.testing.assert_allclose(many.high[1], found.high, rtol=1e-6)
    scaled = saved.predict(data.series.scaled(values[-10:]), scaled=True, level=0.8)
    np.testing.assert_allclose(scaled.values, found.values, rtol=1e-5)
    assert saved._replace(metadata={}).predict(data.x[:2]).values.shape == (2, 10, 3)
    for x, needed in ((values[:4, :1], "the 2 that"), (values[:, 0], "numbers"), (values * np.nan, "finite")):
        with pytest.raises(InputError, match=f"^x: got .*{needed}"):
            saved.predict(x)
    with pytest.raises(InputError, match="^level: got 0.7; need one of"):
        saved.predict(values[:4], level=0.7)
    with pytest.raises(InputError, match="^objective: got a NoneType"):
        saved._replace(objective=None).predict(values[:4])


@pytest.mark.parametrize("level", LEVELS)
def test_intervals_cover_what_they_say(walk, level):
    """Errors h steps ahead are normal of variance 400 h; 50,000 new ones lie between as often as is said."""
    values, _, saved = walk
    rng = np.random.default_rng(1)
    new = np.cumsum(rng.normal(size=(50_000, 3)) * 20.0, axis=1)
    found = saved.predict(values[-10:], level=level)
    low, high = (np.asarray(end[-1, :, 0] - found.values[-1, :, 0]) for end in (found.low, found.high))
    inside = ((new >= low) & (new <= high)).mean(axis=0)
    # some 600 independent steps are held out: two standard errors of a quantile's level, and the overlap of windows
    np.testing.assert_allclose(inside, level, atol=0.06)
    assert (np.diff(high - low) > 0).all()


STEP, HISTORY = 20.0, 16


@pytest.fixture(scope="module", params=[False, True], ids=["levels", "changes"])
def long_walk(request):
    """A random walk whose network answers the last known value: an error of the variance 400 (h + g) after a gap g."""
    values = 5e4 + np.cumsum(np.random.default_rng(3).normal(size=(6000, 1)) * STEP, axis=0)
    options = {"names": ["a"], "horizon": 2, "change": request.param}
    data = forecast_windows("walk", values, "made.", HISTORY, **options)
    params, head = copier(data)
    head = jax.tree.map(jnp.zeros_like, head) if request.param else head
    network = jrnn.elman(1, activation="identity"), params, Objective.of(data), head
    known = {"scaling": data.series.scaling, "series": data.series.as_json()}
    known |= held_out_intervals(*network, data)
    return values, data, network, Saved(network[0], params, head, network[2], known)


@pytest.mark.parametrize("gap", [1, 5, 40])
def test_intervals_widen_after_a_gap(long_walk, gap):
    """The share of N(0, 400 (h + g)) between the ends, of 256 held-out windows; of 40 beyond any gap that was tried."""
    values, data, network, saved = long_walk
    x = np.concatenate([values[-HISTORY : -min(gap, HISTORY - 1)], np.repeat(values[-gap - 1 : -gap], gap, axis=0)])
    x = x[-HISTORY:]
    h = np.arange(1, 3)
    widths = []
    for level in LEVELS:
        found, before = (saved.predict(x, level=level, gap=of) for of in (gap, 0))
        low, high = ((end - found.values)[-1, :, 0] for end in (found.low, found.high))
        sd = STEP * np.sqrt(h + gap)
        inside = norm.cdf(high / sd) - norm.cdf(low / sd)
        np.testing.assert_allclose(inside, level, atol=3 * np.sqrt(level * (1 - level) / 256))
        assert (high - low > (before.high - before.low)[-1, :, 0]).all()
        widths.append(found.high - found.low)
        earlier = HISTORY - 1 - gap  # the forecasts made before the gap are as sure as they were
        if earlier >= 0:
            np.testing.assert_allclose(found.high[earlier], before.high[earlier], rtol=1e-9)
    assert (np.diff(widths, axis=0) > 0).all()


def test_residuals_after_a_gap(long_walk):
    """Those of a network that answers the last known value, window by window."""
    values, data, network, saved = long_walk
    assert gaps_within(HISTORY) == [1, 2, 3, 4, 6, 8, 12] and gaps_within(1) == [] and gaps_within(2) == [1]
    assert list(saved.metadata["intervals"]["after"]) == ["1", "2", "3", "4", "6", "8", "12"]
    ends = chronological_starts(len(values), HISTORY, 4000, 2)[1] + HISTORY - 1
    found = residuals_after(3, *network, data.subset(data.test), data.series)
    for h in (1, 2):
        np.testing.assert_allclose(found[:, h - 1], (values[ends + h] - values[ends - 3])[:, 0], atol=0.05)


def test_marks_say_where_the_gap_is():
    """Of two targets the one without its last three values gets the wider interval, at these steps alone."""
    values = np.cumsum(np.random.default_rng(4).normal(size=(400, 2)), axis=0)
    values[50:53, 0] = np.nan
    data = forecast_windows("walk", values, "made.", 8, names=["a", "b"], missing="mask")
    cell, objective = jrnn.elman(3, activation="identity"), Objective.of(data)
    params, head = copier(data)
    known = {"scaling": data.series.scaling, "series": data.series.as_json()}
    saved = Saved(cell, params, head, objective, known | held_out_intervals(cell, params, objective, head, data))
    x, whole = values[-8:].copy(), np.pad(values[-8:], ((0, 0), (0, 1)))
    x[-3:, 0] = np.nan
    found, marked = (saved.predict(data.series.scaled(each), scaled=True) for each in (values[-8:], x))
    by_hand = saved.predict(data.series.scaled(np.where(np.isnan(x), x[4], x)), scaled=True, gap=[3, 0])
    wider = (marked.high - marked.low) / (found.high - found.low)
    np.testing.assert_allclose(wider[:5], 1, rtol=1e-6)
    np.testing.assert_allclose(wider[5:, 0, 1], 1, rtol=1e-6)
    assert (wider[5:, 0, 0] > 1).all()
    np.testing.assert_allclose(by_hand.high - by_hand.low, marked.high - marked.low, rtol=1e-6)
    for gap, needed in ((-1, "a number of steps"), ([1, 2, 3], "one for each of a, b"), (0.5, "a number of steps")):
        with pytest.raises(InputError, match=f"^gap: got .*{needed}"):
            saved.predict(whole, gap=gap)
    kept = {name: each for name, each in saved.metadata["intervals"].items() if name != "after"}
    older = saved._replace(metadata=known | {"intervals": kept})
    plain, after = (older.predict(whole, gap=gap) for gap in (0, 3))
    grown = (after.high - after.values)[-1] / (plain.high - plain.values)[-1]
    np.testing.assert_allclose(grown, 2, rtol=1e-6)  # of a random walk: sqrt((1 + 3) / 1)


def test_ranks_of_residuals():
    """Of 19 residuals a share of 0.9 takes the first and the last; a gap in one column is left out of it alone."""
    residuals = np.stack([np.arange(19.0), np.arange(19.0)], axis=1)[::-1].copy()
    residuals[3, 1] = np.nan
    found = residual_intervals(residuals)
    assert found["low"]["0.9"] == [0.0, 0.0] and found["high"]["0.9"] == [18.0, 18.0]
    assert found["low"]["0.5"] == [4.0, 3.0] and found["high"]["0.5"] == [14.0, 14.0]


def test_a_stream_and_an_exported_program_scale_too(walk):
    values, _, saved = walk
    one, state = saved.stepper(), saved.cell.initial_state(saved.params, ())
    exported = to_stablehlo(one, saved.weights, state, jnp.zeros(2, jnp.float32))
    plain_state = tuple(state)
    for x in values[-3:].astype(np.float32):
        state, forecast = jax.jit(one)(saved.weights, state, x)
        plain_state, same = exported.call(saved.weights, plain_state, x)
        assert forecast.shape == (3, 1)
        np.testing.assert_allclose(forecast, np.full((3, 1), x[0]), rtol=1e-6)
        np.testing.assert_allclose(same, forecast, rtol=1e-6)
    _, raw = saved.stepper(scaled=True)(saved.weights, saved.cell.initial_state(saved.params, (4,)), jnp.ones((4, 2)))
    np.testing.assert_allclose(raw, np.ones((4, 3, 1)), rtol=1e-6)


def test_changes_are_added_to_the_last_value(walk):
    """y is the change over its root mean square, an answer of 0 persistence; a stream agrees with `predict`."""
    values = walk[0][:400]
    data = forecast_windows("walk", values, "made.", 10, names=["a", "b"], targets=["a"], horizon=3, change=True)
    level, seen = values[:, 0], values[: data.train[-1] + 10 + 3, 0]
    spread = np.sqrt(np.mean([np.mean((seen[h:] - seen[:-h]) ** 2) for h in (1, 2, 3)]))
    np.testing.assert_allclose(data.series.change_spread, spread, rtol=1e-9)
    for h in (1, 2, 3):
        np.testing.assert_allclose(data.y[5, :, h - 1], (level[5 + h : 15 + h] - level[5:15]) / spread, rtol=1e-5)
    moves = np.diff(seen, prepend=seen[0])
    np.testing.assert_allclose(data.x[5, :, 0], (moves[5:15] - moves.mean()) / moves.std(), atol=1e-5)
    np.testing.assert_allclose(data.naive[0][2], np.mean(data.subset(data.test)["y"].astype(float) ** 2), rtol=1e-5)
    cell, objective = jrnn.gru(3), Objective.of(data)
    assert not any(each.advice for each in baselines(objective, data))
    params, head = cell.init(jax.random.key(0), 2), objective.init(jax.random.key(1), 3)
    saved = Saved(cell, params, head, objective, {"scaling": data.series.scaling, "series": data.series.as_json()})
    found = saved.predict(values[:6]).values
    nothing = saved._replace(loss_params=jax.tree.map(jnp.zeros_like, head)).predict(values[:6]).values
    np.testing.assert_allclose(nothing, np.tile(values[:6, None, :1], (1, 3, 1)), rtol=1e-9)
    one, state = jax.jit(saved.stepper()), saved.first_state((2,))
    for t in range(6):
        state, forecast = one(saved.weights, state, np.stack([values[t]] * 2))
        np.testing.assert_allclose(forecast[1], found[t], rtol=1e-6)


def test_classes_get_probabilities():
    cell, objective = jrnn.elman(3), Objective("classify", 2)
    params, head = cell.init(jax.random.key(0), 1), objective.init(jax.random.key(1), 3)
    saved = Saved(cell, params, head, objective, {})
    x = np.random.default_rng(0).normal(size=(5, 4, 1))
    found = saved.predict(x, lengths=np.array([4, 4, 2, 1, 0]))
    assert found.values.shape == (5, 2) and found.low is None
    np.testing.assert_allclose(found.values.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(saved.predict(x[2, :2]).values, found.values[2], rtol=1e-6)
    assert saved.stepper()(saved.weights, cell.initial_state(params, ()), x[0, 0])[1].shape == (2,)


def test_missing_targets_are_not_scored():
    """Against NumPy's nanmean, values and gradient; -100 stands for a missing class; elsewhere NaN is an error."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(6, 4, 2)), rng.normal(size=(6, 4, 2))
    y[rng.random(y.shape) < 0.4] = np.nan
    counted = rng.random((6, 4)) < 0.7
    objective = Objective("regress_each", 2, missing=True)
    loss, grad = jax.value_and_grad(lambda z: objective.score(z, jnp.asarray(counted), jnp.asarray(y))[0])(z)
    known = np.where(counted[..., None], y, np.nan)
    np.testing.assert_allclose(loss, np.nanmean((z - known) ** 2), rtol=1e-12)
    np.testing.assert_allclose(grad, np.nan_to_num(2 * (z - known) / (~np.isnan(known)).sum()), rtol=1e-12)
    assert objective.score(z, jnp.asarray(counted), jnp.full(y.shape, jnp.nan))[0] == 0
    labels = np.where(rng.random((6, 4)) < 0.4, -100, rng.integers(0, 2, (6, 4)))
    objective = Objective("classify_each", 2, missing=True)
    loss, metrics = objective.score(z, jnp.asarray(counted), jnp.asarray(labels))
    seen = counted & (labels != -100)
    nats = np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, np.maximum(labels, 0)[..., None], -1)[..., 0]
    np.testing.assert_allclose(loss, nats[seen].mean(), rtol=1e-12)
    np.testing.assert_allclose(metrics["accuracy"], (z.argmax(-1) == labels)[seen].mean(), rtol=1e-12)
    with pytest.raises(InputError, match="^missing: got 1"):
        Objective("regress", 2, missing=1)


@pytest.mark.parametrize("missing", [False, True])
def test_labels_that_are_there_or_not(missing):
    """-log sigmoid(z) for a label that is there, -log sigmoid(-z) for one that is not; the majority as a baseline."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(9, 3)) * 5, rng.integers(0, 2, (9, 3)).astype(np.float32)
    y[rng.random(y.shape) < (0.3 if missing else 0)] = np.nan
    objective = Objective("label", 3, missing=missing)
    loss, metrics = objective.score(jnp.asarray(z), jnp.ones(9, bool), jnp.asarray(y))
    p = 1 / (1 + np.exp(-z))
    nats = np.where(np.isnan(y), np.nan, -np.log(np.where(y == 1, p, 1 - p)))
    np.testing.assert_allclose(loss, np.nanmean(nats), rtol=1e-6)
    right = np.where(np.isnan(y), np.nan, (p > 0.5) == (y == 1))
    np.testing.assert_allclose(metrics["accuracy"], np.nanmean(right), rtol=1e-6)
    np.testing.assert_allclose(objective.probabilities(jnp.asarray(z)), p, rtol=1e-6)
    data = jrnn.data.Dataset(
        "made",
        np.ones((9, 2, 1)),
        y,
        None,
        "label",
        3,
        np.arange(5),
        np.arange(5, 9),
        1,
        "made",
        "made",
        missing=missing,
    )
    (found,) = baselines(Objective.of(data), data)
    share = (np.nansum(y[:5], axis=0) + 1) / ((~np.isnan(y[:5])).sum(axis=0) + 2)
    costs = np.where(np.isnan(y[5:]), np.nan, -np.log(np.where(y[5:] == 1, share, 1 - share)))
    np.testing.assert_allclose(found.scores["loss"], np.nanmean(costs), rtol=1e-6)
    with pytest.raises(InputError, match="^data.*numbers beside 0 and 1"):
        evaluate(jrnn.elman(2), None, objective, None, {"x": np.ones((9, 2, 1)), "y": y * 2})


def test_missing_targets_in_evaluate_and_fit():
    """Batches weigh by the targets they know; the same data without the flag are refused."""
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(7, 3, 1)), "y": rng.normal(size=(7, 2))}
    data["y"][rng.random((7, 2)) < 0.5] = np.nan
    cell, objective = jrnn.elman(2), Objective("regress", 2, missing=True)
    fitted = jrnn.training.fit(cell, objective, data, steps=2, batch_size=3)
    one, many = (evaluate(cell, fitted.params, objective, fitted.loss_params, data, batch_size=size) for size in (7, 2))
    np.testing.assert_allclose(one["loss"], many["loss"], rtol=1e-6)
    assert np.isfinite(one["loss"])
    with pytest.raises(InputError, match=r"^data\['y'\]: got nan"):
        evaluate(cell, fitted.params, Objective("regress", 2), fitted.loss_params, data)
    data["y"][0, 0] = np.inf
    with pytest.raises(InputError, match=r"^data\['y'\]: got inf"):
        evaluate(cell, fitted.params, objective, fitted.loss_params, data)


def test_the_majority_class():
    """Shares by Laplace's rule from the training part, scored on the other; a class never trained on costs ln(9)."""
    y = np.array([0, 0, 0, 0, 1, 1, 0, 2, 0, 1])
    data = jrnn.data.Dataset(
        "made", np.ones((10, 2, 1)), y, None, "classify", 3, np.arange(6), np.arange(6, 10), 1, "made", "made"
    )
    (found,) = baselines(Objective.of(data), data)
    assert found.name == "majority class" and found.scores["accuracy"] == 0.5
    shares = np.array([5, 3, 1]) / 9
    np.testing.assert_allclose(found.scores["loss"], -np.log(shares[[0, 2, 0, 1]]).mean(), rtol=1e-12)
    assert baselines(lambda *a: 0, data) == ()
    gaps = replace(data, y=np.where(np.arange(10) % 7 == 2, -100, y), missing=True)
    np.testing.assert_allclose(baselines(Objective.of(gaps), gaps)[0].scores["accuracy"], 2 / 3)


def test_the_red_card():
    known = (
        Baseline("persistence", "the last known value stays", {"loss": 0.00195}, "forecast changes"),
        Baseline("seasonal naive", "last year", {"loss": 0.026}),
        Baseline("majority class", "always the most frequent", {"loss": 0.7, "accuracy": 0.6}),
    )
    said = red_card(known, {"loss": 0.0459})
    assert said.startswith(
        "The network loses to an answer that needs no network. On held-out data its loss is 0.0459, "
    )
    assert (
        "persistence (the last known value stays) has 0.00195, 23.5 times less; it also loses to the seasonal" in said
    )
    assert said.endswith("give it more data, or forecast changes.") and "or take another" in red_card(
        known[1:], {"loss": 1}
    )
    assert [lost.baseline.name for lost in losses(known, {"loss": 0.0459})] == ["persistence", "seasonal naive"]
    assert red_card(known, {"loss": 0.001}) == red_card((), {"loss": 1.0}) == red_card(known, {}) == ""
    assert "its accuracy is 55.0 %, and the majority class (always the most frequent) has 60.0 %" in red_card(
        known, {"loss": 0.001, "accuracy": 0.55}
    )
    both = red_card(known, {"loss": 0.8, "accuracy": 0.55})
    assert both.count("always the most frequent") == 1 and "its accuracy is 55.0 %" in both
    assert "does no better than an answer" in red_card(known[:1], {"loss": 0.00195})
    assert "loss is nan" in red_card(known[:1], {"loss": float("nan")})
    by_heart = red_card(known, {"loss": 0.0459}, np.r_[np.ones(50), np.full(100, 1e-4)])
    assert "On the training data its loss is 0.0001: it knows these by heart" in by_heart
    assert "train it shorter (--steps), make it smaller, give it" in by_heart and "longer" not in by_heart
    for few in (np.full(9, 0.04), [np.nan]):
        assert red_card(known, {"loss": 0.0459}, few) == said.replace("longer or shorter", "longer")
