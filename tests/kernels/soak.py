"""Random shapes, events and dtypes through the compiled kernel against the spec, as long as you like.

    python -m tests.kernels.soak --cases 10000
    python -m tests.kernels.soak --cases 200 --sanitize address,undefined
    python -m tests.kernels.soak --sanitize thread

With `--sanitize` the kernel is built anew with the compiler's sanitizers and loaded in a process of its own; for
threads it runs on threads of its own (`threads.cc`), since jaxlib's are not built for the sanitizer.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

DTYPES = ("float64", 1e-10), ("float32", 1e-4), ("bfloat16", None)
"""With the tolerance: float32 has summed hundreds of steps."""


def soak(cases, seed):
    """Each case in its own shape; the spec in float64 without compiling, so that thousands of shapes are affordable.

    Returns 1 if any disagrees, else 0; each that does is named, beside the error of the spec in the same dtype.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    from jrnn.kernels import RECURRENCES
    from jrnn.kernels.implementations import native, reference

    from .cases import Case, close, cotangents_like, kernel, make
    from .plain import gradients

    def near(found, wanted):
        """bfloat16 rounds every state, which hundreds of steps add up."""
        for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            assert np.linalg.norm(a - b) <= 5e-2 * np.linalg.norm(b) + 1e-9

    def by_spec(case, operands, happened, given):
        """The spec in bfloat16: a rounding moves relu's pre-activation over its corner, there as in the kernel."""
        found, back = jax.vjp(lambda o: reference.run(case.scan, o, happened), operands)
        return found, back(jax.tree.unflatten(jax.tree.structure(found), given))[0]

    def off(found, wanted):
        pairs = zip(*map(jax.tree.leaves, (found, wanted)), strict=True)
        pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
        return np.array([np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-9) for a, b in pairs])

    def check(case, dtype, tol, number, save_gates):
        """None, or how far the kernel and the spec in the same dtype lie from the spec in float64, array by array."""
        narrow = dtype == "bfloat16"
        operands, happened = make(case, jnp.dtype(dtype), seed=number)
        found, back = jax.vjp(lambda o: kernel(case.scan, save_gates=save_gates)(o, happened), operands)
        cotangents = cotangents_like(found, number)
        grads = back(jax.tree.unflatten(jax.tree.structure(found), cotangents))[0]
        wide, given = jax.tree.map(lambda a: np.asarray(a, np.float64), (operands, cotangents))
        try:
            if narrow and case.kind.endswith(("relu", "positive")):
                wanted = by_spec(case, operands, happened, cotangents)
            else:
                wanted = gradients(case, wide, happened, given)
            if narrow:
                near((found, grads), wanted)
            else:
                close(jax.tree.map(lambda a: np.asarray(a, np.float64), (found, grads)), wanted, tol=tol)
        except AssertionError:
            exact = gradients(case, wide, happened, given)
            return off((found, grads), exact), off(by_spec(case, operands, happened, cotangents), exact)
        return None

    assert not isinstance(native.library(), str), native.library()
    rng = np.random.default_rng(seed)
    names = ("lengths", "mask", "resets", "cuts", "tap", "tap_is_zero", "reverse")
    kinds = [name for name, recurrence in RECURRENCES.items() if recurrence.native is not None]
    failed = 0
    for number in range(cases):
        long = rng.random() < 0.2  # several chunks, and threads without rows of their own
        most = (2, 400, 3) if long else (4, 40, 30)
        groups, steps, rows = (int(rng.integers(1, n)) for n in most)
        wide = long and rng.random() < 0.3  # threads take each step together
        features, units = int(rng.integers(0, 40)), int(rng.integers(1, 400 if wide else 90))
        events = " ".join(name for name in names if rng.random() < 0.3)
        events = events.replace("tap_is_zero", "") if "tap" in events.split() else events
        case = Case(str(rng.choice(kinds)), groups, steps, rows, features, units, events)
        dtype, tol = DTYPES[int(rng.integers(len(DTYPES)))]
        if case.kind.endswith(("relu", "positive")) and dtype == "float32":
            dtype, tol = DTYPES[0]  # its corner, again
        save_gates = bool(rng.random() < 0.5)
        errors = check(case, dtype, tol, number, save_gates)
        if errors is not None:
            failed += 1
            kernel_is, spec_is = (", ".join(f"{one:.1e}" for one in each) for each in errors)
            print(f"case {number} of seed {seed} disagrees: {case}, {dtype}, save_gates={save_gates}")
            print(f"  from float64, relative to the norm of each array: kernel {kernel_is}, spec {spec_is}", flush=True)
        if number % 50 == 0:
            print(f"{number}: {case} ({native.instructions()})", flush=True)
    print(f"{cases} cases: {f'{failed} disagree' if failed else 'all agree'}")
    return min(failed, 1)


def sanitized(kinds, cases, seed):
    """Builds the kernel with sanitizers and runs this script on it; 1 if they object."""
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        if kinds == "thread":
            made, sources = Path(folder, "threads"), ["tests/kernels/threads.cc", "jrnn/kernels/native/kernel.cc"]
            flags = ["-std=c++17", "-O1", "-g", "-fsanitize=thread", "-DJRNN_ISA=baseline", "-DJRNN_VECTOR_BYTES=16"]
            flags += ["-DJRNN_POISON"]
            subprocess.run(["c++", *flags, *sources, "-o", str(made), "-pthread"], cwd=root, check=True)
            return subprocess.run([str(made)]).returncode
        flags = f"-O1 -g -fno-omit-frame-pointer -DJRNN_POISON -fsanitize={kinds}"
        build = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", folder, "--build-temp", folder]
        subprocess.run(build, cwd=root, env=os.environ | {"CXXFLAGS": flags}, check=True)
        library = Path(folder, "jrnn", "kernels", "_recurrence.so")
        if not library.exists():
            print(library.with_suffix(".txt").read_text())
            return 1
        # jaxlib throws before the sanitizer would have found the C++ library by itself
        names = ("libasan.so", "libstdc++.so.6")
        found = [subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True) for name in names]
        environment = os.environ | {
            "LD_PRELOAD": " ".join(one.stdout.strip() for one in found),
            "JRNN_KERNEL": str(library),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        }
        again = [sys.executable, "-m", "tests.kernels.soak", "--cases", str(cases), "--seed", str(seed)]
        return subprocess.run(again, cwd=root, env=environment).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", default="", help="address,undefined or thread")
    asked = parser.parse_args()
    if asked.sanitize:
        sys.exit(sanitized(asked.sanitize, asked.cases, asked.seed))
    sys.exit(soak(asked.cases, asked.seed))
