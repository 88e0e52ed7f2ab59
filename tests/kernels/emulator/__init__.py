"""The device kernels on a CPU: compiled by the C++ compiler against an emulator of a GPU, launched by the shipped code.

`device.cuh` here stands for the one with PTX; every other .cuh file is the shipped one.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import jax

from jrnn.kernels.cuda import build, gpu
from jrnn.kernels.cuda.plan import Plan, Target, filled
from jrnn.kernels.implementations.cuda import Cuda

HERE = Path(__file__).parent
COMPILER = shutil.which(os.environ.get("CXX", "c++"))
WHY = "no C++ compiler" if COMPILER is None else None
FLAGS = ["-std=c++17", "-O1", "-shared", "-fPIC", "-fno-gnu-unique", "-Wno-unknown-pragmas"]


@cache
def folder():
    made = Path(tempfile.gettempdir()) / f"jrnn-emulator-{os.getuid()}"
    made.mkdir(exist_ok=True)
    return made


def compile(source, *flags, sources=build.PLACE):
    """The shared library of a C++ source; made once for all processes and runs, as long as no file changes."""
    files = [*HERE.glob("*"), *sources.glob("*"), *build.PLACE.parent.glob("native/ffi.h")]
    texts = [path.read_text() for path in sorted(files) if path.suffix in (".h", ".cuh", ".cc")]
    library = folder() / f"{sha256(repr((source, flags, FLAGS, texts)).encode()).hexdigest()[:24]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder()) as room:
            file, made = Path(room) / "kernel.cc", Path(room) / "kernel.so"
            file.write_text(source)
            includes = ["-I", str(HERE), "-I", str(sources)]
            command = [COMPILER, *FLAGS, *includes, *flags, str(file), "-o", str(made), "-ldl"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[:3000]
            os.replace(made, library)
    return library


@cache
def host():
    """The launcher with the emulated driver, known to XLA."""
    headers = str(jax.ffi.include_dir())
    library = compile((HERE / "host.cc").read_text().replace('"../../..', f'"{HERE.parents[2]}'), "-isystem", headers)
    os.environ["JRNN_CUDA_DRIVER"] = str(library)
    loaded = ctypes.CDLL(str(library))
    loaded.emulator_seen.restype = ctypes.POINTER(ctypes.c_int * 8)
    jax.ffi.register_ffi_target(Emulated.call, jax.ffi.pycapsule(loaded.jrnn_cuda_emulated), platform="cpu")
    return loaded


def begin(seed, largest_cluster=16):
    """From here on threads run in an order drawn from `seed`."""
    host().emulator_begin(seed, largest_cluster)


def seen():
    """What the driver was asked for since `begin`."""
    names = "launches blocks cluster threads bytes loaded shared large".split()
    return dict(zip(names, host().emulator_seen().contents))


class Emulated:
    """In the place of `implementations.cuda.Gpu`."""

    backend = "cpu"
    call = "jrnn_cuda_emulated"

    @staticmethod
    def target():
        return Target((9, 0))

    @staticmethod
    def missing():
        return WHY or (host() and None)

    @staticmethod
    def has_room(plan):
        return gpu.clusters(host(), Emulated.code(plan), plan) > 0

    @staticmethod
    def code(plan):
        host()
        return str(compile(plan.source)).encode()


@dataclass(frozen=True, eq=False)
class EmulatedCuda(Cuda):
    """The kernels with a cluster, tiles and k-steps in registers that the test asks for, whatever is best."""

    device: object = Emulated
    cluster: int | None = None
    tiles: int = 1
    held: int | None = None

    def plan(self, direction, recurrence, dtype, units, tiles=1):
        plan = super().plan(direction, recurrence, dtype, units, tiles)
        if self.cluster is None or not isinstance(plan, Plan):
            return plan
        plan = filled(replace(plan, cluster=self.cluster, tiles=self.tiles))
        return plan if self.held is None else replace(plan, held=self.held)
