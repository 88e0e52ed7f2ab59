"""The extras that errors name bring the packages that are missing."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from jrnn import InputError
from jrnn.extras import EXTRA_OF, NAME_FOR_PIP, require

BROUGHT = {"haiku": "dm-haiku", "google": "onnx", "g2p_en": "g2p-en"}  # by what, where pip's name is another


@pytest.mark.parametrize("package", EXTRA_OF)
def test_the_extra_brings_the_package(package):
    pyproject = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    brought = pyproject["project"]["optional-dependencies"][EXTRA_OF[package]]
    names = {re.match(r"[\w.-]+", each)[0].lower() for each in brought}
    assert BROUGHT.get(package, NAME_FOR_PIP.get(package, package)).lower() in names


def test_what_a_package_lacks_itself_is_not_taken_for_the_package(tmp_path, monkeypatch):
    (tmp_path / "flax_like.py").write_text("import surely_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="surely_missing"):
        require("flax_like")
    monkeypatch.setitem(sys.modules, "rich.table", None)
    with pytest.raises(InputError, match=r'package rich: got not installed; need pip install "jrnn\[train\]" to print'):
        require("rich.table", "to print")
