"""A library that is not the file the build wrote: refused before it is loaded, with the reason; XLA's form runs."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import jrnn
from jrnn.kernels.implementations import native

ROOT = Path(jrnn.__file__).parent.parent
PROGRAM = """
import numpy as np, jrnn
from jax import numpy as jnp
cell = jrnn.elman(1)
params = {"w_in": jnp.ones((1, 1)), "w_rec": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}
np.testing.assert_allclose(jrnn.unroll(cell, params, np.ones((2, 1), "f")).outputs, np.tanh(1), rtol=1e-6)
print(jrnn.kernels.explain(cell, params))
"""


def keep(library, content):
    library.with_suffix(".sum").write_text(native.LIBRARY.with_suffix(".sum").read_text())
    library.write_bytes(content)


def without_sum(library, content):
    library.write_bytes(content)


def broken_sum(library, content):
    library.write_bytes(content)
    library.with_suffix(".sum").write_bytes(b"\xff\xfe")


def short_sum(library, content):
    library.write_bytes(content)
    library.with_suffix(".sum").write_text(f"{len(content)}\n")


def folder(library, content):
    library.mkdir()


DAMAGE = {
    "whole": (keep, lambda b: b, "native"),
    "cut short": (keep, lambda b: b[:100_000], "100000 bytes, and the build wrote"),
    "empty": (keep, lambda b: b"", "0 bytes, and the build wrote"),
    "longer": (keep, lambda b: b + b"\0", "bytes, and the build wrote"),
    "one byte changed": (keep, lambda b: b[:500_000] + bytes([b[500_000] ^ 1]) + b[500_001:], "not what the build"),
    "no checksum": (without_sum, lambda b: b, "its checksum cannot be read"),
    "a checksum of other bytes": (broken_sum, lambda b: b, "its checksum cannot be read"),
    "half a checksum": (short_sum, lambda b: b, "its checksum cannot be read"),
    "a folder": (folder, lambda b: b, "cannot be read"),
}


@pytest.mark.thorough
@pytest.mark.skipif(isinstance(native.library(), str), reason=str(native.library()))
def test_a_spoiled_library_is_refused_and_the_process_lives(tmp_path):
    """Each in a process of its own: to load one that was cut short is a bus error."""
    running = {}
    for i, (name, (write, change, _)) in enumerate(DAMAGE.items()):
        library = tmp_path / f"{i}.so"
        write(library, change(native.LIBRARY.read_bytes()))
        environment = os.environ | {"JRNN_KERNEL": str(library), "PYTHONPATH": str(ROOT)}
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running[name] = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, **pipes)
    for name, process in running.items():
        said, wrong = process.communicate()
        assert process.returncode == 0, (name, process.returncode, wrong)
        why = DAMAGE[name][2]
        assert said.startswith("native") if why == "native" else said.startswith("xla; not native: ") and why in said


COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = -o ] && echo made by no compiler > "$2"; shift; done
echo x86_64-linux-gnu
"""


@pytest.mark.parametrize("command", [["build_ext", "--inplace"], ["bdist_wheel"]], ids=["editable", "wheel"])
def test_an_install_carries_the_checksum(tmp_path, command):
    pytest.importorskip("setuptools", minversion="77")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    unbuilt = shutil.ignore_patterns("_recurrence.*", "__pycache__")
    made = tmp_path / "jrnn" / "kernels"
    shutil.copytree(ROOT / "jrnn" / "kernels", made, ignore=unbuilt)
    (tmp_path / "jrnn" / "__init__.py").write_text("")
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", *command], cwd=tmp_path, env=os.environ | {"CXX": str(compiler)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if command == ["bdist_wheel"]:
        with zipfile.ZipFile(next((tmp_path / "dist").iterdir())) as wheel:
            wheel.extractall(tmp_path / "installed")
        made = tmp_path / "installed" / "jrnn" / "kernels"
    assert native.spoiled(made / "_recurrence.so") is None
    assert {file.name for file in made.glob("_recurrence.*")} == {"_recurrence.so", "_recurrence.sum"}
