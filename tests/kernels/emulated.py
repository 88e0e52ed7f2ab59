"""The table of cases by the kernel of another machine: its very library, run by an emulator, driven from here.

    python -m tests.kernels.emulated                          # builds the kernel for ARM, -O3 as a wheel has it
    python -m tests.kernels.emulated dist/*aarch64.whl        # what a wheel holds

Needs Debian's g++-aarch64-linux-gnu and qemu-user. Python and JAX run here; every call of the kernel goes through a
pipe to `emulated.cc`, which has loaded the library: numbers (int64), then the arrays in the order of the handlers.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from unittest import mock

import jax
import numpy as np

ROOT = Path(__file__).parents[2]
COMPILER, EMULATORS = "aarch64-linux-gnu-g++", ("qemu-aarch64", "qemu-aarch64-static")
ITS_FILES = "/usr/aarch64-linux-gnu"
STORAGE = {"float32": 0, "float64": 1, "bfloat16": 2}


def emulator():
    """The program that runs ARM's programs, or None."""
    return next(filter(None, map(shutil.which, EMULATORS)), None)


def missing():
    """What this needs and does not find, or None."""
    if not (shutil.which(COMPILER) and emulator()):
        return "needs Debian's g++-aarch64-linux-gnu and qemu-user"
    return None


def built(folder):
    """The library, by `setup.py`."""
    build = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", folder, "--build-temp", folder]
    subprocess.run(build, cwd=ROOT, env=os.environ | {"CXX": COMPILER}, check=True)
    return Path(folder, "jrnn", "kernels", "_recurrence.so")


def unpacked(wheel, folder):
    """The library of a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return Path(opened.extract("jrnn/kernels/_recurrence.so", folder))


class Machine:
    """Stands where `jax.ffi.ffi_call` does."""

    def __init__(self, compiler, runner, library, folder, threads=2):
        program = Path(folder, "emulated")
        flags = "-std=c++17 -O1 -Wall -Wextra -Werror -pthread".split()
        subprocess.run([compiler, *flags, "tests/kernels/emulated.cc", "-o", program, "-ldl"], cwd=ROOT, check=True)
        command = [*runner, program, library, str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.calls = 0

    def ffi_call(self, name, outputs):
        """A call that waits for the other machine."""

        def run(*inputs, sizes, reverse):
            return jax.pure_callback(partial(self.solve, name, outputs, sizes, reverse), outputs, *inputs)

        return run

    def solve(self, name, outputs, sizes, reverse, *inputs):
        """Arrays in, arrays out."""
        inputs, self.calls = [np.ascontiguousarray(a) for a in inputs], self.calls + 1
        storage = STORAGE[str(inputs[2].dtype)]  # of w_rec, as the handlers ask
        to, found = self.process.stdin, self.process.stdout
        to.write(np.asarray([name == "jrnn_backward", storage, *sizes, *reverse], np.int64).tobytes())
        for array in inputs:
            to.write(np.asarray([len(array), array.size, array.itemsize], np.int64).tobytes() + array.tobytes())
        for array in outputs:
            to.write(np.asarray([array.shape[0], array.size, array.dtype.itemsize], np.int64).tobytes())
        to.flush()
        return [np.frombuffer(found.read(a.size * a.dtype.itemsize), a.dtype).reshape(a.shape) for a in outputs]

    def close(self):
        """Ends the program, which reads to the end of its input."""
        self.process.stdin.close()
        assert self.process.wait(60) == 0


def run(machine, cases):
    """Holds the cases by that machine against the loops and the spec; the number of its calls."""
    from jrnn.kernels.implementations import native

    from .agreement import check
    from .test_kernels_values import test_tanh_and_sigmoid_within_4_ulp

    with mock.patch.object(native, "library", lambda: machine), mock.patch.object(jax.ffi, "ffi_call", machine.ffi_call):
        for case in cases:
            check(case)
            print(f"{case}: agrees", flush=True)
        for dtype in (np.float32, np.float64):
            test_tanh_and_sigmoid_within_4_ulp(dtype)
    machine.close()
    return machine.calls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", help="a wheel for aarch64")
    wheel = parser.parse_args().wheel
    if why := missing():
        print(f"skipped: {why}")
        return 0
    jax.config.update("jax_enable_x64", True)
    from jrnn.kernels import RECURRENCES

    from .cases import CASES

    cases = [case for case in CASES if RECURRENCES[case.kind].native is not None]
    with tempfile.TemporaryDirectory() as folder:
        library = unpacked(wheel, folder) if wheel else built(folder)
        calls = run(Machine(COMPILER, [emulator(), "-L", ITS_FILES], library, folder), cases)
    print(f"{len(cases)} cases, {calls} calls: all agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
