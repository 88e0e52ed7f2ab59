"""How much a whole training gradient launches on a GPU: compiled by XLA for an H100 that is not there."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jrnn.kernels.implementations import native
from jrnn.kernels.implementations.xla import UNROLL

PLUGIN = "jax_cuda13_plugin"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec(PLUGIN) is None, reason=f"{PLUGIN} is not installed"),
    pytest.mark.skipif(isinstance(native.library(), str), reason=str(native.library())),
]
ROOT = Path(__file__).parents[2]


def listed(*arguments):
    """XLA's list of what the program launches."""
    command = [sys.executable, "-m", "tests.proofs.h100", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def launches(*arguments):
    return re.findall(r"^ *\d+: +(\w+)", listed(*arguments), re.M)


def in_loops(text):
    """How often each loop of a list launches something in a turn, its condition and counter included."""
    loops = re.findall(r"kWhile.*\n((?: *condition:\n| *body:\n| +\d+: .*\n)+)", text)
    return [len(re.findall(r"\d+: +k(?!Async|DynamicSlice)\w+", loop)) for loop in loops]


@pytest.mark.parametrize("cell, steps", [("lstm", 1024), ("lstm", 64), ("gru", 1024), ("elman", 1024)])
def test_a_training_gradient_is_twelve_launches_at_any_length(cell, steps):
    found = launches(cell, "cuda", steps)
    assert found.count("kCustomCall") == 2, found  # forwards and backwards
    assert len(found) <= 12, found


def test_a_loop_of_launches_would_be_seen():
    """The test of the test: by XLA's own operations there is a loop over the steps."""
    assert "kWhile" in launches("elman", "xla", 64)


@pytest.mark.parametrize("cell, most", [("lstm", 12), ("gru", 12), ("elman", 12)])
def test_xlas_loops_launch_little_a_step(cell, most):
    (forward,) = in_loops(listed(cell, "xla", 1024, "forward"))
    both = in_loops(listed(cell, "xla", 1024))
    assert len(both) == 2
    assert 2 <= forward / UNROLL <= 5 and 4 <= sum(both) / UNROLL <= most, (forward, both)
