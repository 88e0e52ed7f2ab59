"""Implementations for devices that are not here."""

import pytest

from jrnn.kernels import IMPLEMENTATIONS

from .cases import EMULATED


@pytest.fixture
def emulated(monkeypatch):
    """The names of implementations that run emulated in this test."""
    for name, each in EMULATED.items():
        monkeypatch.setitem(IMPLEMENTATIONS, name, each)
    return tuple(EMULATED)
