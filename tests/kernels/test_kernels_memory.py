"""Freed memory stays with the process: page faults of repeated calls, counted by the system."""

import os
import platform
import subprocess
import sys

import pytest

from jrnn.kernels import memory

FAULTS = """
import os, resource
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # few CPUs: one heap
import jax, jax.numpy as jnp
import jrnn

@jax.jit
def call(x):  # 64 MB in, a temporary array and a result, neither of which a loop could fuse away
    return jnp.cumsum(jnp.sort(x, axis=1), axis=0)

x = jnp.ones((4096, 4096))
for _ in range(12):  # the heap grows to what it takes
    call(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    call(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 4 * 64 * 2**20 // 4096
"""Of the results of four calls."""


def faults(**settings):
    """Page faults of four calls in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES" and "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=clean | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")


@needs_glibc
def test_arrays_of_the_next_call_lie_in_memory_that_the_last_one_freed():
    assert faults() < PAGES / 20


@needs_glibc
@pytest.mark.parametrize("setting", [{"JRNN_MALLOC": "off"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=65536"}])
def test_malloc_is_left_as_it_is_where_the_user_says_so(setting):
    assert faults(**setting) > PAGES / 2


def test_the_reason_is_named(monkeypatch):
    monkeypatch.setenv("JRNN_MALLOC", "off")
    assert memory.keep_freed_memory() == "JRNN_MALLOC=off"
    monkeypatch.delenv("JRNN_MALLOC")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert memory.keep_freed_memory() == "MALLOC_ARENA_MAX says how malloc works"
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)

    class NoMallopt:
        def __init__(self, name):
            pass

    monkeypatch.setattr(memory.ctypes, "CDLL", NoMallopt)
    assert memory.keep_freed_memory() == "malloc is not glibc's"
