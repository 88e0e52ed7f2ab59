"""What a run says of itself where its output is a pipe or a file."""

import pytest

from jrnn.training.telemetry import metric_log
from jrnn.training.telemetry.metric_log import LINE_EVERY, Bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    time = {"now": 0.0}
    monkeypatch.setattr(metric_log.time, "perf_counter", lambda: time["now"])
    return time


def row(step):
    return {"step": step, "loss": 0.25, "grad_norm": 2.0, "clipped": step % 2, "skipped": 0}


def test_a_line_every_few_seconds_with_the_time_left(clock, capsys):
    bar = Bar(0, 1000)
    for now, step in ((30.0, 0), (31.0, 99), (30.0 + LINE_EVERY, 499), (32.0 + LINE_EVERY, 599)):
        clock["now"] = now
        bar.advance([row(step)])
    clock["now"] = 130.0
    bar.advance([row(600)])
    bar.close()
    lines = [line for line in capsys.readouterr().out.splitlines() if "left" in line]
    assert lines[0] == "1/1000  loss 0.25  norm 2  clipped 0 %  0/s  time left: not known yet"
    assert lines[1].startswith("500/1000 ") and lines[1].endswith("  5 s left")  # 499 steps in 5 s, 500 to go
    assert lines[2].startswith("601/1000 ") and lines[2].endswith("  66 s left")  # 600 steps in 100 s, 399 to go
    assert len(lines) == 3


def test_minutes(clock, capsys):
    bar = Bar(10, 10_010)
    for now, step in ((10.0, 10), (20.0, 110)):
        clock["now"] = now
        bar.advance([row(step)])
    bar.close()
    assert "16 min left" in capsys.readouterr().out  # 100 steps in 10 s, 9,899 to go
