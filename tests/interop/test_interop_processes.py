"""Two processes that train together end with the parameters of one."""

import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.interop.processes import trained


@pytest.mark.thorough
def test_two_processes_train_to_the_parameters_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.interop.processes", address, "2"]
    running = [
        subprocess.Popen(
            [*command, str(i), tmp_path / f"{i}.npz"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    if any("Multiprocess computations aren't implemented" in line for line in said):
        pytest.skip("this JAX has no collectives between CPU processes")
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
    start, wanted = trained(jax.devices()[:1])
    assert max(np.max(np.abs(a - b)) for a, b in zip(start, wanted, strict=True)) > 0.05
    for i in range(2):
        with np.load(tmp_path / f"{i}.npz") as found:
            for j, array in enumerate(wanted):
                np.testing.assert_allclose(found[f"arr_{j}"], array, rtol=1e-10, atol=1e-12)
