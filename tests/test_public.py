"""The public names and their signatures are those that are written down; users' programs hold on to them."""

from pathlib import Path

import pytest

from tests.public import lines

WRITTEN = Path(__file__).with_name("public.txt")


def test_public_names_and_signatures():
    pytest.importorskip("flax")
    assert list(lines()) == WRITTEN.read_text().splitlines()
