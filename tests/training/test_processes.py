"""Real processes: killed at any moment, interrupted, continued."""

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

from jrnn.training import checkpoints

WORKER = Path(__file__).with_name("worker.py")
STEPS = 12


def start(out, slow=0.0, *, steps=STEPS, resume=True):
    """The worker, once it has imported everything."""
    command = [sys.executable, str(WORKER), str(out), str(steps), str(slow), *(["resume"] if resume else [])]
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[2]), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def until(condition, process, limit=60.0):
    """Waits for something on disk."""
    end = time.monotonic() + limit
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.002)


def kept(out):
    """Everything a finished run left: arrays of the last checkpoint, and the metrics."""
    stored = checkpoints.newest(out / "checkpoints")
    arrays = {
        (name, leaf["path"]): array
        for name, tree in stored.trees.items()
        for leaf, array in zip(tree["leaves"], tree["arrays"], strict=True)
    }
    return stored.about["metadata"]["step"], arrays, (out / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole")
    worker.run(out, STEPS)
    return kept(out)


def assert_same_run(ours, theirs):
    assert ours[0] == theirs[0] and ours[1].keys() == theirs[1].keys() and ours[2] == theirs[2]
    for name, array in theirs[1].items():
        np.testing.assert_array_equal(ours[1][name], array, strict=True)


def test_killed_at_random_moments_and_resumed_equals_never_interrupted(tmp_path, whole):
    """kill -9 while a checkpoint is being written, and at random moments: the end has the same bits."""
    folder, rng = tmp_path / "checkpoints", random.Random(0)
    process = start(tmp_path, 0.02)
    until(lambda: folder.exists() and any(not p.name.isdecimal() for p in folder.iterdir()), process)
    process.kill()  # SIGKILL in the middle of the first write
    process.communicate()
    for seen in (3, 6):
        process = start(tmp_path, 0.02)
        until(lambda seen=seen: (folder / str(seen)).exists(), process)
        time.sleep(rng.uniform(0.0, 0.06))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
    process = start(tmp_path)
    output, errors = process.communicate()
    assert output == f"done {STEPS}\n", errors
    assert_same_run(kept(tmp_path), whole)
    assert all(p.name.isdecimal() for p in folder.iterdir())


def test_ctrl_c_saves_says_how_to_go_on_and_the_rest_is_the_same(tmp_path, whole):
    process = start(tmp_path, 0.05, resume=False)
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
    output, errors = start(tmp_path).communicate(timeout=60)
    assert output == f"done {STEPS}\n", errors
    assert_same_run(kept(tmp_path), whole)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    process = start(tmp_path, 3.0, resume=False)
    until(lambda: (tmp_path / "metrics.jsonl").exists(), process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors and output == ""
