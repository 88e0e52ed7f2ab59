"""How far back a network's gradient reaches: closed forms of the scalar linear recurrence."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import Bidirectional, elman, linear
from jrnn.flow import gradient_flow
from jrnn.flow import summarise as summarise_all
from jrnn.types import InputError

from ..unrolling.brute_force import inputs, make

summarise = partial(summarise_all, why=False)  # windows, spectrum and theory: test_flow_why.py

STEPS = 20
CELL = linear(1)
XS = np.random.default_rng(0).normal(size=(STEPS, 5, 1))


def params(a):
    """h_t = a h_{t-1} + x_t."""
    return {"w_in": jnp.ones((1, 1)), "bias": jnp.zeros(1), "w_rec": jnp.full(1, a)}


def last(unrolled):
    return jnp.sum(unrolled.last**2)


@pytest.mark.parametrize(
    ("a", "verdict"), [(0.7, "vanishing"), (0.95, "healthy"), (-0.95, "healthy"), (1.4, "exploding")]
)
def test_scalar_recurrence_in_closed_form(a, verdict):
    found = summarise(CELL, params(a), XS, last, lag=19)
    size = abs(a)
    assert_allclose(found.arriving, size ** np.arange(STEPS), rtol=1e-12)
    assert_allclose(found.arriving_low, found.arriving, rtol=1e-12)
    assert_allclose(found.arriving_high, found.arriving, rtol=1e-12)
    assert_allclose(found.growth, np.log(size), rtol=1e-12)
    assert_allclose(found.at_lag, size**19, rtol=1e-12)
    assert_allclose(found.singular_values, np.full((3, 1), size), rtol=1e-12)
    assert (found.outputs, found.sequences, found.lag) == (1, 5, 19)
    reach = int(np.floor(np.log(0.01) / np.log(size))) if size < 1 else STEPS
    assert found.reach == min(reach, STEPS - 1)
    assert found.reach_is_bound == (reach >= STEPS - 1)
    assert found.verdict == verdict


def test_the_sentence_has_the_numbers_and_the_lag():
    gone = summarise(CELL, params(0.7), XS, last, lag=19).sentence
    for piece in ("Vanishing", "lag of 19 steps", "0.11 %", "12 steps back", "-0.357 nats per step"):
        assert piece in gone, gone
    grown = summarise(CELL, params(1.4), XS, last, lag=19).sentence
    for piece in ("Exploding", "lag of 19 steps", "598 times", "+0.336 nats per step"):
        assert piece in grown, grown
    fine = summarise(CELL, params(0.95), XS, last, lag=1).sentence
    for piece in ("Healthy", "lag of 1 step,", "95 %", "at least 19 steps back"):
        assert piece in fine, fine


def test_a_verdict_holds_for_its_lag():
    assert summarise(CELL, params(0.7), XS, last, lag=3).verdict == "healthy"
    none = summarise(CELL, params(0.7), XS[:1], last, lag=0)
    assert_array_equal(none.arriving, [1.0])
    assert none.growth == 0.0 and none.verdict == "healthy" and "one step" in none.sentence


def test_every_output_counts_on_its_own():
    # a sum over outputs before the norm would hide that nothing arrives from far: by output the ratio is a^lag exactly
    found = summarise(CELL, params(0.8), XS, lambda u: jnp.sum(u.outputs**2), lag=10)
    assert_allclose(found.arriving, 0.8 ** np.arange(STEPS), rtol=1e-12)
    assert_allclose(found.growth, np.log(0.8), rtol=1e-12)
    assert found.outputs == STEPS
    few = summarise(CELL, params(0.8), XS, lambda u: jnp.sum(u.outputs**2), lag=10, max_outputs=4)
    assert few.outputs == 4
    assert_allclose(few.growth, np.log(0.8), rtol=1e-12)


def test_all_outputs_are_followed_where_that_costs_little(monkeypatch):
    xs = np.random.default_rng(0).normal(size=(70, 2, 1))
    every = summarise(CELL, params(0.8), xs, lambda u: jnp.sum(u.outputs**2), lag=10)
    assert every.outputs == 70 and every.exact and not every.lag_errors.any()
    monkeypatch.setattr("jrnn.flow.summary.PAIRS", 70 * 71 * 2 - 1)
    some = summarise(CELL, params(0.8), xs, lambda u: jnp.sum(u.outputs**2), lag=10)
    assert some.outputs == 64 and not some.exact and some.lag_errors.any()


def test_sequences_of_different_lengths():
    lengths = np.array([20, 3, 11, 0, 7])
    found = summarise(CELL, params(0.9), XS, last, lengths=lengths, lag=10)
    assert_allclose(found.arriving, 0.9 ** np.arange(STEPS), rtol=1e-12)
    assert_allclose(found.growth, np.log(0.9), rtol=1e-12)
    poisoned = np.where((np.arange(STEPS)[:, None] < lengths)[..., None], XS, np.nan)
    assert_array_equal(summarise(CELL, params(0.9), poisoned, last, lengths=lengths, lag=10).arriving, found.arriving)


def test_a_part_that_is_exactly_zero():
    found = summarise(CELL, params(0.0), XS, last, lag=2)
    assert_array_equal(found.arriving, [1.0] + [0.0] * (STEPS - 1))
    assert found.growth == -np.inf
    assert found.reach == 0 and not found.reach_is_bound
    assert found.verdict == "vanishing" and "0 %" in found.sentence and "nan" not in found.sentence.lower()


def test_a_network_that_overflows_is_not_called_healthy():
    found = summarise(CELL, params(1e200), XS, last, lag=19)
    assert found.verdict == "not finite" and "not finite" in found.sentence


@pytest.mark.thorough
def test_loss_on_the_final_state_and_whole_state_of_an_lstm():
    cell, weights = make("lstm")
    xs = inputs("lstm", 6, (4,))

    def loss(unrolled):
        return jnp.sum(unrolled.final_state.c)

    found = summarise(cell, weights, xs, loss, lag=5)
    credit = gradient_flow(cell, weights, xs, loss).credit[5]  # of output 6, over k = 0..6 and sequences
    each = (np.asarray(credit) / np.asarray(credit[6]))[6:0:-1]
    assert_allclose(found.arriving, np.median(each, axis=-1), rtol=1e-12)
    assert_allclose(found.growth, np.log(np.median(each[5] / each[1])) / 4, rtol=1e-12)
    assert_allclose(found.entry, np.median(each[1]), rtol=1e-12)
    assert_allclose(found.arriving_high, np.quantile(each, 0.9, axis=-1), rtol=1e-12)
    assert found.singular_values.shape == (3, 4)
    assert (np.diff(found.singular_values, axis=1) <= 0).all() and (np.diff(found.singular_values, axis=0) >= 0).all()
    assert found.arriving[0] == 1.0 and np.isfinite(found.growth)


@pytest.mark.parametrize("lag", [-1, 20, 1.5, True])
def test_bad_lags_are_refused(lag):
    with pytest.raises(InputError, match="lag.*0 to T - 1 = 19"):
        summarise(CELL, params(0.9), XS, last, lag=lag)


def test_what_is_refused():
    with pytest.raises(InputError, match="lag: got 5; need at most 2"):  # no way back is that long
        summarise(CELL, params(0.9), XS, last, lengths=np.full(5, 3), lag=5)
    with pytest.raises(InputError, match="lengths: got 30"):
        summarise(CELL, params(0.9), XS, last, lengths=np.array([1, 2, 30, 4, 5]), lag=5)
    with pytest.raises(InputError, match="loss"):
        summarise(CELL, params(0.9), XS, lambda u: jnp.sum(jnp.zeros(3)), lag=5)
    for xs in (XS[:, 0], XS[:0], XS[:, :0]):
        with pytest.raises(InputError, match="xs"):
            summarise(CELL, params(0.9), xs, last, lag=0)
    both = Bidirectional(elman(2))
    with pytest.raises(InputError, match="each direction"):
        summarise(both, make(both, 1)[1], XS, last, lag=0)
