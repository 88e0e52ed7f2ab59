"""The verdict at a lag: recurrences whose answer is known in closed form, and intervals against theirs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import elman, from_functions, from_step
from jrnn.flow import gradient_flow
from jrnn.flow.verdicts.arrival import Arrival, arrival, interval
from jrnn.types import InputError

T = 40
SCALAR = from_functions(
    initial_state=lambda params, batch: jnp.zeros((*batch, 1)), step=lambda params, h, x: x[..., :1] * h + x[..., 1:]
)
LINEAR = from_functions(
    initial_state=lambda params, batch: jnp.zeros((*batch, 2)), step=lambda params, h, x: h @ params.T + x
)


def last(u):
    return jnp.sum(u.last[..., 0])


def judged(log_gains, lag, level=0.995, loss=last):
    """The verdict on h_t = exp(log_gains[t, s]) h_{t-1} + x_t: part(T, k) = exp(sum_{i > k} log_gains[i])."""
    xs = np.stack([np.exp(log_gains), np.random.default_rng(0).normal(size=log_gains.shape)], axis=-1)
    return gradient_flow(SCALAR, None, xs, loss).verdict(lag, level=level)


@pytest.mark.parametrize(
    ("rate", "kind"), [(-0.2, "vanishing"), (-0.1, "healthy"), (0.1, "healthy"), (0.2, "exploding")]
)
def test_rates_in_closed_form(rate, kind):
    found = judged(np.full((T, 6), rate), lag=30)
    assert found.kind == kind
    assert_allclose(found.arriving, np.exp(30 * rate), rtol=1e-12)
    assert_allclose(found.growth_interval, (rate, rate), rtol=1e-12)
    assert_allclose((found.growth, found.entry, found.of_entered), (rate, np.exp(rate), np.exp(30 * rate)), rtol=1e-12)
    assert_allclose(found.half_life, np.log(2) / -rate if rate < 0 else np.inf, rtol=1e-12)
    assert (found.lag, found.sequences, found.outputs, found.between) == (30, 6, 1, ())
    assert found.reach == min(int(np.floor(np.log(0.01) / rate)) if rate < 0 else T, T - 1)
    assert found.sentence.startswith(kind.capitalize()) and "lag of 30 steps" in found.sentence
    assert "-0.154" in found.change and "+0.154" in found.change  # ln(0.01) / 30 and ln(100) / 30


def test_the_mean_explodes_while_the_typical_sequence_vanishes():
    gains = np.full((T, 30), -0.3)
    gains[:, :6] = 0.5
    found = judged(gains, lag=30)
    assert found.kind == "both"
    assert_allclose(found.arriving, np.exp(-9), rtol=1e-12)
    assert_allclose(found.mean, (np.exp(15) * 6 + np.exp(-9) * 24) / 30, rtol=1e-12)
    assert "in some of them" in found.sentence
    gains[:, 1:6] = -0.3  # one sequence alone may be chance
    assert judged(gains, lag=30).kind == "vanishing"


def test_transient_growth_of_a_non_normal_matrix():
    a, b, c = 0.8, 60.0, 0.5
    J = jnp.array([[a, b], [0, c]])
    flow = gradient_flow(LINEAR, J, np.ones((T, 4, 2)), last)
    n = np.arange(T)
    size = np.hypot(a**n, b * (a**n - c**n) / (a - c))  # of the first row of J^n (notes, section 7, check 8)
    for lag in (12, 39):
        found = flow.verdict(lag)
        assert found.kind == ("transient growth" if lag == 39 else "healthy" if size[12] < 100 else "exploding")
        assert_allclose((found.peak, found.peak_lag), (size.max(), size.argmax()), rtol=1e-12)
        assert_allclose(found.arriving, size[lag], rtol=1e-10)
    assert f"at lag {size.argmax()}" in found.sentence


def test_chaos_is_lasting_growth_of_bounded_states():
    cell = elman(64)
    params = cell.init(jax.random.key(0), 1)
    params = params | {"w_rec": 3 * jax.random.normal(jax.random.key(1), (64, 64)) / 8}
    xs = 0.1 * np.random.default_rng(0).normal(size=(80, 8, 1))
    found = gradient_flow(cell, params, xs, last).verdict(60)
    assert found.kind == "chaotic" and "bounded" in found.sentence
    assert 0.1 < found.growth_interval[0] < found.growth_interval[1] < 0.5  # lambda_1 = 0.27 or so
    assert judged(np.full((T, 6), 0.2), lag=30).kind == "exploding"  # the same growth of a state that grows itself


def test_near_a_boundary_it_is_undecided():
    rng = np.random.default_rng(0)
    gains = np.zeros((T, 20))
    gains[-1] = np.log(0.01) + rng.normal(size=20)
    found = judged(gains, lag=30)
    assert found.kind == "undecided" and found.between == ("vanishing", "healthy")
    assert found.arriving_interval[0] < 0.01 < found.arriving_interval[1]
    assert "vanishing from healthy" in found.sentence and "More sequences" in found.change
    gains[-1] += 3
    assert judged(gains, lag=30).kind == "healthy"
    gains[-1] -= 6
    assert judged(gains, lag=30).kind == "vanishing"


def test_the_interval_of_a_median_over_sequences_holds_the_truth():
    rng, hits = np.random.default_rng(1), {0.9: 0, 0.99: 0}
    for _ in range(200):
        by_lag = np.ones((1, 2, 30))
        by_lag[0, 1] = np.exp(rng.normal(size=30))  # true median 1
        draws = Arrival(by_lag, 0, ~np.isnan(by_lag)).draws([1])[0][:, 0]
        for level in hits:
            low, high = interval(draws, level)
            hits[level] += low <= 1 <= high
    assert 170 <= hits[0.9] <= 192 and hits[0.99] >= 195, hits  # binomial: 180 +- 4, 198 +- 1.4


def test_the_interval_over_time_counts_overlapping_ways_back_once():
    """One long sequence: ln ratio at lag L is a sum of L gains, so neighbours share L - 1 of them."""
    rng = np.random.default_rng(2)
    draws = rng.normal(-0.05, 0.1, size=(200, 400))
    lag, widths, means = 10, [], []
    for gains in draws:
        sums = np.convolve(gains, np.ones(lag), "valid")
        by_lag = np.full((len(sums), lag + 1, 1), np.nan)
        by_lag[:, 0, 0], by_lag[:, lag, 0] = 1, np.exp(sums)
        means.append(np.log(np.exp(sums).mean()))
        if len(widths) < 10:
            found = Arrival(by_lag, 0, ~np.isnan(by_lag))
            low, high = interval(found.draws([lag])[0][:, 0], 0.9)
            widths.append(np.log(high / low))
    spread = np.quantile(means, 0.95) - np.quantile(means, 0.05)
    assert_allclose(np.mean(widths), spread, rtol=0.3)


def test_the_same_data_give_the_same_verdict():
    gains = np.random.default_rng(3).normal(size=(T, 12))
    assert judged(gains, lag=20) == judged(gains, lag=20)


def test_reverse_and_outputs_that_read_the_state_before():
    gains = np.random.default_rng(4).normal(0, 0.1, size=(T, 5))
    xs = np.stack([np.exp(gains), np.ones_like(gains)], axis=-1)

    def loss(u):
        return jnp.sum(u.outputs)

    forward = gradient_flow(SCALAR, None, xs, loss)
    backward = gradient_flow(SCALAR, None, xs[::-1], loss, reverse=True)
    assert_allclose(backward.verdict(9).arriving_interval, forward.verdict(9).arriving_interval, rtol=0.2)
    assert_allclose(backward.verdict(9).arriving, forward.verdict(9).arriving, rtol=1e-12)
    late = from_step(
        lambda p, h, x: (x[..., :1] * h + x[..., 1:], h), initial_state=lambda p, batch: jnp.zeros((*batch, 1))
    )
    found = gradient_flow(late, None, xs, loss).arrival()
    assert found.base == 1 and forward.arrival().base == 0
    # y_t = h_{t-1}: the part at lag tau is what the other has at tau - 1, one output later
    assert_allclose(found.by_lag[1:, 1:], forward.arrival().by_lag[:-1, :-1], rtol=1e-12)


def test_the_arrival_is_aligned_by_lag():
    credit = np.arange(1, 13).reshape(3, 4, 1) * 1.0
    found = arrival(credit, [1, 2, 3], reverse=False).by_lag[..., 0]
    assert_array_equal(found, [[2, np.nan, np.nan], [7, 6, np.nan], [12, 11, 10]])
    found = arrival(credit, [1, 2, 3], reverse=True).by_lag[..., 0]
    assert_array_equal(found, [[1, 2, 3], [6, 7, np.nan], [11, np.nan, np.nan]])


def test_what_is_not_finite_and_what_is_refused():
    still = np.stack([np.full((T, 2), 1e200), np.zeros((T, 2))], axis=-1)
    assert gradient_flow(SCALAR, None, still, last).verdict(30).kind == "not finite"
    alone = gradient_flow(SCALAR, None, np.ones((T, 2)), last)
    found = alone.verdict(30)
    assert found.kind == "undecided" and found.sequences == 1 and found.arriving_interval == (0, np.inf)
    assert "one sequence and one output" in found.sentence
    overlapping_ways = gradient_flow(SCALAR, None, np.ones((T, 2)), lambda u: jnp.sum(u.outputs)).verdict(30)
    assert overlapping_ways.kind == "undecided" and "outputs whose ways back overlap" in overlapping_ways.sentence
    assert alone.verdict(0).kind == "healthy" and "ask for the lag" in alone.verdict(0).sentence
    poisoned = jax.jit(lambda xs: gradient_flow(SCALAR, None, xs, last))(jnp.ones((T, 3, 2)).at[5, 1].set(jnp.nan))
    assert poisoned.verdict(36).kind == "not finite" and int(poisoned.effective_horizon()) == -1
    for lag in (-1, 40, 1.5, True):
        with pytest.raises(InputError, match="lag: got .*need a lag from 0 to 39"):
            alone.verdict(lag)
    with pytest.raises(InputError, match="level"):
        alone.verdict(3, level=1.0)


def test_few_sequences_widen_the_interval():
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        by_lag = np.ones((1, 2, 3))
        by_lag[0, 1] = np.exp(rng.normal(size=3))
        arrived = Arrival(by_lag, 0, np.ones(by_lag.shape, bool))
        low, high = arrived.typical_interval(1, arrived.draws([1])[0][:, 0], 0.9)
        hits += low <= 1 <= high
    assert 168 <= hits <= 195, hits  # their own range would hold it 150 times


def overlapping(rng, steps, lag, sequences, every=1):
    """The arrival of a run in which the gradient is multiplied by exp(N(-0.02, 0.15)) at each step, an output each."""
    gains = rng.normal(-0.02, 0.15, size=(steps, sequences))
    total = np.concatenate([np.zeros((1, sequences)), np.cumsum(gains, axis=0)])
    by_lag = np.ones((len(total) - lag, lag + 1, sequences))
    by_lag[:, lag] = np.exp(total[lag:] - total[:-lag])
    by_lag = by_lag[::every]
    return Arrival(by_lag, 0, np.ones(by_lag.shape, bool), float(every))


@pytest.mark.parametrize(
    ("steps", "sequences", "every"), [(40, 2, 1), (40, 3, 1), (170, 1, 1), (40, 2, 5), (170, 2, 40)]
)
def test_ways_back_that_overlap_are_no_evidence_of_their_own(steps, sequences, every):
    """10 outputs 30 steps back share nearly all of their way: that is one piece of evidence a sequence, not 10."""
    rng, lag, hits = np.random.default_rng(6), 30, 0
    truth = overlapping(rng, steps, lag, 4000, every).typical(lag)
    for _ in range(200):
        found = overlapping(rng, steps, lag, sequences, every)
        low, high = found.typical_interval(lag, found.draws([lag])[0][:, 0], 0.9)
        hits += low <= truth <= high
    assert hits >= 168, hits  # binomial: 180 +- 4


def test_the_typical_sequences_come_first():
    by_lag = np.ones((1, 2, 7))
    by_lag[0, 1] = [0.0, 5.0, np.inf, 1e-9, 0.3, 0.2, 7.0]  # the last one sends nothing
    by_lag[0, 0, 6] = 0.0
    found = Arrival(by_lag, 0, np.ones(by_lag.shape, bool)).typical_first(1)
    assert set(found[:2]) == {4, 5} and set(found[2:4]) == {3, 1} and set(found[4:]) == {0, 2}


def test_neighbouring_outputs_of_a_sample_lie_apart():
    flow = gradient_flow(SCALAR, None, np.ones((T, 3, 2)), lambda u: jnp.sum(u.outputs), max_pairs=1500)
    times = np.asarray(flow.output_times)
    assert_allclose(flow.arrival().apart, np.diff(times).mean(), rtol=1e-12)
    assert gradient_flow(SCALAR, None, np.ones((T, 3, 2)), last).arrival().apart == 1


def test_ways_back_that_are_cut_do_not_count():
    xs = np.stack([np.full((T, 4), 0.97), np.ones((T, 4))], axis=-1)
    resets = np.zeros((T, 4), bool)
    resets[::4] = True
    for options in ({"resets": resets}, {"truncate": 4}, {"resets": resets, "reverse": True}):
        how = partial(gradient_flow, SCALAR, None, xs, lambda u: jnp.sum(u.outputs), **options)
        flow = jax.jit(how)()
        assert_allclose(flow.verdict(2).arriving, 0.97**2, rtol=1e-12)
        with pytest.raises(InputError, match="a lag from 0 to 3, the longest way back that is not cut"):
            flow.verdict(4)


def test_padding_and_rest_are_no_bounded_states():
    gains = np.full((T, 12), 0.3)
    xs = np.stack([np.exp(gains), np.ones_like(gains)], axis=-1)
    lengths = np.array([18] * 11 + [T])
    assert gradient_flow(SCALAR, None, xs, last, lengths=lengths).verdict(17).kind == "exploding"
    still = xs * np.array([1.0, 0.0])
    assert gradient_flow(SCALAR, None, still, last).verdict(17).kind == "exploding"
