"""What is no Python and yet belongs to an install is named in pyproject.toml."""

import tomllib
from pathlib import Path

import jrnn

ROOT = Path(jrnn.__file__).parents[1]
BUILT = {"_recurrence.so", "_recurrence.sum", "_recurrence.txt"}
"""By `setup.py`, of which a source distribution holds nothing."""


def test_every_other_file_is_installed():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["jrnn"]
    found = [{file for file in (ROOT / "jrnn").glob(pattern) if file.is_file()} for pattern in told]
    there = {f for f in (ROOT / "jrnn").rglob("*") if f.is_file() and f.suffix not in (".py", ".pyc")}
    assert all(found) and set.union(*found) == {f for f in there if f.name not in BUILT}
