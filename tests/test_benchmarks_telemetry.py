"""The benchmark of the telemetry's cost: what is divided by what. No test looks at a clock."""

import pytest

from benchmarks import telemetry_cost

pytestmark = pytest.mark.thorough


def test_ratios_are_paired_by_round_and_a_missed_target_is_named():
    times = {"plain": [1.0, 10.0, 1.0], "dL/dh_t": [1.1, 11.0, 9.0], "all gradients": [1.3, 12.0, 1.2]}
    times |= {"fit off": [2.0, 4.0, 2.0], "fit measured": [8.4, 16.8, 2.0]}
    times |= {"own loop": [1.0, 1.0, 2.0], "own loop, probed": [1.05, 2.0, 2.1], "own loop, lags": [3.0, 3.0, 6.0]}
    found = telemetry_cost.ratios(times, 20)
    expected = {"dL/dh_t": 1.1, "all gradients": 1.2, "fit, measured": 4.2, "fit": 1.16, "probe": 1.05}
    expected["probe, lags"] = 3.0
    assert found == pytest.approx(expected)
    case = {"cell": "gru", "size": "S", "flow_every": 20, "seconds": times}
    shown = telemetry_cost.show({"rounds": 3, "targets": telemetry_cost.TARGETS, "cases": [case]})
    assert "gru S" in shown and "missed: fit" in shown and "missed: dL" not in shown


def test_every_variant_is_measured_in_every_round():
    found = telemetry_cost.measure("elman", "quick", 2)
    assert {len(times) for times in found["seconds"].values()} == {2}
    assert found["seconds"].keys() == {name for pair in telemetry_cost.PAIRS.values() for name in pair}
