"""Data-parallel training with the batch axis sharded over 2 and 4 devices, in a fresh process."""

import subprocess
import sys

import pytest


@pytest.mark.thorough
def test_gradients_and_parameters_are_those_of_one_device():
    done = subprocess.run([sys.executable, "-m", "tests.interop.sharded"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[name, n] for n in ("2", "4") for name in ("unroll", "linen", "nnx")]
    assert all(float(error) < 1e-6 for _, _, error in lines), lines
