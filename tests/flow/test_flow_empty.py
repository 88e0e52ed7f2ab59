"""No sequences, no steps, one step: empty results of the right shapes; refused only where a number has no meaning."""

import jax
import numpy as np
import pytest

import jrnn

from .instruments import CELLS, INSTRUMENTS, a_case, as_float64, loss

FULL = (7, 5)
SHAPES = [(0, 5), (1, 5), (7, 0)]
INFINITE = ("standard_errors", "step_max_norm")
"""What is infinite where there is nothing to measure."""


def lengths_for(steps: int, sequences: int) -> dict[int, int]:
    """What becomes of the lengths of axes: N = 3 units, F = 2 inputs, W = 3 windows keep theirs."""
    return {7: steps, 8: steps + 1, 4: -(-steps // 2), 5: sequences}


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_shapes_and_numbers(instrument):
    measure = INSTRUMENTS[instrument]
    whole = as_float64(measure(a_case(CELLS["elman"], "float32", *FULL)))
    for steps, sequences in SHAPES:
        if instrument in ("lyapunov_spectrum", "renewed_seldom") and not steps:
            with pytest.raises(jrnn.InputError, match="xs: got no steps, T = 0"):
                measure(a_case(CELLS["elman"], "float32", steps, sequences))
            continue
        found = as_float64(measure(a_case(CELLS["elman"], "float32", steps, sequences)))
        named = lengths_for(steps, sequences)
        for field, value in found.items():
            where = f"T = {steps}, B = {sequences}: {field}"
            assert not np.isnan(value).any(), where
            assert np.isfinite(value).all() or any(kind in field for kind in INFINITE), where
            if instrument != "sampled_flow":  # too short to be sampled
                assert value.shape == tuple(named.get(n, n) for n in whole[field].shape), where


@pytest.mark.parametrize("steps, sequences", [(0, 5), (7, 0), (0, 0)])
def test_a_verdict_of_nothing_is_refused(steps, sequences):
    """And so is a summary, which is one."""
    case = a_case(CELLS["elman"], "float32", steps, sequences)
    flow = jrnn.gradient_flow(case.cell, case.params, case.xs, loss)
    with pytest.raises(jrnn.InputError, match="lag: got 0; need a run in which some output carries gradient"):
        flow.verdict(0)
    with pytest.raises(jrnn.InputError, match="xs: .* at least one step and sequence"):
        jrnn.flow.summarise(case.cell, case.params, case.xs, loss, lag=0)


@pytest.mark.thorough
def test_one_step_has_a_verdict_at_lag_0():
    case = a_case(CELLS["elman"], "float32", 1, 2)
    flow = jrnn.gradient_flow(case.cell, case.params, case.xs, loss)
    assert flow.verdict(0).kind == "healthy" and "one step long" in flow.verdict(0).sentence
    summary = jrnn.flow.summarise(case.cell, case.params, case.xs, loss, lag=0)
    assert summary.verdict == "healthy" and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(summary.credit))
