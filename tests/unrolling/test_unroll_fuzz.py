"""A small part of `python -m tests.unrolling.fuzz`, and that it can fail."""

import jax
import jax.numpy as jnp
import pytest

from . import fuzz


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(6))
def test_a_drawn_call_equals_the_plain_loop(number, capsys):
    assert fuzz.fuzz(1, seed=18, first=number) == 0, capsys.readouterr().out


@pytest.mark.thorough
def test_what_disagrees_is_named(monkeypatch, capsys):
    right = fuzz.by_loop
    for wrong, said in (
        (lambda case, args: jax.tree.map(lambda a: a + 1e-8, right(case, args)), "e-0"),
        (lambda case, args: jax.tree.map(lambda a: a + jnp.nan, right(case, args)), "nan"),
        (lambda case, args: 1 / 0, "ZeroDivisionError"),
    ):
        monkeypatch.setattr(fuzz, "by_loop", wrong)
        assert fuzz.fuzz(1, seed=18, first=3) == 1
        told = capsys.readouterr().out
        assert "case 3 of seed 18: " in told and said in told and "1 disagree" in told
