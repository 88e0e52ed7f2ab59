"""An arm that a cure makes fail is told of in the table, and the race goes on; what users' code raises is raised."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.cures import Chrono
from jrnn.cures.base import Cure
from jrnn.prescribing import prescribe
from jrnn.prescribing.blame import is_users
from jrnn.prescribing.candidates import AS_IT_IS
from jrnn.prescribing.jobs import Failure, Job, attempt
from jrnn.prescribing.problem import Plan
from jrnn.report.race_table import race_rows
from jrnn.training import Objective

rng = np.random.default_rng(0)
X = rng.choice([-1.0, 1.0], (60, 7, 1)).astype(np.float32)
DATA = {"x": X, "y": (X[:, 0, 0] > 0).astype(np.int32)}
OPTIONS = {"lag": 6, "updates": 18}


@dataclasses.dataclass(frozen=True)
class Broken(Cure):
    """Raises where it is told to."""

    where: str
    name = "broken"
    sentence = formula = source = ""

    def on_cell(self, cell):
        if self.where == "cell":
            raise ZeroDivisionError("a broken cell\nin two lines")
        return cell

    def on_params(self, cell, params, batch, key):
        if self.where == "params":
            raise ValueError("a broken start")
        return params

    def on_training(self, training):
        if self.where == "training":
            raise RuntimeError()
        return training


@pytest.mark.thorough
def test_a_race_goes_on_without_the_arms_that_fail():
    broken = [Broken("cell"), Broken("params"), Broken("training")]
    told = []
    found = prescribe(
        jrnn.gru(3), DATA, Objective("classify", 2), candidates=[*broken, "chrono:6"], say=told.append, **OPTIONS
    )
    failed = {row.name: row for row in found.table if row.failed}
    assert {row.cure for row in failed.values()} == {cure.option for cure in broken} and len(failed) == 9
    assert found.table[-9:] == tuple(failed.values()) and all(row.seeds == 0 for row in failed.values())
    why = {row.cure: row.failed for row in failed.values()}
    assert why["broken:'cell'"] == "ZeroDivisionError: a broken cell"
    assert why["broken:'params'"] == "ValueError: a broken start" and why["broken:'training'"] == "RuntimeError"
    assert any("failed: ValueError: a broken start" in line for line in told)
    ran = {row.cure for row in found.table if row.seeds}
    assert ran == {AS_IT_IS, "chrono:6"} and found.table[0].figure is not None
    shown = [" | ".join(row) for row in race_rows(found)]
    assert sum("failed: ValueError: a broken start" in line for line in shown) == 3
    assert "failed: RuntimeError" in found._repr_html_()


@pytest.mark.thorough
def test_nothing_but_failures():
    found = prescribe(jrnn.gru(3), DATA, Objective("classify", 2), candidates=[Broken("params")], seeds=8, **OPTIONS)
    assert found.recommends in (None, "learning_rate") and found.best is not None


class Stop(Exception):
    """The user's own."""


@pytest.mark.thorough
def test_an_arm_that_fails_late_keeps_what_was_seen(monkeypatch):
    """In the second rung, or in the final."""
    from jrnn.prescribing import race

    for from_update in (2, 0):
        real = race.attempt

        def failing(job, real=real, from_update=from_update):
            late = job.cures and (job.first >= 2 if from_update else len(job.held_out) == 2)
            return Failure("late") if late else real(job)

        monkeypatch.setattr(race, "attempt", failing)
        cures = [Chrono(6), Chrono(4)]
        found = prescribe(jrnn.gru(3), DATA, Objective("classify", 2), candidates=cures, **OPTIONS)
        monkeypatch.setattr(race, "attempt", real)
        late = [row for row in found.table if row.failed]
        assert late and all(row.failed == "late" and row.seeds == 2 and np.isfinite(row.loss) for row in late)
        assert found.recommends in (None, "learning_rate") and len(found.table) == 9


def job(**changes):
    plan = Plan(Objective("classify", 2), optax.adam, 1.0)
    turned = {"x": np.swapaxes(X, 0, 1)[None], "y": DATA["y"][None]}
    return Job(jrnn.gru(3), (Chrono(6),), 1e-3, plan, DATA, {"choice": turned}, 8, (0,), 0, 1, 1)._replace(**changes)


def raises(*args, **kwargs):
    raise Stop


def helper(*args):
    raises()


@pytest.mark.parametrize("where", ["loss", "data", "optimizer", "build", "own loss"])
def test_what_users_own_code_raises_is_raised(where):
    """Under a cure too, however deep, and through JAX's transformations."""

    def build(cell, key):
        if where == "build":
            helper()

        def loss(params, batch, key):
            return jnp.sum(jax.vmap(lambda x: helper(x))(batch["x"]))

        return {"rnn": cell.init(key, 1)}, loss

    plan = Plan(Objective("classify", 2), optax.adam, 1.0)
    changes = {
        "loss": {"plan": dataclasses.replace(plan, objective=lambda params, unrolled, batch: helper())},
        "data": {"train": functools.partial(lambda step, more: helper(), more=1)},
        "optimizer": {"plan": dataclasses.replace(plan, optimizer=lambda rate: helper())},
        "build": {"plan": dataclasses.replace(plan, build=build, as_given=True)},
        "own loss": {"plan": dataclasses.replace(plan, build=build, as_given=True)},
    }[where]
    with pytest.raises(Stop):
        attempt(job(**changes))


def test_a_cure_that_breaks_within_a_users_function_is_the_cures():
    def build(cell, key):  # jrnn refuses a key that is none
        return {"rnn": cell.init(key if cell == jrnn.gru(3) else None, 1)}, lambda params, batch, key: 0.0

    plan = Plan(None, optax.adam, 1.0, as_given=True, build=build)
    failed = attempt(job(plan=plan))
    assert isinstance(failed, Failure) and failed.why.startswith("InputError: key: got None")


def test_whose_an_exception_is():
    class Callable:
        def __call__(self):
            helper()

    def decorated(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    def chained():
        try:
            helper()
        except Stop as error:
            raise KeyError from error

    cases = (Callable(), Callable().__call__, functools.partial(helper, 1), decorated(helper), helper, chained)
    for function in cases:
        with pytest.raises((Stop, KeyError)) as seen:
            function()
        assert is_users(seen.value, (function,))
        assert not is_users(seen.value, (build_nothing, optax.adam, Objective("classify", 2)))


def build_nothing():
    """Not called by anything."""
