"""A NaN planted in each place is found there."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.cures import clip_by_global_norm
from jrnn.cures.base import Cure
from jrnn.training import NonFiniteError, Objective, first_nonfinite, fit

T, B, F, H = 5, 2, 3, 4
CELL = jrnn.elman(H)
REGRESS = Objective("regress_each", 1)


@pytest.fixture
def setting(key):
    """(params, head, batch)."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(T, B, F)))
    return CELL.init(key, F), REGRESS.init(key, H), {"x": x, "y": jnp.zeros((T, B))}


def test_in_a_parameter(setting):
    params, head, batch = setting
    params["w_rec"] = params["w_rec"].at[1, 2].set(jnp.nan)
    batch["x"] = batch["x"].at[0].set(jnp.inf)  # later in the order of cause
    report = first_nonfinite(CELL, REGRESS, params, head, batch)
    assert (report.place, report.time, report.at) == ("parameters", None, (1, 2)) and np.isnan(report.value)
    assert report.leaf == report.parameter == "cell['w_rec']"
    head = {**head, "bias": head["bias"].at[0].set(-jnp.inf)}
    report = first_nonfinite(CELL, REGRESS, setting[0] | {"w_rec": jnp.eye(H)}, head, setting[2])
    assert (report.leaf, report.value) == ("loss['bias']", -np.inf)


def test_in_the_inputs_but_not_in_padding(setting):
    params, head, batch = setting
    batch["x"] = batch["x"].at[3, 0, 1].set(jnp.inf).at[4, 1, 0].set(jnp.nan)
    report = first_nonfinite(CELL, REGRESS, params, head, batch)
    assert (report.place, report.time, report.leaf, report.at, report.value) == ("inputs", 3, "x", (3, 0, 1), np.inf)
    batch["lengths"] = jnp.array([3, 5])
    assert first_nonfinite(CELL, REGRESS, params, head, batch).at == (4, 1, 0)


def test_where_time_is_another_axis(setting):
    """The indices are those of the arrays with time first."""
    params, head, batch = setting
    x = jnp.swapaxes(batch["x"], 0, 1)
    look = partial(first_nonfinite, CELL, lambda p, run, b: run.outputs.sum(), params, None)
    report = look({"x": x.at[1, 3, 2].set(jnp.nan)}, unroll_options={"time_axis": 1})
    assert (report.place, report.time, report.at) == ("inputs", 3, (3, 1, 2))
    start = jrnn.unroll(CELL, params, batch["x"]).final_state._replace(h=jnp.full((B, H), jnp.inf))
    resets = jnp.zeros((B, T), bool).at[1, 2].set(True)
    report = look({"x": x, "resets": resets, "reset_state": start}, unroll_options={"time_axis": 1})
    assert (report.place, report.time, report.at[1]) == ("states", 3, 1)


def test_in_the_states_in_time_order():
    cell = jrnn.elman(2, "identity", dtype="float32")
    params = {
        "w_in": jnp.ones((1, 2), jnp.float32),
        "w_rec": 1e10 * jnp.eye(2, dtype=jnp.float32),
        "bias": jnp.zeros(2, jnp.float32),
    }
    batch = {"x": jnp.ones((8, 1, 1)), "y": jnp.zeros((8, 1))}
    head = {"w": jnp.ones((2, 1), jnp.float32), "bias": jnp.zeros(1, jnp.float32)}
    report = first_nonfinite(cell, REGRESS, params, head, batch)  # h_k ~ 1e10^(k-1), above 3e38 at k = 5
    assert (report.place, report.time, report.leaf) == ("states", 5, "h") and report.parameter in report.parameters
    assert "states, time index 5: h[5, 0, 0]; parameter cell['" in str(report)
    report = first_nonfinite(cell, REGRESS, params, head, batch, unroll_options={"reverse": True})
    assert (report.place, report.time) == ("states", 3)  # read from the end: states[t] is the state after x_t was read
    stacked = jrnn.stack(jrnn.elman(1, dtype="float32"), cell)
    first = {
        "w_in": jnp.ones((1, 1), jnp.float32),
        "w_rec": jnp.ones((1, 1), jnp.float32),
        "bias": jnp.zeros(1, jnp.float32),
    }
    report = first_nonfinite(stacked, REGRESS, (first, params), head, batch)
    assert (report.place, report.time, report.leaf) == ("states", 5, "[1].h") and report.parameter.startswith("cell[")


def test_in_the_outputs_the_loss_and_the_gradients(setting):
    params, head, batch = setting
    cell = jrnn.from_functions(
        init=CELL.init,
        initial_state=CELL.initial_state,
        step=CELL.step,
        output=lambda params, state, x: jnp.log(x[..., :1] - 0.5),
    )
    x = jnp.ones((T, B, F)).at[2, 1, 0].set(0.0)
    report = first_nonfinite(cell, lambda p, unrolled, b: unrolled.outputs.sum(), params, None, {"x": x})
    assert (report.place, report.time, report.at) == ("outputs", 2, (2, 1, 0))

    def log_of_zero(loss_params, unrolled, batch):
        return jnp.log(0.0 * unrolled.outputs.sum())

    report = first_nonfinite(CELL, log_of_zero, params, head, batch)
    assert (report.place, report.leaf, report.value) == ("loss", "value", -np.inf)

    def root_at_zero(loss_params, unrolled, batch):  # finite, but its slope at 0 is not
        return jnp.sqrt(0.0 * unrolled.outputs[3, 1, 0])

    report = first_nonfinite(CELL, root_at_zero, params, head, batch)
    assert (report.place, report.time, report.at[1]) == ("state gradients", 4, 1) and report.leaf == "h"

    def root_of_parameter(loss_params, unrolled, batch):
        return unrolled.outputs.sum() + jnp.sqrt(0.0 * loss_params["bias"].sum())

    report = first_nonfinite(CELL, root_of_parameter, params, head, batch)
    assert (report.place, report.parameter, report.parameters) == (
        "parameter gradients",
        "loss['bias']",
        ("loss['bias']",),
    )
    both = jrnn.Bidirectional(CELL)
    report = first_nonfinite(both, root_at_zero, both.init(jax.random.key(0), F), None, batch)
    assert report.place == "parameter gradients" and report.parameter == "cell['forward']['bias']"


