"""A loss at the first step and a loss at every step, told apart: cells whose gates are constant, in closed form."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jrnn.cells import from_functions, from_step, gru, linear, lstm
from jrnn.flow import gradient_flow
from jrnn.flow.verdicts.arrival import Arrival
from jrnn.flow.verdicts.verdict import judge

T, S = 120, 5
XS = np.random.default_rng(0).normal(size=(T, S, 1))
SCALAR = from_functions(
    initial_state=lambda params, batch: jnp.zeros((*batch, 1)), step=lambda params, h, x: x[..., :1] * h + x[..., 1:]
)


def last(u):
    return jnp.sum(u.last)


def logit(p):
    return np.log(p / (1 - p))


def constant_lstm(forget, out, hidden=2):
    """f and o never change and c stays 0: dh_t/dc_{t-tau} = o f^tau, and nothing goes by way of h."""
    cell = lstm(hidden, dtype="float64")
    bias = np.repeat([0.0, logit(forget), 0.0, logit(out)], hidden)
    zeros = jnp.zeros((1, 4 * hidden)), jnp.zeros((hidden, 4 * hidden))
    return cell, {"w_in": zeros[0], "w_rec": zeros[1], "bias": jnp.asarray(bias)}


@pytest.mark.parametrize("half_life", [5, 37, 200])
def test_an_lstm_whose_forget_gate_halves_in_so_many_steps(half_life):
    f, o = 0.5 ** (1 / half_life), 0.0713  # chosen so that 0.89 % arrives at lag 111 of a half-life of 37
    flow = gradient_flow(*constant_lstm(f, o), XS, last)
    for lag in (2, 3, 8, 37, 111):
        found = flow.verdict(lag)
        assert_allclose(found.arriving, o * f**lag, rtol=1e-11)
        assert_allclose(found.entry, o * f, rtol=1e-11)
        assert_allclose(found.entry_interval, (o * f, o * f), rtol=1e-11)
        assert_allclose(found.growth, np.log(f), rtol=1e-10)
        assert_allclose(found.growth_interval, (np.log(f), np.log(f)), rtol=1e-9)
        assert_allclose(found.half_life, half_life, rtol=1e-10)
        assert_allclose(found.of_entered, f**lag, rtol=1e-10)
        assert_allclose(found.of_entered_interval, (f**lag, f**lag), rtol=1e-10)
        assert found.kind == ("vanishing" if f**lag < 0.01 else "healthy")
        assert "7 %" in found.sentence or "6.2 %" in found.sentence or "7.1 %" in found.sentence
        assert f"halves in {half_life} steps" in found.sentence


def test_the_sentence_of_a_slow_decay_after_a_loss_on_entering():
    found = gradient_flow(*constant_lstm(0.5 ** (1 / 37), 0.0713), XS, last).verdict(111)
    assert found.kind == "healthy" and found.reach < 111
    for piece in ("0.89 % of the gradient arrives", "7 %", "halves in 37 steps", " % of what entered arrives"):
        assert piece in found.sentence, found.sentence
    assert "16.3" not in found.sentence and "vanishing" not in found.sentence.lower()


@pytest.mark.parametrize("loss", [last, lambda u: jnp.sum(u.outputs)])
def test_an_lstm_that_lets_nothing_enter_vanishes_however_well_it_keeps(loss):
    found = gradient_flow(*constant_lstm(0.5 ** (1 / 200), 0.005), XS, loss).verdict(37)
    assert_allclose((found.half_life, found.of_entered), (200, 0.5 ** (37 / 200)), rtol=1e-9)
    assert found.kind == "vanishing" and "0.5 %" in found.sentence
    assert "first step left 1 % or more; now it leaves 0.5 %" in found.change


def test_between_the_two_it_is_undecided():
    """What enters differs from sequence to sequence, around 1 %."""
    rng = np.random.default_rng(1)
    by_lag = 0.99 ** np.arange(40) * np.exp(np.log(0.01) + rng.normal(size=(1, 1, 16))).repeat(1, 0).swapaxes(1, 2)
    by_lag = np.moveaxis(by_lag, 1, 2)
    by_lag[:, 0] = 1
    found = judge(Arrival(by_lag, 0, np.ones(by_lag.shape, bool)), 30, True)
    assert found.kind == "undecided" and found.between == ("vanishing", "healthy")
    assert_allclose(found.of_entered, 0.99**30, rtol=1e-10)


@pytest.mark.parametrize("half_life", [5, 37, 200])
@pytest.mark.parametrize("kind", ["gru", "linear", "leaky", "reads the state before"])
def test_where_nothing_is_lost_on_entering_the_numbers_are_one(kind, half_life):
    """arriving = a^lag = e^(growth lag) = of_entered, and the first step leaves a like any other."""
    a, before = 0.5 ** (1 / half_life), kind == "reads the state before"
    if kind == "gru":
        cell = gru(2, dtype="float64")
        zeros = {"w_in": jnp.zeros((1, 6)), "w_rec": jnp.zeros((2, 6)), "bias_rec": jnp.zeros(2)}
        params = zeros | {"bias": jnp.asarray(np.repeat([0.0, logit(a), 0.0], 2))}
    elif kind == "linear":
        cell = linear(1, dtype="float64")
        params = {"w_in": jnp.ones((1, 1)), "bias": jnp.zeros(1), "w_rec": jnp.full(1, a)}
    elif kind == "leaky":
        cell = from_functions(
            initial_state=lambda p, batch: jnp.zeros((*batch, 1)),
            step=lambda p, h, x: (1 - p) * h + p * jnp.tanh(x),
        )
        params = jnp.asarray(1 - a)
    else:
        cell = from_step(lambda p, h, x: (p * h + x, h), initial_state=lambda p, batch: jnp.zeros((*batch, 1)))
        params = jnp.asarray(a)
    flow = gradient_flow(cell, params, XS, last)
    for lag in (1, 2, 3, 8, 37, 111):
        found = flow.verdict(lag)
        steps = lag - before  # of the way back that lose anything
        assert_allclose((found.arriving, found.of_entered), (a**steps, a**steps), rtol=1e-10)
        if steps:
            assert_allclose((found.growth, found.half_life, found.entry), (np.log(a), half_life, a), rtol=1e-10)
        else:
            assert (found.growth, found.half_life, found.entry) == (0, np.inf, 1)
        assert found.kind == ("vanishing" if a**steps < 0.01 else "healthy")
        assert "first step" not in found.sentence


def test_a_loss_over_several_steps_is_no_loss_on_entering():
    """Of (0.5^n, 0.005 * 0.99^n) a little keeps well; yet most is lost step by step, so it vanishes."""
    cell = from_functions(
        initial_state=lambda p, batch: jnp.zeros((*batch, 2)),
        step=lambda p, h, x: h @ jnp.diag(jnp.array([0.5, 0.99])) + x,
    )
    found = gradient_flow(cell, None, XS, lambda u: jnp.sum(u.last @ jnp.array([1.0, 0.005]))).verdict(100)
    assert_allclose(found.growth, np.log(0.99), rtol=1e-9)
    assert_allclose(found.arriving, 0.005 * 0.99**100, rtol=1e-4)
    assert_allclose(found.of_entered, 0.005 * 0.99**100 / (0.5 / 0.99), rtol=1e-3)
    assert found.kind == "vanishing" and "in the mean" in found.change


@pytest.mark.thorough
def test_reverse_and_lengths():
    f, o = 0.5 ** (1 / 37), 0.0713
    lengths = np.array([T, 50, 90, 0, 100])
    every: list[dict[str, Any]] = [{"reverse": True}, {"lengths": lengths}, {"reverse": True, "lengths": lengths}]
    for options in every:
        found = gradient_flow(*constant_lstm(f, o), XS, lambda u: jnp.sum(u.outputs), **options).verdict(48)
        assert found.sequences == (4 if "lengths" in options else S)
        assert_allclose((found.half_life, found.entry, found.of_entered), (37, o * f, f**48), rtol=1e-9)


def test_sequences_too_short_for_the_lag_do_not_bend_the_slope():
    """Short sequences keep less: an average over other sequences at each lag would take that for growth."""
    gains = np.full((T, S), -0.02)
    gains[:, 3:] = -0.3
    xs = np.stack([np.exp(gains), np.ones_like(gains)], axis=-1)
    found = gradient_flow(SCALAR, None, xs, last, lengths=np.array([T, T, T, 40, 40])).verdict(60)
    assert_allclose(found.growth, -0.02, rtol=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize("sequences", [3, 30])
def test_the_interval_of_the_growth_holds_the_truth(sequences):
    """Gains N(-0.03, 0.1) a step after a first step that leaves e^N(-3, 1): the typical growth is -0.03."""
    rng, lag, hits = np.random.default_rng(2), 20, np.zeros(3, int)
    for _ in range(200):
        total = np.cumsum(rng.normal(-0.03, 0.1, size=(lag, sequences)), axis=0)
        entered = rng.normal(-3, 1, size=sequences)
        by_lag = np.concatenate([np.ones((1, sequences)), np.exp(entered + total)])[None]
        found = judge(Arrival(by_lag, 0, np.ones(by_lag.shape, bool)), lag, False, level=0.9)
        intervals = found.growth_interval, found.entry_interval, found.of_entered_interval
        for i, truth in enumerate((-0.03, np.exp(-3.03), np.exp(-0.6))):
            hits[i] += intervals[i][0] <= truth <= intervals[i][1]
    assert (hits >= 166).all() and (hits <= 197).all(), hits  # binomial: 180 +- 4


def test_growth_at_first_that_is_lost_again_is_no_growth():
    """The growth is that of the further half: what rises tenfold at the first step and then fades, fades."""
    by_lag = np.concatenate([np.ones((1, 6)), 8 * np.exp(-0.05 * np.arange(1, 40))[:, None].repeat(6, 1)])[None]
    found = judge(Arrival(by_lag, 0, np.ones(by_lag.shape, bool)), 30, True)
    assert_allclose((found.growth, found.entry, found.of_entered), (-0.05, 8 * np.exp(-0.05), np.exp(-1.5)), rtol=1e-9)
    assert found.kind == "healthy"


def test_what_dies_on_the_way_has_no_half_life():
    """Exact zeros from some lag on: growth -inf, half-life 0, nothing of what entered; no NaN."""
    for dead in (1, 2, 5, 20):
        by_lag = np.ones((1, 40, 6)) * (np.arange(40) < dead)[:, None]
        found = judge(Arrival(by_lag, 0, np.ones(by_lag.shape, bool)), 30, True)
        assert (found.arriving, found.growth, found.half_life, found.of_entered) == (0, -np.inf, 0, 0)
        assert found.kind == "vanishing" and "nan" not in (found.sentence + found.change).lower()
