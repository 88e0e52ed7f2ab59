"""`prescribe` end to end: the same numbers as `fit`, the same table twice, what it says, what it refuses."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.commands.running import KINDS
from jrnn.cures import Chrono, Flossed, Rate, TunedGain, apply_to_cell
from jrnn.cures.advice import suggested
from jrnn.data.series import forecast_windows
from jrnn.prescribing import prescribe
from jrnn.prescribing.arguments import seconds_of
from jrnn.prescribing.candidates import AS_IT_IS, Arm, arms_for
from jrnn.prescribing.jobs import Job, run_job
from jrnn.prescribing.lag_samples import samples_of
from jrnn.prescribing.paired import Paired
from jrnn.prescribing.problem import Plan, shares
from jrnn.prescribing.result import Row
from jrnn.prescribing.splitting import FAR, constant_loss, parts_of
from jrnn.prescribing.words import Facts, evidence, recipe_of
from jrnn.training import Objective, evaluate, fit
from jrnn.training.batches import time_major
from jrnn.types import InputError

LAG = 12


def marked_bit(cases=240, lag=LAG, seed=0):
    rng = np.random.default_rng(seed)
    x = np.zeros((cases, lag + 1, 2), np.float32)
    x[..., 0] = rng.choice([-1, 1], x.shape[:2])
    x[:, 0, 1] = 1
    return {"x": x, "y": (x[:, 0, 0] > 0).astype(np.int32)}


def first(data, count):
    return {name: array[:count] for name, array in data.items()}


def job_of(cell, cures, plan, data, seeds, updates, **more):
    held_out = {"choice": {name: array[None] for name, array in time_major(first(data, 50), False).items()}}
    return Job(cell, cures, 3e-3, plan, data, held_out, 16, seeds, 0, updates, 3, None, LAG, **more)


@pytest.mark.thorough
def test_a_seed_of_the_race_is_a_run_of_fit():
    """Parameters, batches, noise and clip of every vmapped seed are those of `fit` with that seed."""
    data, objective = marked_bit(), Objective("classify", 2)
    cell, cures = jrnn.dropout(jrnn.gru(5), outputs=0.2), (Chrono(LAG), Rate(0.5))
    plan = Plan(objective, optax.adam, 0.3, cures[1:])
    found = run_job(job_of(cell, cures, plan, data, (3, 7), 9))
    assert found.losses["choice"].shape == (4, 2)
    for row, seed in enumerate((3, 7)):
        options = {"steps": 9, "learning_rate": 3e-3, "max_norm": 0.3, "batch_size": 16, "flow_every": None}
        alone = fit(cell, objective, data, seed=seed, cures=cures, **options)
        for ours, theirs in zip(
            jax.tree.leaves(found.carry[0]), jax.tree.leaves({"cell": alone.params, "loss": alone.loss_params})
        ):
            np.testing.assert_allclose(ours[row], theirs, rtol=2e-5, atol=2e-6)
        loss = evaluate(alone.cell, alone.params, objective, alone.loss_params, first(data, 50))["loss"]
        assert np.isclose(loss, found.losses["choice"][-1, row], rtol=1e-4)


@pytest.mark.thorough
def test_a_job_goes_on_where_another_ended():
    data, plan = marked_bit(), Plan(Objective("classify", 2), optax.adam, 1.0)
    whole = run_job(job_of(jrnn.gru(5), (), plan, data, (0, 1), 6))
    half = run_job(job_of(jrnn.gru(5), (), plan, data, (0, 1), 3))
    rest = run_job(job_of(jrnn.gru(5), (), plan, data, (0, 1), 6)._replace(first=3, carry=half.carry))
    np.testing.assert_array_equal(whole.losses["choice"][2:], rest.losses["choice"])
    jax.tree.map(np.testing.assert_array_equal, whole.carry, rest.carry)


def test_what_arrives_is_the_norm_of_the_pulled_back_direction():
    """Against explicit Jacobians of each sequence, of padded ones too."""
    cell, data = jrnn.gru(4, dtype="float64"), marked_bit(6)
    lengths = np.array([13, 13, 10, 9, 5, 13], np.int32)
    arrays = {"x": jnp.asarray(np.swapaxes(data["x"], 0, 1), float), "lengths": jnp.asarray(lengths)}
    params = cell.init(jax.random.key(0), 2)
    stacked = {"cell": jax.tree.map(lambda a: a[None], params)}
    found = shares(cell, Plan(Objective("classify", 2), optax.adam, None), stacked, arrays, 8)
    J = np.asarray(jrnn.jacobians(cell, params, arrays["x"], lengths=lengths))
    v = np.asarray(jax.random.normal(jax.random.key(0), (6, 4), float))
    ratios = []
    for case, length in enumerate(lengths):
        if length > 8:
            back = v[case]
            for t in range(length - 1, length - 9, -1):
                back = J[t, case].T @ back
            ratios.append(np.linalg.norm(back) / np.linalg.norm(v[case]))
    assert len(ratios) == 5 and np.isclose(float(found[0]), np.median(ratios), rtol=1e-9)


@pytest.mark.thorough
def test_it_finds_what_helps_and_says_the_same_twice():
    """A GRU that starts closed, a lag of 12: chrono learns the bit within 90 updates, the network as it is does not."""
    data, objective = marked_bit(400, 40), Objective("classify", 2)
    cell = jrnn.gru(12, bias=jrnn.initializers.forget_bias(-2.0))
    options = {"lag": 40, "updates": 144, "target": 0.1, "learning_rate": 6e-3, "batch_size": 40, "max_norm": 1.0}
    told = []
    found = prescribe(cell, data, objective, candidates=["chrono:40"], say=told.append, **options)
    assert found.recommends == "chrono:40" and found.cures == (Chrono(40),)
    assert "chrono:40" in found.sentence and "Chrono(t_max=40)" in found.recipe
    assert any("updates=144" in line for line in told)
    own = next(row for row in found.table if row.name == AS_IT_IS)
    best = found.table[0]
    assert best.cure == "chrono:40" and best.solved == 8 and own.solved == 0
    assert best.arriving > 0.01 > own.arriving
    assert best.against.high < 1 and len(found.table) == 6
    loss = evaluate(found.best.cell, found.best.params, objective, found.best.loss_params, marked_bit(300, 40, 9))
    assert loss["loss"] < 0.1
    with ThreadPoolExecutor(2) as executor:
        again = prescribe(cell, data, objective, candidates=["chrono:40"], executor=executor, **options)
    timeless = [[row._replace(milliseconds=0) for row in each.table] for each in (found, again)]
    assert timeless[0] == timeless[1] and again.sentence == found.sentence


@pytest.mark.thorough
def test_keep_yours():
    """Where nothing can help (the target is noise), nothing is recommended."""
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(200, 6, 2)).astype(np.float32), "y": rng.normal(size=(200, 1)).astype(np.float32)}
    found = prescribe(jrnn.gru(3), data, Objective("regress", 1), lag=4, updates=18, candidates=["chrono:4"])
    assert found.recommends is None and found.recipe == "" and found.sentence.startswith("Keep yours")
    assert found.best is not None and found.cures == () and found.learning_rate == 1e-3


def test_a_cure_that_helps_and_is_no_better_than_a_constant_is_told_of():
    """Overfitted on both sides: the evidence says so; where one of the two is below it, it does not."""
    against = Paired(0.5, 0.4, 0.7, 0.975, 1.0)
    cured = Row("chrono:50", "chrono:50", 1e-3, 0.2, 100, 0.861, 0, 0, 8, 1.0, 0.861, against)
    for loss, floor, told in ((1.61, 0.693, True), (0.5, 0.693, False), (math.nan, 0.9, False), (math.nan, 0.8, True)):
        own = Row(AS_IT_IS, AS_IT_IS, 1e-3, 0.1, 100, loss, 0, 0, 8, 1.0, loss)
        facts = Facts(None, 100, 50, (math.nan, math.nan), floor, "best constant answer")
        words = evidence((cured, own), cured, facts)
        assert (f"Neither beats the best constant answer ({floor})" in words) == told
    found = evidence((cured, own), cured, facts._replace(floor=None))
    assert "Neither" not in found and "0.5 times the held-out loss" in found


@pytest.mark.thorough
def test_a_problem_of_ones_own():
    """With `build` everything above the cell is trained along; batches have the cases first."""

    def build(cell, key):
        one, other = jax.random.split(key)
        params = {"rnn": cell.init(one, 2), "head": jax.random.normal(other, (5, 2)) / 3}

        def loss(params, batch, key):
            last = jrnn.unroll(cell, params["rnn"], jnp.swapaxes(batch["x"], 0, 1)).last
            return optax.softmax_cross_entropy_with_integer_labels(last @ params["head"], batch["y"]).mean()

        return params, loss

    options = {"lag": LAG, "updates": 18, "candidates": ["chrono:12"], "learning_rate": 1e-2}
    found = prescribe(jrnn.gru(5), marked_bit(), None, build=build, **options)
    assert {row.cure for row in found.table} == {AS_IT_IS, "chrono:12"} and found.floor is None
    assert set(found.best.params) == {"rnn", "head"} and np.isnan(found.table[0].arriving)
    with pytest.raises(InputError, match="candidates"):
        prescribe(jrnn.gru(5), marked_bit(), None, build=build, **{**options, "candidates": [Rate(2.0)]})


@pytest.mark.thorough
def test_all_arms_diverge():
    data = marked_bit(60, 6)
    options = {"lag": 6, "updates": 18, "learning_rate": 1e30, "max_norm": None}
    found = prescribe(jrnn.elman(3, "identity"), data, Objective("classify", 2), candidates=[], **options)
    assert found.recommends is None and "diverged" in found.sentence


@pytest.mark.thorough
def test_ctrl_c_keeps_the_table():
    def say(line):
        if line.startswith("the final"):
            raise KeyboardInterrupt

    options = {"lag": LAG, "updates": 18, "candidates": ["chrono:12"], "say": say}
    found = prescribe(jrnn.gru(3), marked_bit(60), Objective("classify", 2), **options)
    assert found.interrupted and found.recommends is None and found.best is None and len(found.table) == 6


@pytest.mark.thorough
def test_the_recipe_repeats_the_run():
    """Executed as it stands, with the training part that the prescription hands out."""
    data, objective, cell = marked_bit(200), Objective("classify", 2), jrnn.gru(5)
    options = {"lag": LAG, "updates": 18, "batch_size": 20, "learning_rate": 1e-3, "max_norm": 0.5}
    found = prescribe(cell, data, objective, candidates=[Rate(20.0)], optimizer=optax.sgd, **options)
    assert found.recommends in (None, "learning_rate")
    arm = Arm((Chrono(LAG),), 3.0)
    best = found.best._replace(updates=6, seed=2)
    plan = Plan(objective, optax.sgd, 0.5)
    template = job_of(cell, (), plan, data, (2,), 6)._replace(train=found.train, batch_size=20, rate=1e-3)
    text = recipe_of(arm, 3e-3, template, best)
    scope = {"jrnn": jrnn, "cell": cell, "objective": objective, "found": found, "sgd": optax.sgd}
    fitted = eval(text, scope)
    alone = run_job(template._replace(cures=arm.cures, rate=3e-3))
    for ours, theirs in zip(jax.tree.leaves(alone.carry[0]["cell"]), jax.tree.leaves(fitted.params), strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=2e-5, atol=2e-6)


def test_measured_starts_are_blind_to_padding():
    """tune-gain on padded sequences is that on the sequences alone."""
    cell = jrnn.elman(3, "identity", w_rec="gaussian")
    params, xs = cell.init(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (12, 4, 2))
    lengths = jnp.array([12, 9, 7, 5])
    inside = np.arange(12)[:, None, None] < np.asarray(lengths)[None, :, None]
    noisy = jnp.asarray(np.where(inside, xs, 1e3))
    both = [TunedGain().on_params(cell, params, {"x": x, "lengths": lengths}, jax.random.key(2)) for x in (xs, noisy)]
    np.testing.assert_allclose(both[0]["w_rec"], both[1]["w_rec"], rtol=1e-6)


def test_parts_share_no_case():
    data = {"x": np.arange(100.0).reshape(100, 1, 1) * np.ones((1, 3, 1)), "y": np.zeros((100, 1))}
    parts = parts_of(data, Objective("regress", 1), 8, 0)
    seen = [set(parts.train["x"][:, 0, 0].tolist()), *(set(a["x"][0, 0, :, 0].tolist()) for a in parts[1:3])]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert sum(map(len, seen)) == 100 and len(seen[2]) == 20


def test_a_data_set_keeps_its_split():
    dataset = jrnn.data.load("sunspots")
    parts = parts_of(dataset, Objective(dataset.task, dataset.outputs), 8, 0)
    held_out = dataset.subset(dataset.test)["x"]
    final = np.swapaxes(parts.final["x"][0], 0, 1)
    assert len(final) == len(held_out) and all(any(np.array_equal(row, other) for other in held_out) for row in final)
    choice, last = parts.choice["x"][0, :, 0], parts.train["x"][-1]
    assert not set(choice.ravel().tolist()) & set(last.ravel().tolist()), "windows of the two overlap"


def test_what_is_asked_steps_ahead_is_not_trained_on_either():
    """Values that rise by one: all that is asked for in training is below all that is asked for in the choice."""
    values = np.arange(400.0)[:, None]
    dataset = forecast_windows("rising", values, "made.", 10, horizon=6)
    parts = parts_of(dataset, Objective.of(dataset), 8, 0)
    assert parts.train["y"].max() < parts.choice["y"].min() < parts.choice["y"].max() < parts.final["y"].min()


def test_missing_answers_tell_nothing_of_lags():
    objective = Objective("regress_each", 1, missing=True)
    y = np.random.default_rng(0).normal(size=(40, 5, 1))
    y[:, ::2] = np.nan
    found = samples_of({"x": np.zeros((40, 5, 1)), "y": y}, objective, 1)
    assert len(found.y) == 80 and set(found.times) == {1, 3} and np.isfinite(found.y).all()
    batch = {"x": np.zeros((5, 40, 1)), "y": y.swapaxes(0, 1)}
    assert np.isclose(constant_loss(objective, batch), np.nanvar(y))


def test_held_out_batches_of_a_function_are_far_from_those_trained_on():
    asked = []

    def data(step):
        asked.append(step)
        return {"x": np.full((3, 200, 1), step, np.float32), "y": np.zeros((200, 1), np.float32)}

    parts = parts_of(data, Objective("regress", 1), 8, 0)
    assert min(asked) == FAR and max(asked) >= 2 * FAR and parts.choice["x"].shape[1:] == (3, 200, 1)


def test_targets_of_a_function_keep_their_axes():
    """Of a loss of one's own nobody knows which axis of y is time: batches are taken as they are."""

    def data(step):
        return {"x": np.zeros((6, 200, 2), np.float32), "y": np.zeros((6, 200), np.float32)}

    parts = parts_of(data, lambda *a: 0.0, 8, 0)
    assert parts.final["x"].shape[1:] == (6, 200, 2) and parts.final["y"].shape[1:] == (6, 200) and parts.floor is None


