"""Runs of `worker` as processes, and what they leave."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from jrnn.training.storage import checkpoints

WORKER = Path(__file__).with_name("worker.py")


def start(out, steps, slow=0.0, *, resume=True):
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


def assert_same_run(ours, theirs):
    assert ours[0] == theirs[0] and ours[1].keys() == theirs[1].keys() and ours[2] == theirs[2]
    for name, array in theirs[1].items():
        np.testing.assert_array_equal(ours[1][name], array, strict=True)
