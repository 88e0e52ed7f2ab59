"""Who is measured: jrnn by each implementation, the JAX libraries, and PyTorch with the settings that can matter."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import NamedTuple


class Contender(NamedTuple):
    """One framework with its settings; measured in processes of its own."""

    framework: str
    """What `benchmarks.frameworks.build` knows it by."""
    package: str
    """What has to be installed."""
    one_thread: bool = False
    """PyTorch on one thread; otherwise each framework's own default."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables set for its process."""

    @property
    def here(self) -> bool:
        """Whether its package is installed."""
        return find_spec(self.package) is not None


NO_GPU = (("CUDA_VISIBLE_DEVICES", ""),)
HUGE_PAGES = (
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000"),
)
"""Large pages, and malloc keeps what is freed, which `import jrnn` asks for in its own process."""
REFERENCE = "jrnn"
"""What the others are compared with."""
XLA = "jrnn xla"
SCAN = "jrnn reference"
"""The plain `lax.scan` of the step."""
FLAX = ("flax.linen", "flax.nnx")
PEERS = (*FLAX, "equinox", "haiku")
TORCH = "torch"
"""At its default."""

JAX = {
    REFERENCE: Contender("jrnn", "jrnn"),
    XLA: Contender("jrnn xla", "jrnn"),
    SCAN: Contender("jrnn reference", "jrnn"),
    "flax.linen": Contender("flax.linen", "flax"),
    "flax.nnx": Contender("flax.nnx", "flax"),
    "equinox": Contender("equinox", "equinox"),
    "haiku": Contender("haiku", "haiku"),
}
OWN_CELLS = {
    ("equinox", "elman"): None,
    ("haiku", "elman"): "elman relu",
    ("haiku", "gru"): "gru reset before",
}
"""(framework, cell) -> the nearest cell it has, with the same weights and FLOPs; None if there is none."""

LACKS = {("flax.nnx", "gru"): ("bias_rec",)}
"""(framework, cell) -> weights it does not have."""


def contenders(on_cpu: bool, few: bool = False) -> dict[str, Contender]:
    """All of them, installed or not; on a GPU threads and allocator do not matter to PyTorch, so there is one of it.

    Args:
      on_cpu: whether the arrays are on the CPU.
      few: without the plain scan; of PyTorch's variants only the default and the one that differs in everything.
    """
    layers = {name: contender for name, contender in JAX.items() if not (few and name == SCAN)}
    if not on_cpu:
        return {**layers, TORCH: Contender("torch", "torch")}
    found = {**layers, TORCH: Contender("torch", "torch", environment=NO_GPU)}
    threads, glibc = (os.cpu_count() or 1) > 1, platform.libc_ver()[0] == "glibc"
    variants = {
        "torch 1 thread": (threads, False),
        "torch huge pages": (False, glibc),
        "torch 1 thread, huge pages": (threads, glibc),
    }
    wanted = list({setting: name for name, setting in variants.items() if any(setting)}.values())
    for name in wanted[-1:] if few else wanted:
        one_thread, pages = variants[name]
        found[name] = Contender("torch", "torch", one_thread, NO_GPU + (HUGE_PAGES if pages else ()))
    return found


def own_cell(contender: Contender, cell: str) -> str | None:
    """The cell this contender runs in the place of `cell`; None if it has none."""
    return OWN_CELLS.get((contender.framework, cell), cell)
