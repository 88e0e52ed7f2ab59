"""Which implementation a call takes, and what happens where the kernel is missing or was not built."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels.implementations import native
from tests.proofs import aarch64

ROOT = Path(jrnn.__file__).parent.parent
BUILT = not isinstance(native.library(), str)
needs_kernel = pytest.mark.skipif(not BUILT, reason=str(native.library()))


def setting(cell, key=0):
    params = cell.init(jax.random.key(key), 3)
    return params, jax.random.normal(jax.random.key(1), (6, 2, 3))


@needs_kernel
def test_cells_with_a_kernel_take_it():
    grus = jrnn.gru(4), jrnn.gru(4, reset_after=False)
    for cell in (jrnn.elman(4), jrnn.elman(4, "relu"), jrnn.lstm(4), *grus, jrnn.residual(jrnn.lstm(3))):
        assert jrnn.kernels.explain(cell, setting(cell)[0]).chosen == "native"


def test_others_say_why_not():
    explained = jrnn.kernels.explain(jrnn.linear(4), setting(jrnn.linear(4))[0])
    assert explained.chosen == "reference" and "no linear" in explained.refused["native"]
    assert jrnn.kernels.explain(jrnn.linear(4), setting(jrnn.linear(4))[0], "associative").chosen == "associative"
    with pytest.raises(jrnn.InputError, match="lstm is none"):
        jrnn.kernels.explain(jrnn.lstm(4), setting(jrnn.lstm(4))[0], "associative")
    cell = jrnn.clip_state_gradient(jrnn.lstm(4), 1.0)
    assert jrnn.kernels.explain(cell, setting(cell)[0]).chosen == "reference"
    cell = jrnn.layer_norm(jrnn.lstm(4), on="hidden")
    assert jrnn.kernels.explain(cell, setting(cell)[0]).chosen == "reference"
    assert "not native: " in str(explained)


def test_names_are_checked():
    cell = jrnn.linear(4)
    params, xs = setting(cell)
    for wrong in ("fast", ("reference", 3), ("native",), ()):
        with pytest.raises(jrnn.InputError, match="implementation"):
            jrnn.unroll(cell, params, xs, implementation=wrong if wrong != ("reference", 3) else (3,))
    assert jrnn.unroll(cell, params, xs, implementation=("native", "reference")).outputs.shape == (6, 2, 4)


def test_without_the_library(tmp_path, monkeypatch):
    """A missing or a broken library is a reason, not an error."""
    cell = jrnn.lstm(4)
    params, xs = setting(cell)
    wanted = jrnn.unroll(cell, params, xs, implementation="xla").outputs
    broken, reason = tmp_path / "_recurrence.so", tmp_path / "_recurrence.txt"
    monkeypatch.setattr(native, "LIBRARY", broken)
    monkeypatch.setattr(native, "REASON", reason)
    try:
        for content, why in ((None, "without running the build"), ("no C++ compiler: c++", "no C++ compiler")):
            native.library.cache_clear()
            if content:
                reason.write_text(content)
            assert why in jrnn.kernels.explain(cell, params).refused["native"]
            np.testing.assert_array_equal(jrnn.unroll(cell, params, xs).outputs, wanted)
        broken.write_bytes(b"not a library")
        broken.with_suffix(".sum").write_text(f"13 {hashlib.sha256(b'not a library').hexdigest()}")
        native.library.cache_clear()
        assert "could not be loaded" in jrnn.kernels.explain(cell, params).refused["native"]
    finally:
        native.library.cache_clear()


@pytest.mark.parametrize("compiler, why", [("/no/such/compiler", "no C++ compiler"), ("false", "failed")])
def test_an_install_without_a_compiler_succeeds(tmp_path, compiler, why):
    pytest.importorskip("setuptools", minversion="77")
    build = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path), "--build-temp", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, env=os.environ | {"CXX": compiler}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "installing without the compiled kernel" in done.stderr
    made = tmp_path / "jrnn" / "kernels"
    assert why in (made / "_recurrence.txt").read_text() and not (made / "_recurrence.so").exists()


def test_an_editable_install_without_a_compiler_succeeds_and_leaves_no_old_kernel(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "jrnn" / "kernels", tmp_path / "jrnn" / "kernels")
    made = tmp_path / "jrnn" / "kernels"
    (made / "_recurrence.so").write_bytes(b"of an earlier install")
    (made / "_recurrence.sum").write_text("of an earlier install")
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(build, cwd=tmp_path, env=os.environ | {"CXX": "/none"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no C++ compiler" in (made / "_recurrence.txt").read_text()
    assert [file.name for file in made.glob("_recurrence.*")] == ["_recurrence.txt"]


@pytest.mark.thorough
@pytest.mark.skipif(aarch64.missing() is not None, reason=str(aarch64.missing()))
def test_neon_finds_what_the_loops_find():
    """The kernel built for ARM, run by an emulator, over every eighth case; `tests.proofs.aarch64` has them all."""
    command = [sys.executable, "-m", "tests.proofs.aarch64", "--every", "8"]
    environment = os.environ | {"CXXFLAGS": "-O1 -Wall -Wextra -Werror"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("all agree\n"), done.stderr[-2000:]


def test_one_library_takes_what_each_machine_has():
    """The file that was built here, loaded by emulated machines that have less."""
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if not (emulator and BUILT and platform.machine() == "x86_64"):
        pytest.skip("needs Debian's qemu-user and a kernel built for x86-64")
    load = f"import ctypes; instructions = ctypes.CDLL({str(native.LIBRARY)!r}).jrnn_instructions"
    ask = f"{load}; instructions.restype = ctypes.c_char_p; print(instructions().decode())"
    for machine, wanted in (("Nehalem", "baseline"), ("SandyBridge", "baseline"), ("Haswell", "avx2")):
        command = [emulator, "-cpu", machine, sys.executable, "-S", "-c", ask]
        assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == wanted, machine


@needs_kernel
@pytest.mark.parametrize("asked", ["avx3", "AVX2", "avx2,baseline"])
def test_instructions_that_there_are_not(monkeypatch, asked):
    """An error: whoever asks for them would measure others."""
    monkeypatch.setenv("JRNN_ISA", asked)
    with pytest.raises(jrnn.InputError, match=f"JRNN_ISA: got {asked}; need .*: baseline(, avx2)?"):
        native.library.__wrapped__()


PROGRAM = """
import os
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
from tests.kernels.agreement import check
from tests.kernels.cases import CASES, Case
from tests.kernels.test_kernels_values import test_tanh_and_sigmoid_within_4_ulp
from jrnn.kernels.implementations import native
assert native.instructions() == os.environ["JRNN_ISA"], native.instructions()
EVERYWHERE = {
    "lstm-1x300x1x90x70", "tanh-3x3x7x0x9-tap", "tanh-1x3x2x160x301",
    "gru_reset_before-1x7x3x2x5-lengths-mask-resets-cuts-tap-reverse",
    "gru_reset_before-1x300x1x110x75-lengths-resets-tap_is_zero",
}
assert EVERYWHERE <= set(map(str, CASES))
# panels that narrow vectors read in parts
PARTED = [Case("lstm", 1, 3, 9, 130, 150), Case("gru", 1, 5, 7, 30, 330, "resets reverse")]
# few rows of many units: threads take each step together
TOGETHER = [
    Case("lstm", 1, 12, 2, 5, 300, "lengths resets tap"),
    Case("gru_reset_before", 1, 12, 3, 4, 290, "resets cuts tap reverse"),
    Case("gru", 1, 140, 1, 3, 301, "resets mask"),
    Case("leaky_tanh", 1, 30, 3, 2, 310, "lengths cuts"),
]
# rows of each height of a tile, and one more
TILES = [Case(kind, 1, 3, rows, 6, 101) for kind in ("lstm", "gru", "tanh") for rows in (3, 4, 6, 7, 8, 9)]
for case in [case for case in CASES if str(case) in EVERYWHERE] + PARTED + TOGETHER + TILES:
    check(case)
