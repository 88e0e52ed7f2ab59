"""The compiler of the device kernels, NVRTC, which `jax[cuda12]` and `jax[cuda13]` bring, and what it made, on disk.

A kernel takes a second or two; it is kept in `~/.cache/jrnn/kernels` (or in the folder that `JRNN_CACHE` names; with
`JRNN_CACHE=off` nowhere) under a name that says which sources, plan, architecture and compiler made it. A folder that
cannot be written keeps nothing, with a warning. Several processes may compile at once: each file appears whole.

For those who look for a fault: with `JRNN_CUDA_WAIT=N` a kernel gives up, with an error, after N tries of a wait.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from jrnn.kernels.cuda.plan import Plan, Target

PLACE = Path(__file__).parent
OLDEST = (12, 1)
"""Older ones do not know all instructions of clusters."""
NEEDED = "nvidia-cuda-nvrtc, which jax[cuda12] and jax[cuda13] bring"


class Nvrtc:
    """The loaded library."""

    def __init__(self, path: Path | str) -> None:
        for other in path.parent.glob("libnvrtc-builtins.so*") if isinstance(path, Path) else ():
            ctypes.CDLL(str(other), ctypes.RTLD_GLOBAL)  # it looks for these by name, not beside itself
        self.library = ctypes.CDLL(str(path))
        numbers = ctypes.c_int(), ctypes.c_int()
        self.check(self.library.nvrtcVersion(*map(ctypes.byref, numbers)))
        self.version = numbers[0].value, numbers[1].value
        about = path.stat() if isinstance(path, Path) else None
        self.identity = repr((self.version, str(path), about and (about.st_size, about.st_mtime_ns)))

    def check(self, code: int) -> None:
        if code:
            self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise RuntimeError(f"NVRTC: {self.library.nvrtcGetErrorString(code).decode()}")

    def architectures(self) -> set[int]:
        """Those that it compiles for, 90 for sm_90."""
        count = ctypes.c_int()
        self.check(self.library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        found = (ctypes.c_int * count.value)()
        self.check(self.library.nvrtcGetSupportedArchs(found))
        return set(found)

    def compile(self, source: str, headers: dict[str, str], *options: str) -> tuple[bytes, str]:
        """(machine code, what the compiler says); RuntimeError with its words if it fails."""
        program = ctypes.c_void_p()
        names, texts = (
            (ctypes.c_char_p * len(headers))(*map(str.encode, each)) for each in (headers.keys(), headers.values())
        )
        begin = self.library.nvrtcCreateProgram
        self.check(begin(ctypes.byref(program), source.encode(), b"kernel.cu", len(headers), texts, names))
        try:
            flags = (ctypes.c_char_p * len(options))(*map(str.encode, options))
            failed = self.library.nvrtcCompileProgram(program, len(options), flags)
            said = self.read(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if failed:
                raise RuntimeError(f"NVRTC could not compile a kernel: {said}")
            return self.read(program, "CUBIN"), said
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def read(self, program: Any, what: str) -> bytes:
        """One of the things that it keeps of a program: first its size, then its bytes."""
        size = ctypes.c_size_t()
        self.check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        content = ctypes.create_string_buffer(size.value)
        self.check(getattr(self.library, f"nvrtcGet{what}")(program, content))
        return content.raw


def places() -> list[Path | str]:
    """Where NVRTC may be: in the packages, newest first, then wherever the loader looks."""
    found: list[Path] = [path for base in sys.path for path in Path(base).glob("nvidia/*/lib/libnvrtc.so.*")]
    found.sort(key=lambda path: numbers_in(path.name), reverse=True)
    return [*found, "libnvrtc.so.13", "libnvrtc.so.12"]


def numbers_in(name: str) -> tuple[int, ...]:
    """(13, 0) of libnvrtc.so.13.0."""
    return tuple(map(int, re.findall(r"\d+", name)))


@cache
def compiler(newest: int | None = None) -> Nvrtc | str:
    """NVRTC, or why there is none; `newest`: the major version of CUDA of the driver, which reads no later code."""
    why = f"NVRTC was not found: install {NEEDED}"
    for place in places():
        try:
            found = Nvrtc(place)
        except (OSError, RuntimeError) as error:
            if isinstance(place, Path):
                why = f"NVRTC could not be loaded: {error}"
            continue
        version = ".".join(map(str, found.version))
        if found.version < OLDEST:
            why = f"NVRTC {version} is too old: {'.'.join(map(str, OLDEST))} or later is needed"
        elif newest is not None and found.version[0] > newest:
            why = (
                f"NVRTC {version} makes code that this driver, of CUDA {newest}, does not read: install a newer driver"
            )
            why += f", or nvidia-cuda-nvrtc-cu{newest}"
        else:
            return found
    return why


def missing(target: Target, newest: int | None = None) -> str | None:
    """Why nothing can be compiled for this GPU; None if it can. `newest` as in `compiler`."""
    found = compiler(newest)
    if isinstance(found, str):
        return found
    if number(target) in found.architectures():
        return None
    version = ".".join(map(str, found.version))
    return f"NVRTC {version} does not compile for compute capability {target}: install a newer {NEEDED}"


def number(target: Target) -> int:
    """90 for (9, 0)."""
    return 10 * target.capability[0] + target.capability[1]


@cache
def headers() -> dict[str, str]:
    """The sources by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(PLACE.glob("*.cuh"))}


def options(target: Target) -> list[str]:
    """How kernels are compiled for this GPU."""
    wait = os.environ.get("JRNN_CUDA_WAIT")
    bound = [f"-DJRNN_BOUNDED_WAIT={int(wait)}"] if wait else []
    return [f"--gpu-architecture=sm_{number(target)}", "--std=c++17", *bound]


@cache
def code(plan: Plan, target: Target, newest: int | None = None) -> bytes:
    """The machine code of a plan's kernel, from the folder or from the compiler; `newest` as in `compiler`."""
    found = compiler(newest)
    if isinstance(found, str):
        raise RuntimeError(found)
    how = options(target)
    key = repr((plan.source, sorted(headers().items()), how, found.identity))
    place = folder()
    kept = place and place / f"{plan.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.cubin"
    try:
        if kept:
            return whole(kept.read_bytes())
    except (OSError, ValueError):
        pass
    made, _ = found.compile(plan.source, headers(), *how)
    if kept:
        keep(kept, made)
    return made


def folder() -> Path | None:
    """Where kernels are kept; None where none are."""
    wanted = os.environ.get("JRNN_CACHE", "")
    if wanted.lower() == "off":
        return None
    try:
        base = Path(wanted) if wanted else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jrnn"
    except RuntimeError:  # a user without a home
        return None
    return base / "kernels"


def keep(place: Path, made: bytes) -> None:
    """Writes a file that appears whole, its checksum first."""
    part = place.with_name(f"{place.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(hashlib.sha256(made).digest() + made)
            os.replace(part, place)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"jrnn compiles its kernels again in every process: {place.parent} cannot be written: {error.strerror}"
            " (set JRNN_CACHE to another folder, or to off)",
            stacklevel=2,
        )


def whole(content: bytes) -> bytes:
    """What `keep` was given; ValueError unless it is all there."""
    made = content[32:]
    if hashlib.sha256(made).digest() != content[:32]:
        raise ValueError("not what was written")
    return made
