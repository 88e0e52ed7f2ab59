"""A library that is not the file the build wrote: refused before it is loaded, with the reason; XLA's form runs."""

import os
import shutil
import subprocess
import sys
import tarfile
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
case " $* " in
*" -E "*) for word; do [ -f "$word" ] && cat "$word"; done; exit 0 ;;
*" -c "*) echo compiled >> "$0.log" ;;
esac
while [ $# -gt 0 ]; do [ "$1" = -o ] && echo made by no compiler > "$2"; shift; done
echo x86_64-linux-gnu
"""


def project(folder):
    """A copy of what a build takes; returns a function that builds it by a compiler that compiles nothing."""
    pytest.importorskip("setuptools", minversion="77")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    unbuilt = shutil.ignore_patterns("_recurrence.*", "__pycache__")
    shutil.copytree(ROOT / "jrnn" / "kernels", folder / "jrnn" / "kernels", ignore=unbuilt)
    (folder / "jrnn" / "__init__.py").write_text("")
    (folder / "jrnn" / "py.typed").write_text("")
    compiler = folder / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)

    def build(*command, **environment):
        """How many objects were compiled."""
        log = folder / "compiler.log"
        log.write_text("")
        run = [sys.executable, "setup.py", "-q", *command]
        environment = os.environ | {"CXX": str(compiler), "JRNN_OBJECTS": ""} | environment
        done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return len(log.read_text().split())

    return build


@pytest.mark.parametrize("command", [["build_ext", "--inplace"], ["bdist_wheel"]], ids=["editable", "wheel"])
def test_an_install_carries_the_checksum(tmp_path, command):
    """And a wheel, one for all Pythons of its platform, the sources, from which pip builds where there is none."""
    project(tmp_path)(*command)
    made = tmp_path / "jrnn" / "kernels"
    if command == ["bdist_wheel"]:
        (wheel,) = (tmp_path / "dist").iterdir()
        assert wheel.name.split("-")[2:4] == ["py3", "none"] and not wheel.stem.endswith("any")
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(tmp_path / "installed")
        made = tmp_path / "installed" / "jrnn" / "kernels"
        for kind, place in (("*.cc", "native"), ("*.h", "native"), ("*.cuh", "cuda"), ("*.cc", "cuda")):
            names = [{file.name for file in (at / place).rglob(kind)} for at in (made, ROOT / "jrnn/kernels")]
            assert names[0] == names[1] != set()
        assert (made.parent / "py.typed").exists()
    assert native.spoiled(made / "_recurrence.so") is None
    assert {file.name for file in made.glob("_recurrence.*")} == {"_recurrence.so", "_recurrence.sum"}


def test_what_was_compiled_is_taken_again_while_nothing_changed(tmp_path):
    build, kept = project(tmp_path), str(tmp_path / "kept")
    both = ["build_ext", "--inplace"], ["bdist_wheel"]
    assert [build(*each) for each in both] == [6, 6]
    assert [build(*each, JRNN_OBJECTS=kept) for each in both] == [6, 0]
    assert build(*both[0], JRNN_OBJECTS=kept, CXXFLAGS="-g") == 6
    with (tmp_path / "jrnn/kernels/native/kernel.cc").open("a") as source:
        source.write("// changed")
    assert build(*both[0], JRNN_OBJECTS=kept) == 4
    assert native.spoiled(tmp_path / "jrnn/kernels/_recurrence.so") is None


def test_a_source_distribution_holds_no_binary(tmp_path):
    build = project(tmp_path)
    build("build_ext", "--inplace")
    build("sdist")
    with tarfile.open(next((tmp_path / "dist").iterdir())) as opened:
        names = [Path(name).name for name in opened.getnames()]
    assert "kernel.cc" in names and not [name for name in names if name.startswith("_recurrence")]