def test_constant_loss():
    y = np.array([0, 0, 0, 1])
    found = constant_loss(Objective("classify", 2), {"x": np.zeros((2, 4, 1)), "y": y})
    assert np.isclose(found, -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    y = np.arange(12.0).reshape(3, 2, 2)
    batch = {"x": np.zeros((3, 2, 1)), "y": y, "lengths": np.array([1, 3]), "mask": np.ones((3, 2), bool)}
    batch["mask"][1, 1] = False
    counted = np.stack([y[0, 0], y[0, 1], y[2, 1]])
    assert np.isclose(constant_loss(Objective("regress_each", 2), batch), counted.var(axis=0).mean())
    assert np.isclose(constant_loss(Objective("regress_each", 2, 1), batch), counted[2:].var(axis=0).mean())
    assert constant_loss(lambda *a: 0, batch) is None


@pytest.mark.parametrize("text, seconds", [(600, 600), ("90s", 90), ("10m", 600), ("1.5 h", 5400), ("20 min", 1200)])
def test_budgets(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "argument, given",
    [
        ("budget", {"budget": "soon"}),
        ("budget", {"budget": 0}),
        ("budget", {"budget": 1e-3}),
        ("lag", {"lag": 13}),
        ("lag", {"lag": None}),
        ("seeds", {"seeds": 5}),
        ("updates", {"updates": 0}),
        ("target", {"target": "low"}),
        ("candidates", {"candidates": [3]}),
        ("cure", {"candidates": ["chron:3"]}),
        ("cures", {"candidates": ["chrono:3"], "cell": jrnn.elman(3)}),
        ("data", {"data": 3}),
        ("data", {"data": marked_bit(2)}),
        ("cell", {"cell": 3}),
        ("learning_rate", {"learning_rate": -1}),
        ("learning_rate", {"learning_rate": optax.constant_schedule(1e-3)}),
        ("optimizer", {"optimizer": optax.adam(1e-3)}),
        ("unroll_options", {"unroll_options": {"state_tap": np.zeros(3)}}),
        ("lag", {"data": {**marked_bit(20), "lengths": np.full(20, 3)}}),
        ("candidates", {"candidates": "chrono:3"}),
    ],
)
def test_bad_input(argument, given):
    arguments = {"cell": jrnn.gru(3), "data": marked_bit(20), "objective": Objective("classify", 2), "lag": 5} | given
    with pytest.raises(InputError) as refused:
        prescribe(arguments.pop("cell"), arguments.pop("data"), arguments.pop("objective"), **arguments)
    assert refused.value.argument == argument


def test_arms():
    """Rates are folded, what changes nothing is left out, and a gradient that explodes asks for other cures."""
    cell = jrnn.gru(3, t_max=9)
    arms = arms_for(cell, 9, [Chrono(9), (Chrono(5), Rate(2.0)), "rate:7"], False, False)
    assert [(arm.cure, arm.rate) for arm in arms[3:6]] == [("chrono:5", 2.0), ("chrono:5", 2 / 3), ("chrono:5", 6.0)]
    assert (AS_IT_IS, 7.0) in [(arm.cure, arm.rate) for arm in arms] and len(arms) == 7
    names = [{arm.cure for arm in arms_for(jrnn.elman(3), 9, None, False, growing)} for growing in (False, True)]
    assert "tune-gain" in names[0] & names[1] and "floss:8" in names[0] - names[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_suggestion_fits(kind):
    """What is tried unasked on a cell of the command line can be applied to it and started."""
    cell = KINDS[kind](4)
    batch = {"x": jax.random.normal(jax.random.key(0), (12, 3, 2))}
    for cures in [cures for growing in (False, True) for cures in suggested(cell, 9, growing)]:
        cured = apply_to_cell(cures, cell)
        for one in cures:
            if one.measures and not isinstance(one, Flossed):  # as dear as the rest together, and refused alike
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    one.on_params(cured, cured.init(jax.random.key(1), 2), batch, jax.random.key(2))
