"""Of the cost of Flax modules: the ratios, whose speed is shown, and the modules themselves."""

import pytest

from benchmarks import interop_cost
from benchmarks.interop_cost import FIGURES, FLAX, OWN, PLAIN

pytestmark = pytest.mark.thorough


def case(agree):
    times = {way: {figure: [i + 1.0, 2.0] for figure in FIGURES} for i, way in enumerate((PLAIN, *OWN, *FLAX))}
    return {"cell": "lstm", "size": "S", "seconds": times, "agree": agree}


def test_ratios_are_paired_and_need_agreement():
    whole = case([PLAIN, *OWN, *FLAX])
    assert interop_cost.ratio(whole, OWN[0], "step") == pytest.approx(1.5)  # of 2/1 and 2/2
    assert interop_cost.ratio(case([PLAIN]), OWN[0], "step") is None
    shown = interop_cost.show({"rounds": 2, "target": interop_cost.TARGET, "cases": [whole]})
    assert "missed: jrnn in nnx, jrnn in linen" in shown and "lstm S" in shown


def test_all_ways_agree():
    pytest.importorskip("flax")
    found = interop_cost.measure("gru", "quick", 1)
    assert set(found["agree"]) == {PLAIN, *OWN, *FLAX}
    assert all(len(times) == 1 for way in found["seconds"].values() for times in way.values())
