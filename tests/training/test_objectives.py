"""Losses against NumPy, case by case over what is valid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import cases

import jrnn
from jrnn.training import Objective, evaluate

TASKS = [("classify", 3, None), ("classify_each", 3, None), ("regress", 2, 2), ("regress_each", 2, 2)]


def by_hand(objective, head, unrolled, y, lengths):
    """(loss, accuracy) from loops over cases and steps; y is [B, ...] or [B, T, ...]."""
    losses, right = [], []
    for b, length in enumerate(lengths):
        steps = range(length) if objective.each else [length - 1] * min(length, 1)
        for t in steps:
            z = np.asarray(unrolled.outputs[t, b]) @ np.asarray(head["w"]) + np.asarray(head["bias"])
            target = y[b, t] if objective.each else y[b]
            if objective.classifies:
                losses.append(np.log(np.exp(z).sum()) - z[target])
                right.append(z.argmax() == target)
            else:
                losses.append(np.mean((z - target) ** 2))
    return np.mean(losses), np.mean(right) if right else None


@pytest.mark.parametrize("task, outputs, numbers", TASKS)
def test_loss_is_the_mean_over_what_is_valid(task, outputs, numbers, key):
    """Whatever the targets hold on padding; the gradient then neither; and nothing valid gives no NaN."""
    objective = Objective(task, outputs)
    data = cases(8, 4, each=objective.each, numbers=numbers)
    data["lengths"][0] = 0
    cell = jrnn.elman(4)
    params, head = cell.init(key, 3), objective.init(key, 4)
    x = jnp.asarray(data["x"].swapaxes(0, 1))

    @jax.jit
    def value_and_grad(y, lengths):
        def loss(weights):
            unrolled = jrnn.unroll(cell, weights[0], x, lengths=lengths)
            value, metrics = objective(weights[1], unrolled, {"y": y.swapaxes(0, 1) if objective.each else y})
            return value, (metrics, unrolled)

        return jax.value_and_grad(loss, has_aux=True)((params, head))

    (value, (metrics, unrolled)), grads = value_and_grad(data["y"], data["lengths"])
    expected = by_hand(objective, head, unrolled, data["y"], data["lengths"].tolist())
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    assert metrics["loss"] == value and ("accuracy" in metrics) == objective.classifies
    if objective.classifies:
        np.testing.assert_allclose(metrics["accuracy"], expected[1], rtol=1e-12)

    spoiled = data["y"].copy()
    valid = np.arange(4)[None] < data["lengths"][:, None]
    spoiled[~valid if objective.each else ~valid.any(1)] = -1 if objective.classifies else np.nan
    (again, _), again_grads = value_and_grad(spoiled, data["lengths"])
    np.testing.assert_array_equal(value, again)
    jax.tree.map(np.testing.assert_array_equal, grads, again_grads)

    (value, _), grads = value_and_grad(data["y"], np.zeros(8, int))
    assert value == 0 and all((np.asarray(g) == 0).all() for g in jax.tree.leaves(grads))


@pytest.mark.thorough
def test_a_warm_up_is_not_scored(key):
    """Steps before it count nowhere: not in the loss, not in the weight of a batch, whatever their targets hold."""
    objective = Objective("classify_each", 3, 2)
    assert objective == Objective("classify_each", 3, np.int64(2))
    data = cases(8, 4, each=True, numbers=None)
    data["lengths"] = np.array([0, 1, 2, 3, 4, 4, 3, 4])
    cell = jrnn.elman(4)
    params, head = cell.init(key, 3), objective.init(key, 4)
    unrolled = jrnn.unroll(cell, params, jnp.asarray(data["x"].swapaxes(0, 1)), lengths=data["lengths"])
    spoiled = data["y"].copy()
    spoiled[:, :2] = -1
    value = objective(head, unrolled, {"y": spoiled.swapaxes(0, 1)})[0]
    late = unrolled._replace(outputs=unrolled.outputs[2:], mask=unrolled.mask[2:])
    left = np.maximum(data["lengths"] - 2, 0).tolist()
    np.testing.assert_allclose(value, by_hand(objective, head, late, data["y"][:, 2:], left)[0], rtol=1e-12)
    assert objective.weight(unrolled) == sum(left) == 8
    np.testing.assert_allclose(evaluate(cell, params, objective, head, data, batch_size=3)["loss"], value, rtol=1e-12)


@pytest.mark.parametrize("task, outputs, numbers", [TASKS[0], TASKS[3]])
def test_evaluate_is_one_big_batch(task, outputs, numbers, key):
    objective = Objective(task, outputs)
    data = cases(23, 4, each=objective.each, numbers=numbers)
    cell = jrnn.elman(4)
    params, head = cell.init(key, 3), objective.init(key, 4)
    one = evaluate(cell, params, objective, head, data)
    many = evaluate(cell, params, objective, head, data, batch_size=5)
    assert one.keys() == many.keys() and all(isinstance(value, float) for value in many.values())
    for name in one:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-12)


def test_a_function_is_an_objective_weighted_by_cases(key):
    cell = jrnn.elman(4)
    params = cell.init(key, 3)
    data = cases(13, 4, lengths=False)
    result = evaluate(cell, params, square, None, data, batch_size=5, unroll_options={"reverse": True})
    outputs = jrnn.unroll(cell, params, jnp.asarray(data["x"].swapaxes(0, 1)), reverse=True).last
    np.testing.assert_allclose(result["loss"], np.mean(np.asarray(outputs) ** 2), rtol=1e-12)


def square(loss_params, unrolled, batch):
    return jnp.square(unrolled.last).mean()


def test_one_output_takes_targets_without_an_axis(key):
    cell, objective = jrnn.elman(4), Objective("regress", 1)
    params, head = cell.init(key, 3), objective.init(key, 4)
    unrolled = jrnn.unroll(cell, params, jnp.ones((2, 5, 3)))
    wide = objective(head, unrolled, {"y": jnp.arange(5.0)[:, None]})[0]
    assert objective(head, unrolled, {"y": jnp.arange(5.0)})[0] == wide


@pytest.mark.parametrize("task, outputs", [("sort", 3), ("classify", 0), ("classify", 2.5)])
def test_bad_objectives(task, outputs):
    with pytest.raises(jrnn.InputError, match="task|features"):
        Objective(task, outputs)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"x": np.zeros((0, 6, 3))}, r"data\['x'\]"),
        ({"y": np.zeros(20)}, "y: got float64"),
        ({"y": np.full(20, 3)}, r"data\['y'\]: got the class 3 for case"),
        ({"y": np.zeros(19, int)}, r"data\['y'\]: got shape \[19\]"),
        ({"lengths": np.full(20, 7)}, r"data\['lengths'\]: got 7 for case 0"),
        ({"lengths": np.full(20, 1.0)}, r"data\['lengths'\]"),
        ({"labels": np.zeros(20)}, "data: got the keys"),
        ({"x": np.where(np.arange(360).reshape(20, 6, 3) == 100, np.nan, 1.0), "lengths": None}, r"nan at \[5, 3, 1\]"),
    ],
)
def test_bad_data(change, match, key):
    cell, objective = jrnn.elman(4), Objective("classify", 3)
    with pytest.raises(jrnn.InputError, match=match):
        evaluate(cell, cell.init(key, 3), objective, objective.init(key, 4), {**cases(), **change})