for dtype in (np.float32, np.float64):
    test_tanh_and_sigmoid_within_4_ulp(dtype)
print("right")
"""


@pytest.mark.thorough
@needs_kernel
@pytest.mark.parametrize("instructions", ["avx512_bf16", "avx512", "avx2", "baseline"])
def test_every_instruction_set_on_poisoned_memory(instructions):
    """malloc fills what it hands out with a pattern: nothing may be read that was not written."""
    order = native.INSTRUCTIONS
    if order.index(instructions) > order.index(native.instructions()):
        pytest.skip(f"this machine has {native.instructions()}")
    environment = os.environ | {"JRNN_ISA": instructions, "MALLOC_PERTURB_": "165"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "right", done.stderr[-2000:]


@needs_kernel
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of a process")
def test_scratch_is_given_back():
    """A step takes more than 300 KB beside its results; 400 of them leave nothing behind."""
    cell = jrnn.lstm(80)
    params, xs = cell.init(jax.random.key(0), 3), jnp.ones((300, 2, 3))
    run = jax.jit(jax.grad(lambda p: jnp.sum(jrnn.unroll(cell, p, xs, implementation="native").outputs ** 2)))

    def resident(calls):
        for _ in range(calls):
            jax.block_until_ready(run(params))
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident(100)
    assert resident(400) - before < 20e6


@needs_kernel
def test_many_threads_at_once():
    """The same bits, whoever has time to help."""
    cases = (  # threads with rows of their own, a thread beside the only one, threads that take each step together
        (jrnn.lstm(80), (30, 16, 3)),
        (jrnn.lstm(80), (300, 1, 3)),
        (jrnn.lstm(300), (140, 2, 3)),
        (jrnn.gru(310, reset_after=False), (30, 1, 3)),
    )

    def job(i):
        cell, shape = cases[i % len(cases)]
        params, xs = cell.init(jax.random.key(0), 3), jax.random.normal(jax.random.key(i), shape)
        run = jax.jit(jax.grad(lambda p, xs: jnp.sum(jrnn.unroll(cell, p, xs).outputs ** 2), argnums=(0, 1)))
        return lambda: run(params, xs)

    jobs = [job(i) for i in range(8)]
    wanted, found = [run() for run in jobs], [None] * len(jobs)

    def work(i):
        for _ in range(10):
            found[i] = jobs[i]()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    [t.start() for t in threads]
    [t.join(timeout=120) for t in threads]
    assert not any(t.is_alive() for t in threads)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


FORKS = """
import os, signal
import jax, jax.numpy as jnp, numpy as np
import jrnn
cells = [jrnn.lstm(80), jrnn.lstm(80), jrnn.lstm(200)]
weights = [cell.init(jax.random.key(0), 90) for cell in cells]
shapes = ((30, 16, 90), (300, 1, 90), (100, 1, 90))
many = [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]
steps = [jax.jit(lambda p, xs, cell=cell: jrnn.unroll(cell, p, xs, implementation="native").outputs) for cell in cells]
def results():
    return [np.asarray(step(p, xs)) for step, p, xs in zip(steps, weights, many)]
