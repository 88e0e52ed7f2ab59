"""How numbers are worded for people."""

from dataclasses import replace

import numpy as np
import pytest

from jrnn.report.table import table_rows
from jrnn.wording import (
    compact,
    confidence,
    from_to,
    half_life,
    halving,
    kept,
    nats,
    number,
    part_of,
    percentage,
    score,
    steps,
)
from tests.report import samples


def test_numbers_as_people_read_them():
    assert [percentage(x) for x in (3.4e-5, 3.4e-6)] == ["0.0034 %", "3.4e-04 %"]
    assert [percentage(x) for x in (1, 0.996, 0.12, 0.0034, 2.1e-9, 0, 3.1, 310.0)] == [
        "100 %",
        "100 %",
        "12 %",
        "0.34 %",
        "2.1e-07 %",
        "0 %",
        "310 %",
        "310 times",
    ]
    assert percentage(np.inf) == percentage(np.nan) == "not finite"
    assert [number(x) for x in (0, 0.5, 12345, 1e-9, np.inf, -np.inf, np.nan)] == [
        "0",
        "0.5",
        "12,345",
        "1.0e-09",
        "inf",
        "-inf",
        "nan",
    ]
    assert half_life(-np.log(2) / 5) == pytest.approx(5) and half_life(-np.inf) == 0 and half_life(0.0) == np.inf
    assert halving(-0.2) == "halves in 3.47 steps" and halving(np.log(2)) == "doubles in 1 step"
    assert halving(-np.inf) == "falls to exactly 0" and halving(np.nan) == "not finite"
    assert halving(0.0) == halving(1e-9) == "keeps its size"
    assert [steps(1), steps(1.0), steps(2000), steps(3.456)] == ["1 step", "1 step", "2,000 steps", "3.46 steps"]
    assert [steps(1, True), steps(63, False)] == ["at least 1 step", "63 steps"]
    assert (nats(0.3), nats(-np.inf)) == ("+0.300 nats", "-inf nats")
    assert (nats(-0.07, 0.0049), nats(-0.07, np.inf)) == ("-0.070 ± 0.005 nats", "-0.070 nats")
    assert [kept(x) for x in (0.0, np.log(0.045), -np.inf, np.log(31))] == ["100 %", "4.5 %", "0 %", "31 times"]
    assert (confidence(0.995), confidence(0.99)) == ("99.5 % confidence", "99 % confidence")
    assert (score("accuracy", 0.934), score("loss", 0.934)) == ("93.4 %", "0.934")


def test_tenfold_and_more_is_said_in_times():
    assert [percentage(x) for x in (9.97, 9.994, 9.996, 1234.5)] == ["997 %", "999 %", "10 times", "1,234 times"]
    assert [compact(x) for x in (9.97, 9.996)] == ["997 %", "10×"]
    assert (part_of(0.12, "the gradient"), part_of(31, "the gradient")) == (
        "12 % of the gradient",
        "31 times the gradient",
    )
    assert (from_to(0.03, 31), from_to(0, np.inf)) == ("3 % to 31 times", "0 % or more")


@pytest.mark.parametrize("fraction", [2.1e-9, 0.0034, 0.12, 0.996, 3.1, 9.97, 9.996, 1234.5])
def test_the_verdict_and_the_table_word_a_number_alike(fraction):
    stage = samples.diagnosis().stages[-1]
    lag = stage.flow.lag
    arriving = np.append(stage.flow.arriving[:lag], fraction)
    verdict = replace(stage.flow.judgement, arriving=fraction, arriving_interval=(fraction, np.inf))
    stage = replace(stage, flow=replace(stage.flow, arriving=arriving, judgement=verdict))
    row = next(row for row in table_rows(samples.diagnosis(stages=(stage,))) if row.strong)
    assert f" {part_of(fraction, 'the gradient')} arrives ({row.values[0]} or more at" in stage.flow.sentence
