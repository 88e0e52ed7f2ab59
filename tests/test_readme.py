"""The Python of the README and of the guide runs, and their commands are what the command line understands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "README.md").exists():
    pytest.skip("the README is not beside the tests", allow_module_level=True)
PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "docs/guide.md", "benchmarks/README.md")}
CHECKS = {
    "README.md": """
assert flow.credit.shape == (50, 51, 8)
assert grads.states.c.shape == (51, 8, 32)
""",
    "docs/guide.md": """
assert run.outputs.shape == (50, 8, 16)
assert J.shape == (50, 8, 80, 80)
assert flow.credit.shape == (50, 51, 8)
assert int(clip.steps) == 1
assert fitted.history["grad_norm"].shape == (20,)
""",
}


def where_infinities_are_meant(block: str) -> str:
    """Steps of its network are singular to rounding: their condition numbers are infinite, the logarithms of their last
    singular values minus infinity."""
    if "condition_number" not in block:
        return block
    switch = 'jax.config.update("jax_debug_infs", {})'
    return "\n".join([switch.format(False), block, switch.format(True)])


@pytest.mark.parametrize("page", ["README.md", pytest.param("docs/guide.md", marks=pytest.mark.thorough)])
def test_python_blocks_run(page):
    blocks = re.findall(r"```python\n(.*?)```", PAGES[page], re.S)
    assert blocks
    # in a process of its own: a reader's JAX, not the tests' strict one, but one that stops at a NaN or an infinity
    script = "\n".join([*map(where_infinities_are_meant, blocks), CHECKS[page]])
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_DEBUG_NANS": "1", "JAX_DEBUG_INFS": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_jrnn_commands_parse():
    from jrnn.cli import parser

    lines = [line.split("#")[0] for page in PAGES.values() for line in re.findall(r"^jrnn .*", page, re.M)]
    assert len(lines) >= 8
    for line in lines:
        parser().parse_args(shlex.split(line)[1:])


def test_pictures_and_links_exist():
    for page, text in PAGES.items():
        folder = (ROOT / page).parent
        for name in re.findall(r"!\[.*?\]\((.*?)\)", text, re.S):
            assert (folder / name).stat().st_size > 10_000
        for name in re.findall(r"(?<!!)\[[^\]]*\]\((?!http)([^)]*)\)", text):
            file, _, section = name.partition("#")
            assert (folder / file).exists(), f"{page}: {name}"
            headings = re.findall(r"^#+ (.*)", (folder / file).read_text(), re.M) if section else []
            assert not section or section in [head.lower().replace(" ", "-") for head in headings], f"{page}: {name}"
