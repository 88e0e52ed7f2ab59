"""Builds the compiled kernel where there is a C++ compiler; without one jrnn installs all the same and says why."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCE = Path("jrnn/kernels/native")
LAUNCH = Path("jrnn/kernels/cuda/launch.cc")  # of the kernels that GPUs run: it needs nothing of CUDA
# The baseline comes first: of a template that several objects instantiate the linker takes the first, for all machines.
X86 = {
    "baseline": (16, ["-march=x86-64"]),
    "avx2": (32, ["-march=x86-64-v3"]),
    "avx512": (64, ["-march=x86-64-v4"]),
    "avx512_bf16": (64, ["-march=x86-64-v4", "-mavx512bf16", "-DJRNN_PAIRS"]),
}
OTHERS = {"baseline": (16, [])}  # ARM's NEON, say: vectors of 16 bytes are every compiler's


def ffi_headers():
    """Where jaxlib keeps XLA's headers."""
    import jaxlib

    return str(Path(jaxlib.__file__).parent / "include")


class BuildKernel(build_ext):
    """A plain shared library, loaded by its path: one for all versions of Python."""

    def get_ext_filename(self, fullname):
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext):
        library = Path(self.get_ext_fullpath(ext.name))
        reason, checksum = library.with_suffix(".txt"), library.with_suffix(".sum")
        library.parent.mkdir(parents=True, exist_ok=True)
        for old in (library, reason, checksum):
            old.unlink(missing_ok=True)
        try:
            self.compile_kernel(library)
            content = library.read_bytes()  # `jrnn.kernels.implementations.native` loads nothing else
            checksum.write_text(f"{len(content)} {hashlib.sha256(content).hexdigest()}\n")
        except Exception as error:  # whatever it is, an install without the kernel is better than none
            reason.write_text(f"{error}\n", encoding="utf-8")
            print(f"jrnn: installing without the compiled kernel: {error}", file=sys.stderr)

    def copy_extensions_to_source(self):
        """Of an editable install: the library with its checksum, or why there is none, goes beside the sources."""
        for ext in self.extensions:
            name = Path(self.get_ext_filename(self.get_ext_fullname(ext.name)))
            for file in (name, name.with_suffix(".sum"), name.with_suffix(".txt")):
                if Path(self.build_lib, file).exists():
                    part = file.with_name(f"{file.name}.part")  # a process may be running the old one
                    shutil.copy2(Path(self.build_lib, file), part)
                    part.replace(file)
                else:
                    file.unlink(missing_ok=True)

    def compile_kernel(self, library):
        compiler = shlex.split(os.environ.get("CXX", "c++"))
        flags = ["-std=c++17", "-fPIC", "-O3", *shlex.split(os.environ.get("CXXFLAGS", ""))]
        folder = Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        hosts = {"handlers": SOURCE / "handlers.cc", "launch": LAUNCH}
        jobs = {name: (flags, ["-isystem", ffi_headers(), str(file)]) for name, file in hosts.items()}
        target = command([*compiler, *flags, "-dumpmachine"])  # the machine it compiles for, which need not be this one
        for name, (width, own) in (X86 if target.startswith(("x86_64", "amd64")) else OTHERS).items():
            own = [*flags, *own, f"-DJRNN_ISA={name}", f"-DJRNN_VECTOR_BYTES={width}"]
            jobs[name] = (own, [str(SOURCE / "kernel.cc")])

        def compile_one(job):
            name, (flags, source) = job
            made, kept = folder / f"{name}.o", os.environ.get("JRNN_OBJECTS")
            if kept:
                made = Path(kept, f"{name}-{meaning(compiler, flags, source)}.o")
                made.parent.mkdir(parents=True, exist_ok=True)
            if not kept or not made.exists():
                part = made.with_name(f"{made.name}.{os.getpid()}.part")
                command([*compiler, *flags, *source, "-c", "-o", str(part)])
                part.replace(made)
            return str(made)

        with ThreadPoolExecutor() as pool:
            objects = list(pool.map(compile_one, jobs.items()))
        part = library.with_suffix(".part")
        command([*compiler, *flags, "-shared", "-o", str(part), *objects, "-ldl"])
        part.replace(library)


class Wheel(bdist_wheel):
    """One wheel a platform: the kernel asks nothing of Python, so that it serves all versions."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


def meaning(compiler, flags, source):
    """A digest of all that an object follows from: the compiler, its flags, the text with all that it includes."""
    text = command([*compiler, *flags, *source, "-E", "-P"])
    return hashlib.sha256(repr((compiler, command([*compiler, "--version"]), flags, text)).encode()).hexdigest()[:20]


def command(arguments):
    """Runs the compiler and returns what it printed; its own words become the error."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(
            f"no C++ compiler: {arguments[0]}: {error.strerror} (set CXX, and install jrnn again)"
        ) from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        first = next((line for line in words if "error" in line), words[-1] if words else "no message")
        raise RuntimeError(f"{arguments[0]} failed: {first}")
    return done.stdout


setup(
    ext_modules=[Extension("jrnn.kernels._recurrence", [])], cmdclass={"build_ext": BuildKernel, "bdist_wheel": Wheel}
)
