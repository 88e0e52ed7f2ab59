"""The script for a GPU, rehearsed where there is none: on the emulator, each part in this process."""

import os

import pytest

from benchmarks import accelerator
from benchmarks.device_jobs import Worker
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
        assert found["check"]["right"], found
        assert found["case"][0] not in accelerator.CELLS or set(found["cuda"]) == set(accelerator.KINDS), found
    shown = accelerator.show(report)
    assert len(said) == len(accelerator.QUICK) + 2 and "cuda step" in shown and "xla forward" in shown


def test_a_kernel_that_is_wrong_or_fails_is_not_timed():
    def ask(function, *arguments):
        if function is accelerator.check:
            return {"error": 1.0, "repeats": True, "right": False} if arguments[1][0] == "lstm" else "no answer in 90 s"
        if function is accelerator.compile_all:
            return {"seconds": 0.0}
        return {"platform": "gpu"} if function is accelerator.device_facts else pytest.fail("timed")

    report = accelerator.run(True, lambda line: None, ask)
    assert "no answer in 90 s" in accelerator.show(report) and report["kernel"] == "cuda"


def test_without_a_device_it_says_so():
    report = accelerator.run(True, lambda line: None, lambda function, *arguments: {"platform": "cpu"})
    assert report["cases"] == [] and "nothing was measured" in accelerator.show(report)


def wait_for_ever():
    while True:
        pass


def test_a_worker_that_gives_no_answer_is_ended():
    worker = Worker(0.3)
    assert worker(wait_for_ever) == "no answer in 0.3 s" and worker.process is None


def process(fails):
    if fails:
        raise ValueError("the device is gone")
    return {"process": os.getpid()}


def end():
    os._exit(3)


def test_after_an_error_another_process_goes_on():
    worker = Worker(90)
    first = worker(process, False)
    assert first == worker(process, False)
    assert worker(process, True) == "ValueError: the device is gone"
    second = worker(process, False)
    assert second != first
    assert worker(end) == "its process ended" and worker(process, False) not in (first, second)


def test_no_job_is_begun_when_the_time_is_over():
    assert Worker(90, until=0.0)(end) == "no time was left"
