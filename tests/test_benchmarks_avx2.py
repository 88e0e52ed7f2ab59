"""An AVX-512 machine is measured as one with AVX2."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

import jrnn
from benchmarks import avx2_only
from benchmarks.avx2_only import cpu_flags, held_back, library

AVX2 = {"JRNN_ISA": "avx2"}
WIDE = frozenset({"avx2", "avx512f", "cpuid_fault"})
able = cpu_flags() >= WIDE and shutil.which(os.environ.get("CC", "cc").split()[0])
hides = pytest.mark.skipif(not able, reason="no AVX-512, or it cannot be hidden, or there is no C compiler")


def run(code):
    """A Python process to which the wide instructions are hidden, without jrnn's own setting."""
    environment = {name: value for name, value in os.environ.items() if name != "JRNN_ISA"}
    environment |= {"LD_PRELOAD": library(), "JAX_PLATFORMS": "cpu"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_nothing_is_held_back_unless_avx2_is_asked_for_of_a_wider_cpu(monkeypatch):
    assert held_back({}) == held_back({"JRNN_ISA": "avx512"}) == {}
    monkeypatch.setattr(avx2_only, "cpu_flags", lambda: frozenset({"avx2", "cpuid_fault"}))
    assert held_back(AVX2) == {}


def test_a_cpu_that_cannot_hide_what_it_has_is_refused(monkeypatch):
    monkeypatch.setattr(avx2_only, "cpu_flags", lambda: WIDE - {"cpuid_fault"})
    with pytest.raises(jrnn.InputError, match="JRNN_ISA: got avx2; need a CPU without AVX-512"):
        held_back(AVX2)


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(avx2_only, "cpu_flags", lambda: WIDE)
    monkeypatch.setenv("CC", "no-such-compiler")
    library.cache_clear()
    with pytest.raises(jrnn.InputError, match="CC: got no-such-compiler; need a C compiler"):
        held_back(AVX2)


@hides
def test_what_is_preloaded_already_stays():
    assert held_back(AVX2) == {"LD_PRELOAD": library()}
    assert held_back(AVX2 | {"LD_PRELOAD": "other.so"}) == {"LD_PRELOAD": f"{library()}:other.so"}


ASK = """
import ctypes, mmap, threading
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
# push rbx; mov eax, 7; xor ecx, ecx; cpuid; mov eax, ebx; pop rbx; ret
page.write(bytes.fromhex("53 b807000000 31c9 0fa2 89d8 5b c3"))
leaf7 = ctypes.CFUNCTYPE(ctypes.c_uint)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
found = [leaf7()]
thread = threading.Thread(target=lambda: found.append(leaf7()))
thread.start(); thread.join()
print([(ebx >> 5 & 1, ebx >> 16 & 1) for ebx in found])
"""
"""Prints whether CPUID names AVX2 and AVX-512, in the main thread and in another."""


@hides
def test_cpuid_names_avx2_and_nothing_wider_in_every_thread():
    shown = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True).stdout
    assert shown.strip() == "[(1, 1), (1, 1)]"
    assert run(ASK).stdout.strip() == "[(1, 0), (1, 0)]"


@hides
def test_libraries_take_avx2():
    done = run("""
import numpy
from jrnn.kernels.implementations import native
print("none" if isinstance(native.library(), str) else native.instructions())
print([name for name, there in numpy._core._multiarray_umath.__cpu_features__.items() if there])
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("avx2\n", "none\n"))
    assert "'AVX2'" in done.stdout and "AVX512" not in done.stdout


@hides
def test_pytorch_takes_avx2():
    pytest.importorskip("torch")
    assert run("import torch; print(torch.backends.cpu.get_cpu_capability())").stdout.strip() == "AVX2"


@hides
def test_other_faults_end_the_process():
    assert run("import ctypes; ctypes.string_at(0)").returncode == -signal.SIGSEGV
