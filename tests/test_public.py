"""The public names and their signatures are those that are written down; users' programs hold on to them."""

import subprocess
import sys
from pathlib import Path

import pytest

import jrnn
from tests.public import lines

WRITTEN = Path(__file__).with_name("public.txt")
ROOMS = {"cells", "cures", "data", "flow", "initializers", "interop", "kernels", "report", "training"}


def test_public_names_and_signatures():
    pytest.importorskip("flax")
    assert list(lines()) == WRITTEN.read_text().splitlines()


def test_completion_offers_the_public_names_alone():
    named = (line.partition(":")[0].split(".") for line in WRITTEN.read_text().splitlines())
    assert set(dir(jrnn)) == {parts[1] for parts in named if len(parts) == 2} | ROOMS | {"__version__"}
    assert all(hasattr(jrnn, name) for name in dir(jrnn))
    with pytest.raises(AttributeError, match="module 'jrnn' has no attribute 'unrol'"):
        jrnn.unrol  # noqa: B018


def test_rooms_load_when_they_are_first_asked_for():
    program = """
import sys
import jrnn

rooms = [f"jrnn.{name}" for name in ("report", "data", "interop")]
print([name for name in rooms if name in sys.modules])
print(jrnn.data.load.__name__, jrnn.report.write_report.__name__, jrnn.interop.__name__, jrnn.kernels.explain.__name__)
print([name for name in rooms if name not in sys.modules], "matplotlib" in sys.modules, "flax" in sys.modules)
"""
    root = Path(jrnn.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "load write_report jrnn.interop explain", "[] False False"]
