"""The commands' compiler: it is quick, and what it compiled is kept, so that the next run compiles nothing again."""

from __future__ import annotations

import os
import platform
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jaxlib.version

QUICK = "--xla_cpu_use_fusion_emitters=false"
"""XLA's older way to compile fused loops for a CPU: a diagnosis compiles in 8 s instead of 15. Training steps of six
cells took .8 to 1.25 of the time, mostly .9 to 1.05."""
MOST = 2**29
"""Bytes that are kept; above it the programs written first go first."""


@contextmanager
def compiling_quickly() -> Iterator[None]:
    """Asks XLA for `QUICK`, unless the user's XLA_FLAGS speak of it or name a file; in vain where XLA runs already.

    Only of a jaxlib that was tried: XLA ends the process of a flag that it does not know.
    """
    told = os.environ.get("XLA_FLAGS")
    known = jaxlib.version.__version__.startswith("0.10.") and QUICK.partition("=")[0] not in (told or "")
    if known and (not told or told.lstrip().startswith("-")):
        os.environ["XLA_FLAGS"] = f"{told or ''} {QUICK}".strip()
    try:
        yield
    finally:
        os.environ.pop("XLA_FLAGS", None)
        if told is not None:
            os.environ["XLA_FLAGS"] = told


def keep_programs() -> None:
    """Turns JAX's compilation cache on, in the user's cache folder.

    The variable `JRNN_CACHE` names another folder; `JRNN_CACHE=off` keeps nothing. What the user told JAX itself
    (`JAX_COMPILATION_CACHE_DIR`) comes first. A folder that cannot be written keeps nothing: the command runs the same.
    """
    wanted = os.environ.get("JRNN_CACHE", "")
    told = jax.config.values["jax_compilation_cache_dir"]
    if wanted.lower() == "off" or told is not None:
        return
    try:
        folder = (Path(wanted) if wanted else user_cache() / "jrnn") / f"jax-{jax.__version__}-{processor():08x}"
        folder.mkdir(parents=True, exist_ok=True)
        make_room(folder, MOST)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")  # a full disk, say
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a hundred small programs take seconds


def user_cache() -> Path:
    """The folder of the user's caches, as the system has it."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def processor() -> int:
    """A number for what this machine's CPU can do: programs of another one, in a shared home, might stop here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return zlib.crc32(platform.processor().encode())
    told = ("flags", "features", "model name", "cpu part")
    return zlib.crc32("\n".join(sorted({line for line in lines if line.lower().startswith(told)})).encode())


def make_room(folder: Path, most: int) -> None:
    """Removes the files written first until half of `most` bytes are left, if there are more than `most`."""
    found = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder.iterdir() if file.is_file())
    held = sum(size for _, size, _ in found)
    if held <= most:
        return
    for _, size, file in found:
        file.unlink(missing_ok=True)
        held -= size
        if held <= most // 2:
            return
