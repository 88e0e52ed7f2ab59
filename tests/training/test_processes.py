"""Real processes: killed at any moment, interrupted, continued, two at once, and no room left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import worker
from runs import assert_same_run, kept, start, until

import jrnn
from jrnn import InputError
from jrnn.training import load, save
from jrnn.training.storage.locking import locked

pytestmark = pytest.mark.thorough

STEPS = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole")
    worker.run(out, STEPS)
    return kept(out)


def test_killed_at_random_moments_and_resumed_equals_never_interrupted(tmp_path, whole):
    """kill -9 while a checkpoint is being written, and at random moments: the end has the same bits."""
    folder, rng = tmp_path / "checkpoints", random.Random(0)
    process = start(tmp_path, STEPS, 0.02)
    until(lambda: folder.exists() and any(not p.name.isdecimal() for p in folder.iterdir()), process)
    process.kill()  # SIGKILL in the middle of the first write
    process.communicate()
    for seen in (3, 6):
        process = start(tmp_path, STEPS, 0.02)
        until(lambda seen=seen: (folder / str(seen)).exists(), process)
        time.sleep(rng.uniform(0.0, 0.06))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
    process = start(tmp_path, STEPS)
    output, errors = process.communicate()
    assert output == f"done {STEPS}\n", errors
    assert_same_run(kept(tmp_path), whole)
    assert all(p.name.isdecimal() for p in folder.iterdir())


def test_ctrl_c_saves_says_how_to_go_on_and_the_rest_is_the_same(tmp_path, whole):
    process = start(tmp_path, STEPS, 0.05, resume=False)
    metrics = tmp_path / "metrics.jsonl"
    until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= 4, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    state, step = output.split()
    assert (process.returncode, state) == (0, "interrupted") and 4 <= int(step) < STEPS
    assert f"interrupted after step {step} of {STEPS}" in errors
    assert f"resume=True and the same out (command line: --resume --out {tmp_path})" in errors
    assert (tmp_path / "checkpoints" / step).is_dir()
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(range(int(step)))
    output, errors = start(tmp_path, STEPS).communicate(timeout=60)
    assert output == f"done {STEPS}\n", errors
    assert_same_run(kept(tmp_path), whole)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    process = start(tmp_path, STEPS, 3.0, resume=False)
    until(lambda: (tmp_path / "metrics.jsonl").exists(), process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors and output == ""


def test_a_second_process_is_told_the_first_and_kill_9_frees_the_folder(tmp_path, whole):
    first = start(tmp_path, STEPS, 1.0)
    until(lambda: (tmp_path / "checkpoints" / "3").exists(), first)
    for resume in (True, False):
        with pytest.raises(
            InputError, match=f"out: got .*, where process {first.pid} is training; need another folder"
        ):
            worker.run(tmp_path, STEPS, resume=resume)
    save(tmp_path, jrnn.elman(4), {"w": np.ones(3)})  # into the folder of a run that goes on: both stay whole
    assert first.poll() is None
    first.kill()
    first.communicate()
    output, errors = start(tmp_path, STEPS).communicate(timeout=60)
    assert output == f"done {STEPS}\n", errors
    assert_same_run(kept(tmp_path), whole)
    assert not list(tmp_path.glob("*.lock"))


def test_a_child_that_outlives_the_run_does_not_keep_the_lock(tmp_path):
    """A worker process that a data function forked, for example."""
    program = """
import os, signal, sys, time
from pathlib import Path
from jrnn.training.storage.locking import locked
with locked(Path(sys.argv[1]), "training", "out"):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(jrnn.__file__).parents[1])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    child = int(process.stdout.readline())
    try:
        assert process.wait() == -signal.SIGKILL
        with locked(tmp_path, "training", "out", patience=5.0):
            os.kill(child, 0)  # still there
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_reader_sees_whole_checkpoints_only_and_none_too_old(tmp_path):
    """While a run writes one and removes one, again and again."""
    process = start(tmp_path, 90)
    until(lambda: (tmp_path / "checkpoints" / "3").exists(), process)
    seen = []
    while process.poll() is None:
        found = load(tmp_path)  # a warning is an error here
        seen.append(found.metadata["step"])
    assert process.communicate()[0] == "done 90\n"
    assert seen == sorted(seen) and len(set(seen)) > 3
