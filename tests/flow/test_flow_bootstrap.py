"""The bootstrap of what arrives, draw for draw against `arch`, which draws the same indices from the same generator."""

import numpy as np
import pytest

from jrnn.flow.verdicts.arrival import DRAWS, Arrival, interval

arch = pytest.importorskip("arch.bootstrap", reason="arch, an oracle, is not installed")


def arrival(outputs, lags, sequences):
    by_lag = np.exp(np.random.default_rng(0).normal(size=(outputs, lags, sequences)))
    return Arrival(by_lag, 0, np.ones(by_lag.shape, bool)), by_lag


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_blocks_of_outputs_are_those_of_the_circular_bootstrap(lag):
    """Of one sequence: sums over blocks that span the lag, around the end to the start (Politis and Romano 1992)."""
    found, by_lag = arrival(20, 6, 1)
    typical, mean = found.draws([lag], seed=7)
    blocks = arch.CircularBlockBootstrap(lag, by_lag[:, lag, 0], by_lag[:, 0, 0], seed=np.random.default_rng(7))
    theirs = blocks.apply(lambda arrived, sent: arrived.sum() / sent.sum(), DRAWS)
    np.testing.assert_allclose(typical, theirs, rtol=1e-12)
    np.testing.assert_allclose(mean, theirs, rtol=1e-12)


def test_sequences_are_drawn_with_replacement():
    """Of one output a sequence: medians and means of the draws; our interval holds that of the interpolated ranks."""
    found, by_lag = arrival(1, 6, 9)
    typical, mean = found.draws([4], seed=2)
    each = by_lag[0, 4] / by_lag[0, 0]
    plain = arch.IIDBootstrap(each, seed=np.random.default_rng(2))
    theirs = plain.apply(lambda ratios: np.array([np.median(ratios), ratios.mean()]), DRAWS)
    np.testing.assert_allclose(np.hstack([typical, mean]), theirs, rtol=1e-12)
    again = arch.IIDBootstrap(each, seed=np.random.default_rng(2))
    low, high = again.conf_int(np.mean, DRAWS, method="percentile", size=0.9)[:, 0]
    own = interval(mean[:, 0], 0.9)
    assert own[0] <= low < high <= own[1]
    np.testing.assert_allclose(own, (low, high), rtol=1e-2)
