"""The commands keep what XLA compiled: the next run compiles nothing."""

import os
import subprocess
import sys

import jax
import jaxlib.version
import pytest

from jrnn.commands import compiled_programs
from jrnn.commands.compiled_programs import QUICK, compiling_quickly, keep_programs, make_room, processor

COUNTING = """
import sys
import jax
from jrnn.cli import main

asked = []
jax.monitoring.register_event_listener(lambda name, **_: asked.append(name.rpartition("/")[2]))
assert main(["diagnose", "--hidden", "3", "--steps", "2", "--out", sys.argv[1]]) == 0
print("hits", asked.count("cache_hits"), "misses", asked.count("cache_misses"))
"""


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """JAX's settings as a process of a user's has them, put back at the end; XDG_CACHE_HOME is an empty folder."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JRNN_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.thorough
def test_the_second_run_compiles_nothing(tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMPILATION", "JAX_PERSIST"))}
    said = []
    for run in ("first", "second"):
        command = [sys.executable, "-c", COUNTING, str(tmp_path / run)]
        done = subprocess.run(
            command, env=env | {"JRNN_CACHE": str(tmp_path / "cache")}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        said.append([int(word) for word in done.stdout.split() if word.isdigit()][-2:])
    (_, first_misses), (hits, misses) = said
    assert 10 < first_misses and first_misses + said[0][0] <= 40  # each takes a share of the first minute
    assert (hits, misses) == (first_misses + said[0][0], 0)


@pytest.mark.parametrize(
    ("told", "version", "flags"),
    [
        (None, "0.10.2", QUICK),
        ("--xla_cpu_max_isa=AVX2", "0.10.0", f"--xla_cpu_max_isa=AVX2 {QUICK}"),
        ("--xla_cpu_use_fusion_emitters=true", "0.10.2", "--xla_cpu_use_fusion_emitters=true"),
        (None, "0.11.0", None),
        ("flags.txt", "0.10.2", "flags.txt"),
        ("--xla_cpu_max_isa=AVX2", "1.0.10.2", "--xla_cpu_max_isa=AVX2"),
    ],
)
def test_a_jaxlib_that_was_tried_compiles_quickly(monkeypatch, told, version, flags):
    monkeypatch.setenv("XLA_FLAGS", told or "")
    if told is None:
        monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(compiled_programs.jaxlib.version, "__version__", version)
    with compiling_quickly():
        assert os.environ.get("XLA_FLAGS") == flags
    assert os.environ.get("XLA_FLAGS") == told


FIRST = """
import sys
import jax
from jrnn import cli

cli.commands.train = lambda args: int(jax.jit(lambda x: 2 * x)(0.0))
sys.exit(cli.main(["train"]))
"""


def test_a_command_chooses_before_xla_starts(tmp_path):
    """XLA writes what it was told beside each program that it dumps."""
    env = os.environ | {
        "XLA_FLAGS": f"--xla_dump_to={tmp_path}",
        "JRNN_CACHE": "off",
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    }
    done = subprocess.run([sys.executable, "-c", FIRST], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [file.read_text() for file in tmp_path.glob("*debug_options")]
    asked = jaxlib.version.__version__.startswith("0.10.")
    assert told and all(("xla_cpu_use_fusion_emitters: false" in each) == asked for each in told)


def test_the_folder_is_the_users(settings, tmp_path):
    keep_programs()
    folder = tmp_path / "jrnn" / f"jax-{jax.__version__}-{processor():08x}"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert folder.is_dir()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0


def test_another_folder_and_none(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("JRNN_CACHE", "off")
    keep_programs()
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv("JRNN_CACHE", str(tmp_path / "mine"))
    keep_programs()
    assert jax.config.jax_compilation_cache_dir.startswith(str(tmp_path / "mine"))
    jax.config.update("jax_compilation_cache_dir", "chosen for JAX")
    keep_programs()
    assert jax.config.jax_compilation_cache_dir == "chosen for JAX"


def test_where_nothing_can_be_written_nothing_is_kept(settings, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    monkeypatch.setenv("JRNN_CACHE", str(file))
    keep_programs()
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.delenv("JRNN_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compiled_programs.Path, "home", homeless)
    keep_programs()
    assert jax.config.jax_compilation_cache_dir is None


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    for i in range(6):
        file = tmp_path / f"{i}"
        file.write_bytes(b"12345")
        os.utime(file, (1000 + i, 1000 + i))
    make_room(tmp_path, 30)
    assert len(list(tmp_path.iterdir())) == 6
    make_room(tmp_path, 29)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["4", "5"]
