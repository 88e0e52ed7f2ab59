"""The README's Python runs, as one script, and its commands are what the command line understands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
if not README.exists():
    pytest.skip("the README is not beside the tests", allow_module_level=True)
TEXT = README.read_text()


def where_infinities_are_meant(block: str) -> str:
    """Steps of its network are singular to rounding: their condition numbers are infinite, the logarithms of their last
    singular values minus infinity."""
    if "condition_number" not in block:
        return block
    switch = 'jax.config.update("jax_debug_infs", {})'
    return "\n".join([switch.format(False), block, switch.format(True)])


def test_python_blocks_run():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(blocks) >= 4
    checks = """
assert run.outputs.shape == (50, 8, 16)
assert J.shape == (50, 8, 80, 80)
assert flow.credit.shape == (50, 51, 8)
assert int(clip.steps) == 1
assert fitted.history["grad_norm"].shape == (20,)
"""
    # in a process of its own: a reader's JAX, not the tests' strict one, but one that stops at a NaN or an infinity
    script = "\n".join([*map(where_infinities_are_meant, blocks), checks])
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_DEBUG_NANS": "1", "JAX_DEBUG_INFS": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_jrnn_commands_parse():
    from jrnn.cli import parser

    lines = [line.split("#")[0] for line in re.findall(r"^jrnn .*", TEXT, re.M)]
    assert len(lines) >= 5
    for line in lines:
        parser().parse_args(shlex.split(line)[1:])


def test_pictures_exist():
    for name in re.findall(r"!\[.*?\]\((.*?)\)", TEXT, re.S):
        assert (README.parent / name).stat().st_size > 10_000