@pytest.mark.thorough
def test_when_only_the_update_overflows(setting):
    params, head, batch = (jax.tree.map(lambda a: a.astype(jnp.float32), part) for part in setting)
    assert first_nonfinite(CELL, REGRESS, params, head, batch).place == "update"

    def steep(loss_params, unrolled, batch):
        return unrolled.outputs.mean() * 1e25  # the gradient is finite, its square is not

    match = r"step 1: the last 2 .* first inf is in the update: state\[0\]\.norm; parameter cell\['bias'\]"
    with pytest.raises(NonFiniteError, match=match) as caught:
        fit(CELL, steep, lambda step: batch, steps=9, params=params, max_skipped=2)
    assert isinstance(caught.value, RuntimeError) and caught.value.report.parameters == ()


def test_the_parameter_whose_update_overflows(setting):
    params, head, batch = (jax.tree.map(lambda a: a.astype(jnp.float32), part) for part in setting)
    only = optax.masked(optax.scale(1e38), {"cell": {"bias": False, "w_in": False, "w_rec": True}, "loss": None})
    with pytest.raises(NonFiniteError, match=r"in the update: cell\['w_rec'\]\[\d, \d\]; parameter cell\['w_rec'\]"):
        fit(CELL, mean, lambda step: batch, steps=9, params=params, max_skipped=2, max_norm=None, optimizer=only)


def mean(loss_params, unrolled, batch):
    return 1e3 * unrolled.outputs.mean()


def log_of_nothing(cell, params, xs, unrolled, deltas, key):
    return jnp.log(0.0 * unrolled.states.h.sum())


def root_of_nothing(cell, params, xs, unrolled, deltas, key):  # finite, but its slope at 0 is not
    return jnp.sqrt(0.0 * params["bias"].sum() + 0.0 * jax.random.uniform(key))


@dataclass(frozen=True)
class LogOfNothing(Cure):
    """Another cell, a penalty that is not finite, and an optimizer that overflows."""

    def on_cell(self, cell):
        return jrnn.residual(cell)

    def on_training(self, training):
        overflowing = optax.chain(training.optimizer, optax.scale(1e38))
        return training._replace(penalties=(*training.penalties, log_of_nothing), optimizer=overflowing)


@pytest.mark.thorough
def test_in_a_penalty_and_in_what_a_cure_adds(setting):
    params, head, batch = setting
    report = first_nonfinite(CELL, REGRESS, params, head, batch, penalties=[root_of_nothing])
    assert (report.place, report.leaf, report.parameter) == ("penalty gradients", "cell['bias']", "cell['bias']")
    report = first_nonfinite(CELL, REGRESS, params, head, batch, penalties=[root_of_nothing, log_of_nothing])
    assert (report.place, report.leaf, report.value) == ("penalties", "log_of_nothing", -np.inf)
    square = batch | {"x": jnp.ones((T, B, H))}  # as a residual wants it
    params = CELL.init(jax.random.key(0), H)
    assert first_nonfinite(CELL, REGRESS, params, head, square, cures=[LogOfNothing()]).leaf == "log_of_nothing"
    with pytest.raises(NonFiniteError, match=r"the first -inf is in the penalties: log_of_nothing; "):
        fit(CELL, REGRESS, lambda step: square, steps=2, params=params, max_skipped=1, cures=[LogOfNothing()])


def test_the_update_of_an_optimizer_that_a_cure_and_a_clip_change(setting):
    params, head, batch = (jax.tree.map(lambda a: a.astype(jnp.float32), part) for part in setting)
    steep = partial(first_nonfinite, CELL, mean, params, None, batch, optimizer=optax.scale(1e35))
    weights = {"cell": params, "loss": None}
    cures = [jrnn.cures.Rate(1e3)]
    state = optax.chain(optax.scale(1e35), optax.scale(1e3)).init(weights)
    assert steep(opt_state=optax.scale(1.0).init(weights)).leaf == "the optimizer's arithmetic"
    assert steep(opt_state=state, cures=cures).leaf.startswith("cell[")
    clipped = optax.chain(clip_by_global_norm(1e-9), optax.chain(optax.scale(1e35), optax.scale(1e3))).init(weights)
    assert steep(opt_state=clipped, cures=cures, max_norm=1e-9).leaf == "the optimizer's arithmetic"


def test_options_of_the_batch_and_of_unroll(setting):
    params, head, batch = setting
    batch["resets"] = jnp.zeros((T, B), bool).at[2].set(True)
    batch["reset_state"] = jrnn.unroll(CELL, params, batch["x"]).final_state._replace(h=jnp.full((B, H), jnp.inf))
    report = first_nonfinite(CELL, REGRESS, params, head, batch, unroll_options={"remat": "step"})
    assert (report.place, report.time) == ("states", 3)
    with pytest.raises(jrnn.InputError, match=r"unroll_options: got the keys \['length_'\]"):
        first_nonfinite(CELL, REGRESS, params, head, batch, unroll_options={"length_": 3})