wanted, short = results(), many[2][:30]
steps[2](weights[2], short).block_until_ready()
child = os.fork()
if not child:
    signal.alarm(60)
jax.tree.map(np.testing.assert_array_equal, results(), wanted)
if not child:
    for _ in range(3000):  # more than the pool's queues hold: then it gives work back to the caller
        np.asarray(steps[2](weights[2], short))
if not child:
    os._exit(0)
print("right" if os.waitpid(child, 0)[1] == 0 else "the child failed")
"""


@pytest.mark.thorough
@needs_kernel
def test_a_forked_process_has_no_threads_to_wait_for():
    """A child of fork has the pool but not its threads: the caller does all the work itself.

    The kernel alone: XLA's own larger products wait for those threads for ever.
    """
    done = subprocess.run([sys.executable, "-c", FORKS], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "right", done.stderr[-2000:]


@needs_kernel
def test_of_a_stack_and_of_two_directions_each_part_chooses():
    stack = jrnn.stack(jrnn.lstm(4), jrnn.linear(3))
    explained = jrnn.kernels.explain(stack, setting(stack)[0])
    assert explained.chosen == "native, reference" and explained.parts["layer 1"].chosen == "reference"
    assert str(explained).startswith("layer 0: native\nlayer 1: reference; not native: it has no linear")
    both = jrnn.Bidirectional(jrnn.lstm(4))
    assert jrnn.kernels.explain(both, setting(both)[0], "native").chosen == "native"
    with pytest.raises(jrnn.InputError, match="it has no linear"):
        jrnn.kernels.explain(stack, setting(stack)[0], "native")


@needs_kernel
@pytest.mark.parametrize("noisy", [False, True])
def test_noise_alone_costs_the_kernel(noisy):
    lstm = jrnn.dropout(jrnn.lstm(3), outputs=0.5) if noisy else jrnn.lstm(3)
    for cell in (lstm, jrnn.stack(lstm, jrnn.gru(2)), jrnn.residual(lstm)):
        params, xs = setting(cell)
        for name in (None, "native"):
            key = jax.random.key(0) if noisy else None  # a cell that draws nothing takes none
            run = partial(jrnn.unroll, cell, xs=xs, key=key, implementation=name)
            assert ("jrnn_recur" in str(jax.make_jaxpr(lambda p, run=run: run(p).outputs)(params))) != noisy


@needs_kernel
def test_the_batch_axes_meet_in_one_call():
    """An ensemble under vmap is one call of the kernel, not one a member."""
    cell = jrnn.gru(4)
    params = jax.vmap(lambda k: cell.init(k, 3))(jax.random.split(jax.random.key(0), 5))
    xs = jnp.ones((6, 2, 3))
    run = jax.jit(jax.vmap(lambda p: jrnn.unroll(cell, p, xs).outputs))
    text = run.lower(params).compile().as_text()
    assert text.count('custom_call_target="jrnn_forward"') == 1
