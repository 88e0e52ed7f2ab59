"""Penalties of `fit` and `stream` against jax.grad of the sum, two passes written out, and finite differences."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_same_bits, cases

import jrnn
from jrnn import InputError
from jrnn.cells import ElmanState
from jrnn.training import NonFiniteError, Objective, fit, load, stream
from jrnn.training.training_step import StepKeys, TrainingStep
from jrnn.types import widened as wide

CLASSIFY = Objective("classify", 3)
CELLS = {
    "elman": lambda dtype: jrnn.elman(4, dtype=dtype),
    "lstm": lambda dtype: jrnn.lstm(3, dtype=dtype),
    "stack": lambda dtype: jrnn.stack(jrnn.gru(3, dtype=dtype), jrnn.lstm(2, dtype=dtype)),
    "bidirectional": lambda dtype: jrnn.Bidirectional(jrnn.elman(3, dtype=dtype)),
}
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05}


def activity(cell, params, xs, unrolled, deltas, key):
    """The mean square of the states after the steps that happened."""
    assert deltas is None
    total = jnp.zeros((), jnp.float64)
    for leaf in jax.tree.leaves(unrolled.states):
        squares = jnp.square(wide(leaf[1:])).mean(axis=-1)
        total = total + 3.0 * jnp.where(unrolled.mask, squares, jnp.zeros_like(squares)).mean().astype(total.dtype)
    return total


@dataclass(frozen=True)
class Push:
    """Sum over all states of (dL/dh_t * h_t)^2, and of (dL/dh_t)^2 as a metric."""

    weight: float = 200.0
    name = "push"
    needs_deltas = True

    def __call__(self, cell, params, xs, unrolled, deltas, key):
        pairs = list(zip(jax.tree.leaves(deltas), jax.tree.leaves(unrolled.states), strict=True))
        total = sum(jnp.square(wide(d) * wide(h)).sum().astype(jnp.float64) for d, h in pairs)
        return self.weight * total, {"size": sum(jnp.square(wide(d)).sum().astype(jnp.float64) for d, _ in pairs)}


def problem(cell, dtype, key):
    """(weights, batch): sequences of lengths 0 to 6."""
    params = cell.init(key, 2)
    x = jax.random.normal(key, (6, 5, 2), dtype)
    size = jax.eval_shape(lambda p: jrnn.unroll(cell, p, x), params).last.shape[-1]
    batch = {"x": x, "y": jnp.array([0, 1, 2, 0, 1]), "lengths": jnp.array([6, 0, 3, 1, 5])}
    return {"cell": params, "loss": CLASSIFY.init(key, size)}, batch


def assert_trees_close(ours, theirs, tolerance):
    """Relative to the largest number of each leaf."""

    def check(a, b):
        assert a.dtype == b.dtype
        a, b = np.asarray(wide(a), float), np.asarray(wide(b), float)
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max())

    jax.tree.map(check, ours, theirs)


def two_passes(cell, weights, batch, penalties):
    """Value and gradient: jrnn.value_and_grads for the deltas, then jax.grad of the sum with the deltas held."""
    options = {"lengths": batch["lengths"], "return_states": True}

    @jax.jit
    def both(weights):
        loss = lambda head, unrolled: CLASSIFY(head, unrolled, batch)[0]  # noqa: E731
        rest = {"loss_params": weights["loss"], "lengths": batch["lengths"]}
        deltas = jrnn.value_and_grads(cell, weights["cell"], batch["x"], loss, **rest)[1].states

        def total(weights):
            unrolled = jrnn.unroll(cell, weights["cell"], batch["x"], **options)
            value = loss(weights["loss"], unrolled).astype(jnp.float64)
            for penalty in penalties:
                own = deltas if getattr(penalty, "needs_deltas", False) else None
                result = penalty(cell, weights["cell"], batch["x"], unrolled, own, None)
                value += (result[0] if isinstance(result, tuple) else result).astype(jnp.float64)
            return value

        return jax.value_and_grad(total)(weights)

    return both(weights)


@pytest.mark.parametrize(
    "penalties, measured",
    [((activity,), False), ((activity,), True), ((activity, Push()), False)],
    ids=["states", "states and telemetry", "deltas"],
)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_is_that_of_the_sum_with_the_deltas_held(name, dtype, penalties, measured, key):
    cell = CELLS[name](dtype)
    weights, batch = problem(cell, dtype, key)
    value, grads = two_passes(cell, weights, batch, penalties)
    plain_value, plain = two_passes(cell, weights, batch, ())
    step = TrainingStep(cell, CLASSIFY, None, penalties=penalties)
    keys = StepKeys(tangents=key if measured else None, penalties=key)
    ours = jax.jit(lambda w: step.gradients(w, batch, {"lengths": batch["lengths"]}, keys))(weights)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(float(ours.value), float(value), rtol=tolerance)
    np.testing.assert_allclose(float(ours.metrics["loss"]), float(plain_value), rtol=tolerance)
    assert_trees_close(ours.weights, grads, tolerance)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / jnp.abs(b).max()), grads, plain)
    assert max(jax.tree.leaves(moved)) > 10 * tolerance
    logged = {"loss", "accuracy", "activity"} | ({"push", "push_size"} if len(penalties) == 2 else set())
    assert ours.metrics.keys() == logged
    assert (ours.deltas is None) == (not measured and len(penalties) == 1)


@dataclass(frozen=True)
class Omega:
    """sum_t (||delta_{t+1} dh_{t+1}/dh_t|| / ||delta_{t+1}|| - 1)^2 over the steps that happened (Pascanu et al. 2013,
    eq. 9); the Jacobian is that of `cell.step`."""

    needs_deltas = True

    def __call__(self, cell, params, xs, unrolled, deltas, key):
        before = jax.tree.map(lambda leaf: leaf[:-1], unrolled.states)
        after = jax.tree.map(lambda leaf: leaf[1:], deltas)
        pulled = jax.vmap(lambda h, x, d: jax.vjp(lambda h: cell.step(params, h, x), h)[1](d)[0])(before, xs, after)
        size, reference = (sum(jnp.square(leaf).sum(axis=-1) for leaf in jax.tree.leaves(t)) for t in (pulled, after))
        counts = unrolled.mask & (reference > 0)
        ratio = jnp.sqrt(jnp.where(counts, size, 1.0) / jnp.where(counts, reference, 1.0))
        return jnp.where(counts, jnp.square(ratio - 1.0), 0.0).sum()


@pytest.mark.parametrize("name", ["elman", "lstm"])
def test_omega_against_finite_differences(name, key):
    cell = CELLS[name]("float64")
    weights, batch = problem(cell, "float64", key)
    options = {"lengths": batch["lengths"], "return_states": True}
    loss = lambda head, unrolled: CLASSIFY(head, unrolled, batch)[0]  # noqa: E731
    head = {"loss_params": weights["loss"], "lengths": batch["lengths"]}
    deltas = jax.jit(lambda p: jrnn.value_and_grads(cell, p, batch["x"], loss, **head)[1].states)(weights["cell"])

    @jax.jit
    def total(params):
        unrolled = jrnn.unroll(cell, params, batch["x"], **options)
        return loss(weights["loss"], unrolled) + Omega()(cell, params, batch["x"], unrolled, deltas, None)

    keys = StepKeys(penalties=key)
    step = TrainingStep(cell, CLASSIFY, None, penalties=(Omega(),))
    ours = jax.jit(lambda w: step.gradients(w, batch, {"lengths": batch["lengths"]}, keys))(weights)
    np.testing.assert_allclose(ours.value, total(weights["cell"]), rtol=1e-12)
    assert ours.metrics["Omega"] > 0.1
    rng = np.random.default_rng(0)
    for _ in range(3):
        way = jax.tree.map(lambda p: rng.normal(size=p.shape), weights["cell"])
        there, back = (
            total(jax.tree.map(lambda p, w, s=sign: p + s * 1e-5 * w, weights["cell"], way)) for sign in (1, -1)
        )
        slope = sum((g * w).sum() for g, w in zip(*map(jax.tree.leaves, (ours.weights["cell"], way)), strict=True))
        np.testing.assert_allclose(slope, (there - back) / 2e-5, rtol=1e-7)


def test_time_is_first_for_a_penalty_wherever_it_is_for_unroll(key):
    """And the objective sees it where the options say."""
    cell, shapes = jrnn.elman(4), []
    params, x, lengths = cell.init(key, 3), jax.random.normal(key, (6, 5, 3)), jnp.array([5, 0, 3, 1, 2, 5])

    def loss(head, unrolled, batch):
        shapes.append(unrolled.outputs.shape)
        return jnp.sin(unrolled.outputs).sum()

    def seen(cell, params, xs, unrolled, deltas, key):
        shapes.extend([xs.shape, unrolled.outputs.shape, unrolled.states.h.shape, unrolled.mask.shape, deltas.h.shape])
        return Push(0.1)(cell, params, xs, unrolled, deltas, key)[0] + unrolled.last.sum()

    seen.needs_deltas = True
    found = []
    for axis in (1, 0):
        batch = {"x": jnp.moveaxis(x, 1, axis), "lengths": lengths}
        options = {
            "params": params,
            "max_norm": None,
            "optimizer": optax.sgd(0.1),
            "unroll_options": {"time_axis": axis},
        }
        found.append(fit(cell, loss, lambda _, batch=batch: batch, steps=1, penalties=[seen], **options).params)
    first = [(5, 6, 3), (5, 6, 4), (6, 6, 4), (5, 6), (6, 6, 4)]
    assert shapes == [(6, 5, 4), *first, (5, 6, 4), *first]
    assert_trees_close(*found, 1e-12)


@dataclass(frozen=True)
class Noise:
    """A random vector dotted with the last state: of another draw in every step."""

    name: str
    weight: float = 1.0

    def __call__(self, cell, params, xs, unrolled, deltas, key):
        h = unrolled.states.h[-1]
        return self.weight * wide(jax.random.normal(key, h.shape, h.dtype) * h).sum()


@pytest.mark.thorough
def test_a_resumed_run_has_the_same_bits_and_the_same_penalties(tmp_path):
    cell = jrnn.dropout(jrnn.elman(3, dtype="bfloat16"), outputs=0.2)
    options = {"batch_size": 8, "checkpoint_every": 4, "log_every": 3, "flow_every": 3}
    options |= {"penalties": [Noise("one"), Noise("other"), Push(0.5)]}
    whole = fit(cell, CLASSIFY, cases(), steps=10, out=tmp_path / "whole", **options)
    for steps in (5, 10):
        parts = fit(cell, CLASSIFY, cases(), steps=steps, out=tmp_path / "parts", resume=True, **options)
    assert_same_bits(
        (parts.params, parts.loss_params, parts.opt_state), (whole.params, whole.loss_params, whole.opt_state)
    )
    assert whole.history.keys() == parts.history.keys() >= {"one", "other", "push", "push_size", "delta_late"}
    for name, values in whole.history.items():
        np.testing.assert_array_equal(parts.history[name], values)
    draws = np.concatenate([whole.history["one"], whole.history["other"]])
    assert len(set(draws)) == 20
    for penalties in ([], [Noise("one"), Noise("other"), Push(0.25)], [Noise("one"), Push(0.5)]):
        with pytest.raises(InputError, match="penalties: got .*; need .* as in .*checkpoints"):
            fit(
                cell,
                CLASSIFY,
                cases(),
                steps=11,
                out=tmp_path / "parts",
                resume=True,
                **options | {"penalties": penalties},
            )
    plain = {name: value for name, value in options.items() if name != "penalties"}
    fit(cell, CLASSIFY, cases(), steps=1, out=tmp_path / "plain", **plain)
    assert "penalties" not in load(tmp_path / "plain").metadata["config"]
    with pytest.raises(InputError, match="penalties: got .*Noise.*; need None, as in"):
        fit(cell, CLASSIFY, cases(), steps=2, out=tmp_path / "plain", resume=True, **options)


@pytest.mark.thorough
@pytest.mark.parametrize("cell", [jrnn.lstm(4), jrnn.stack(jrnn.elman(3), jrnn.gru(3))], ids=["lstm", "stack"])
def test_measuring_does_not_change_a_run_with_penalties(cell):
    """Where no penalty reads the deltas: to the bit."""
    runs = [
        fit(cell, CLASSIFY, cases(), steps=5, batch_size=8, penalties=[closed_over_all(0.1)], flow_every=every)
        for every in (None, 2)
    ]
    assert "delta_late" in runs[1].history and "delta_late" not in runs[0].history
    assert_same_bits(*((run.params, run.loss_params, run.opt_state) for run in runs))


def closed_over_all(weight):
    def weighted(cell, params, xs, unrolled, deltas, key):
        parts = [wide(h**2).sum() for h in jax.tree.leaves((unrolled.states, params))]
        return weight * sum(parts[1:], parts[0])

    return weighted


def closed_over(weight):
    def weighted(cell, params, xs, unrolled, deltas, key):
        return weight * wide(unrolled.states.h).sum()

    return weighted


def given_weight(weight, cell, params, xs, unrolled, deltas, key):
    return weight * wide(unrolled.states.h).sum()


@pytest.mark.parametrize("of", [closed_over, lambda weight: partial(given_weight, weight)], ids=["closure", "partial"])
def test_another_weight_of_a_function_is_another_penalty(of, tmp_path):
    options = {"batch_size": 8, "out": tmp_path / "run", "flow_every": None}
    fit(jrnn.elman(3), CLASSIFY, cases(), steps=1, penalties=[of(0.5)], **options)
    fit(jrnn.elman(3), CLASSIFY, cases(), steps=2, penalties=[of(0.5)], resume=True, **options)
    with pytest.raises(InputError, match="penalties: got .*0.25.*; need .*0.5.*, as in"):
        fit(jrnn.elman(3), CLASSIFY, cases(), steps=3, penalties=[of(0.25)], resume=True, **options)


@pytest.mark.thorough
def test_a_stream_adds_its_penalties_within_each_chunk(key):
    """The state carried in is held fixed for them too."""
    cell, task, rate = jrnn.elman(3), Objective("regress_each", 1), 0.1
    rng = np.random.default_rng(0)
    chunks = [{"x": rng.normal(size=(4, 2, 2)), "y": rng.normal(size=(4, 2))} for _ in range(3)]
    weights = {"cell": cell.init(key, 2), "loss": task.init(key, 3)}
    options = {"params": weights["cell"], "loss_params": weights["loss"], "optimizer": optax.sgd(rate), "flow_every": 2}
    results = list(stream(cell, task, chunks, penalties=(activity, Push()), **options))
    state = None
    for i, (chunk, result) in enumerate(zip(chunks, results, strict=True)):
        xs = jnp.asarray(chunk["x"])
        loss = lambda head, unrolled, chunk=chunk: task(head, unrolled, chunk)[0]  # noqa: E731
        rest = {"loss_params": weights["loss"], "initial_state": state}
        deltas = jax.jit(
            lambda p, xs=xs, loss=loss, rest=rest: jrnn.value_and_grads(cell, p, xs, loss, **rest)[1].states
        )(weights["cell"])

        def total(weights, xs=xs, loss=loss, state=state, deltas=deltas):
            unrolled = jrnn.unroll(cell, weights["cell"], xs, initial_state=state, return_states=True)
            value = loss(weights["loss"], unrolled) + activity(cell, weights["cell"], xs, unrolled, None, None)
            return value + Push()(cell, weights["cell"], xs, unrolled, deltas, None)[0], unrolled.final_state

        (_, state), grads = jax.jit(jax.value_and_grad(total, has_aux=True))(weights)
        weights = jax.tree.map(lambda w, g: w - rate * g, weights, grads)
        assert_trees_close({"cell": result.params, "loss": result.loss_params}, weights, 1e-11)
        np.testing.assert_allclose(result.metrics["grad_norm"], optax.tree.norm(grads), rtol=1e-11)
        assert ("delta_late" in result.metrics) == (i % 2 == 0)


@pytest.mark.thorough
def test_a_penalty_that_is_not_finite_is_skipped_and_named():
    def sometimes(cell, params, xs, unrolled, deltas, key):
        bad = xs[0, 0, 0] > 0
        return jnp.where(bad, jnp.nan, 1.0) * jnp.square(unrolled.states.h).sum()

    def steep(cell, params, xs, unrolled, deltas, key):
        return jnp.sqrt(0.0 * params["bias"].sum())  # finite, but its slope at 0 is not

    def batch(step):
        x = np.random.default_rng(step).normal(size=(4, 2, 3))
        x[0, 0, 0] = 1.0 if step in (1, 2) or step >= 5 else -1.0
        return {"x": x, "y": np.array([0, 2])}

    cell = jrnn.elman(4)
    fitted = fit(cell, CLASSIFY, batch, steps=5, penalties=[sometimes])
    assert fitted.history["skipped"].tolist() == [0, 1, 1, 0, 0] and np.isfinite(fitted.history["loss"]).all()
    assert np.isnan(fitted.history["sometimes"]).tolist() == [False, True, True, False, False]
    with pytest.raises(
        NonFiniteError, match="step 7: .* first nan is in the penalties: sometimes; parameter cell"
    ) as caught:
        fit(cell, CLASSIFY, batch, steps=9, penalties=[sometimes], max_skipped=3)
    assert caught.value.report.place == "penalties" and caught.value.report.leaf == "sometimes"
    with pytest.raises(
        NonFiniteError, match=r"step 1: .* is in the penalty gradients: cell\['bias'\]\[0\]; parameter cell\['bias'\]"
    ):
        fit(cell, CLASSIFY, batch, steps=9, penalties=[steep], max_skipped=2)


def of_arguments(value):
    def penalty(cell, params, xs, unrolled, deltas, key):
        return value(unrolled)

    return penalty


def named(name, metric=None):
    """With a metric, if it is named."""
    penalty = of_arguments(lambda unrolled: (unrolled.last.sum(), {} if metric is None else {metric: 1.0}))
    penalty.name = name
    return penalty


@pytest.mark.parametrize(
    "penalties, words",
    [
        (activity, "a function; need a sequence of functions penalty"),
        ("activity", "a str; need a sequence"),
        ({"activity": activity}, "a dict; need a sequence"),
        ([3], "a int; need a sequence of functions"),
        ([Push], "the class Push; need"),
        ([lambda cell, params: 0.0], r"a function of \(cell, params\); need"),
        ([activity, activity], "the name 'activity' twice; need another `name`"),
        ([named("loss")], "the name 'loss', which every run logs; need another `name`"),
        ([named("delta_early")], "the name 'delta_early', which every run logs"),
        ([named("delta", "early")], "the name 'delta_early', which every run logs"),
        ([named("a", "b"), named("a_b")], "the name 'a_b' twice; need another `name`"),
        ([named("accuracy")], "the metric 'accuracy', which the objective has too; need another `name`"),
        (
            [of_arguments(lambda unrolled: unrolled.last)],
            r"a penalty 'penalty' of float64\[2, 4\]; need one real number",
        ),
        ([of_arguments(lambda unrolled: None)], "a penalty 'penalty' of type NoneType; need one real number"),
        ([of_arguments(lambda unrolled: (0.0, 1, 2))], "a penalty 'penalty' that is a tuple of"),
        ([of_arguments(lambda unrolled: (0.0, {"x": "y"}))], "a metric 'x' of type str; need metrics that are real"),
    ],
)
def test_bad_penalties(penalties, words):
    data = {"x": np.zeros((2, 3, 1)), "y": np.zeros(2, int)}
    with pytest.raises(InputError, match=f"^penalties: got {words}"):
        fit(jrnn.elman(4), CLASSIFY, data, steps=1, batch_size=2, penalties=penalties)
    chunk = {"x": np.zeros((3, 2, 1)), "y": np.zeros(2, int)}
    cell, key = jrnn.elman(4), jax.random.key(0)
    weights = {"params": cell.init(key, 1), "loss_params": CLASSIFY.init(key, 4), "optimizer": optax.sgd(0.1)}
    with pytest.raises(InputError, match=f"^penalties: got {words}"):
        next(stream(cell, CLASSIFY, [chunk], penalties=penalties, **weights))


def test_states_are_the_cells_own():
    """A penalty sees h_0..h_T in the cell's state type."""
    seen = []

    def look(cell, params, xs, unrolled, deltas, key):
        seen.append(unrolled.states)
        return unrolled.states.h[0].sum()

    fit(jrnn.elman(4), CLASSIFY, cases(4, 5), steps=1, penalties=[look])
    assert isinstance(seen[0], ElmanState) and seen[0].h.shape == (6, 4, 4)
