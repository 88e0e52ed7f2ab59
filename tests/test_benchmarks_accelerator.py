"""The script for a GPU, rehearsed where there is none: on the emulator, each part in this process."""

import pytest

from benchmarks import accelerator
from jrnn.kernels import IMPLEMENTATIONS

from .kernels import emulator


def in_this_process(function, *arguments):
    return function(*arguments)


@pytest.mark.thorough
@pytest.mark.skipif(emulator.WHY is not None, reason=str(emulator.WHY))
def test_the_script_runs_from_the_check_to_the_table(monkeypatch):
    pytest.importorskip("flax")
    monkeypatch.setitem(IMPLEMENTATIONS, "cuda", emulator.EmulatedCuda(cluster=2))
    said = []
    report = accelerator.run(True, said.append, in_this_process, "cuda")
    for found in report["cases"]:
        assert found["check"]["right"] and set(found["cuda"]) == set(accelerator.KINDS), found
    shown = accelerator.show(report)
    assert len(said) == len(accelerator.QUICK) and "cuda step" in shown and "xla forward" in shown


def test_a_kernel_that_is_wrong_or_fails_is_not_timed():
    def ask(function, *arguments):
        if function is accelerator.check:
            return {"error": 1.0, "repeats": True, "right": False} if arguments[1][0] == "lstm" else "no answer in 90 s"
        return {"platform": "gpu"} if function is accelerator.device_facts else pytest.fail("timed")

    report = accelerator.run(True, lambda line: None, ask)
    assert "no answer in 90 s" in accelerator.show(report) and report["kernel"] == "cuda"


def test_without_a_device_it_says_so():
    report = accelerator.run(True, lambda line: None, lambda function, *arguments: {"platform": "cpu"})
    assert report["cases"] == [] and "nothing was measured" in accelerator.show(report)


def wait_for_ever():
    while True:
        pass


def test_a_worker_that_gives_no_answer_is_ended(monkeypatch):
    monkeypatch.setattr(accelerator, "LIMIT", 0.3)
    worker = accelerator.Worker()
    assert worker(wait_for_ever) == "no answer in 0.3 s" and worker.process is None
