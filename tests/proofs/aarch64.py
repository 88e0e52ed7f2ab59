"""The table of cases by the kernel built for ARM: its very library, run by an emulator, driven from here.

    python -m tests.proofs.aarch64                          # builds the kernel with the flags that a wheel has
    python -m tests.proofs.aarch64 dist/*aarch64.whl        # what a wheel holds

Needs Debian's g++-aarch64-linux-gnu and qemu-user. Python and JAX run here; every call of the kernel goes through a
pipe to `aarch64.cc`, which has loaded the library: numbers (int64), then the arrays in the order of the handlers, each
after its leading axis, its count and the bytes of a number.
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
AARCH64 = b"\xb7\x00"
"""ELF's number for the machine."""
STORAGE = {"float32": 0, "float64": 1, "bfloat16": 2}


def emulator():
    """The program that runs ARM's programs, or None."""
    return next(filter(None, map(shutil.which, EMULATORS)), None)


def missing():
    """What this needs and does not find, or None."""
    here = shutil.which(COMPILER) and emulator()
    return None if here else "needs Debian's g++-aarch64-linux-gnu and qemu-user"


def built(folder):
    """The library, by `setup.py`; CXXFLAGS count."""
    build = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", folder, "--build-temp", folder]
    subprocess.run(build, cwd=ROOT, env=os.environ | {"CXX": COMPILER}, check=True)
    return Path(folder, "jrnn", "kernels", "_recurrence.so")


def unpacked(wheel, folder):
    """The library of a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return Path(opened.extract("jrnn/kernels/_recurrence.so", folder))


class Machine:
    """The other end of the pipe; its `ffi_call` stands where JAX's does."""

    def __init__(self, library, folder, threads=2):
        program = Path(folder, "aarch64")
        flags = "-std=c++17 -O1 -Wall -Wextra -Werror -pthread".split()
        subprocess.run([COMPILER, *flags, "tests/proofs/aarch64.cc", "-o", program, "-ldl"], cwd=ROOT, check=True)
        command = [emulator(), "-L", ITS_FILES, program, library, str(threads)]
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
        """Ends the program, which runs to the end of its input."""
        self.process.stdin.close()
        assert self.process.wait(60) == 0


def run(machine, cases):
    """Holds the cases by that machine against loops and the spec; in a process that has compiled none of them."""
    from jrnn.kernels.implementations import native
    from tests.kernels.agreement import check
    from tests.kernels.test_kernels_values import test_tanh_and_sigmoid_within_4_ulp

    with (
        mock.patch.object(native, "library", lambda: machine),
        mock.patch.object(jax.ffi, "ffi_call", machine.ffi_call),
    ):
        for case in cases:
            check(case)
            print(f"{case}: agrees", flush=True)
        for dtype in (np.float32, np.float64):
            test_tanh_and_sigmoid_within_4_ulp(dtype)
    machine.close()
    print(f"{len(cases)} cases, {machine.calls} calls of the kernel: all agree")


def cases():
    """Those of the table whose recurrence the kernel has."""
    from jrnn.kernels import RECURRENCES
    from tests.kernels.cases import CASES

    return [case for case in CASES if RECURRENCES[case.kind].native is not None]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", help="a wheel for aarch64")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth case alone")
    asked = parser.parse_args()
    if why := missing():
        print(f"skipped: {why}")
        return 0
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as folder:
        library = unpacked(asked.wheel, folder) if asked.wheel else built(folder)
        assert library.read_bytes()[18:20] == AARCH64, f"{library} is for another machine"
        run(Machine(library, folder), cases()[:: asked.every])
    return 0


if __name__ == "__main__":
    sys.exit(main())
