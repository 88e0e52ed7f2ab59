"""Freed memory stays with the process: page faults of repeated calls, counted by the system."""

import os
import platform
import subprocess
import sys

import pytest

import jrnn
from jrnn.kernels import memory

FAULTS = """
import ctypes, os, resource
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # pages of the usual size
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # few CPUs: one heap
import jax, jax.numpy as jnp
import jrnn

@jax.jit
def call(x):  # 64 MB in, a temporary array, a result
    more = jax.lax.optimization_barrier(x + 1)
    return more + jax.lax.optimization_barrier(more * 2)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

x = jnp.ones((4096, 4096))
found = []
for _ in range(10):  # the heap grows until it holds what a call takes
    before = faults()
    for _ in range(4):
        call(x).block_until_ready()
    found.append(faults() - before)
print(min(found))
"""
PAGES = 4 * 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")
"""Of the results of four calls."""


SETTINGS = ("GLIBC_TUNABLES", "JRNN_MALLOC", *memory.OF_THE_USER)


def faults(**settings):
    """Page faults of four calls in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=clean | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or (os.cpu_count() or 1) > memory.FEW, reason="not glibc's malloc, or many CPUs"
)


@needs_glibc
def test_arrays_of_the_next_call_lie_in_memory_that_the_last_one_freed():
    assert faults() < PAGES / 2


@needs_glibc
@pytest.mark.parametrize("setting", [{"JRNN_MALLOC": "off"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=65536"}])
def test_malloc_is_left_as_it_is_where_the_user_says_so(setting):
    assert faults(**setting) > 0.9 * PAGES


@pytest.fixture
def unset(monkeypatch):
    """An environment that says nothing of malloc."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("JRNN_MALLOC", "off", "JRNN_MALLOC=off"),
        ("MALLOC_ARENA_MAX", "2", "MALLOC_ARENA_MAX says how malloc works"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", "GLIBC_TUNABLES says how malloc works"),
    ],
)
def test_the_users_choice_is_named(unset, name, value, reason):
    unset.setenv(name, value)
    assert memory.keep_freed_memory() == reason


def test_an_empty_switch_is_none(unset):
    unset.setenv("JRNN_MALLOC", "")
    unset.setenv("MALLOC_ARENA_MAX", "2")
    assert memory.keep_freed_memory() == "MALLOC_ARENA_MAX says how malloc works"


def test_a_switch_that_is_neither_on_nor_off_is_an_error(unset):
    unset.setenv("JRNN_MALLOC", "0")
    with pytest.raises(jrnn.InputError, match="JRNN_MALLOC: got 0; need on or off"):
        memory.keep_freed_memory()


class Library:
    """What `ctypes` finds in another system's."""

    def __init__(self, **functions):
        vars(self).update(functions)


def no_libraries(name):
    raise TypeError("a name is needed")  # Windows


@pytest.mark.parametrize("found", [no_libraries, lambda name: Library(mallopt=print), lambda name: Library()])
def test_other_systems_are_left_alone(unset, found):
    unset.setattr(memory.ctypes, "CDLL", found)
    assert memory.keep_freed_memory() == "malloc is not glibc's"


def test_with_many_cpus_or_if_malloc_refuses_the_reason_is_named(unset):
    unset.setattr(memory.ctypes, "CDLL", lambda name: Library(mallopt=lambda *_: 0, gnu_get_libc_version=None))
    unset.setattr(memory.os, "cpu_count", lambda: 2)
    assert memory.keep_freed_memory() == "malloc refused"
    unset.setattr(memory.os, "cpu_count", lambda: 64)
    assert memory.keep_freed_memory() == "threads of more than 16 CPUs would wait for one heap"
