"""Python and C++ agree on the order of the kernel's arguments and on the recurrences' numbers."""

import re

import pytest

from jrnn.kernels import RECURRENCES
from jrnn.kernels.implementations import native

SOURCES = native.PLACE / "native"


def listed(array):
    """The fields of the problem in one of the handlers' lists, in order."""
    text = (SOURCES / "handlers.cc").read_text(encoding="utf-8")
    (body,) = re.findall(rf"Operand\* {array}\[\] = {{(.*?)}};", text, re.S)
    return tuple(re.findall(r"&p\.(\w+)", body))


@pytest.mark.parametrize(
    "array, names",
    [
        ("inputs", (*native.OPERANDS, *native.SAVED)),
        ("forwards", native.RESULTS),
        ("backwards", native.GRADIENTS),
    ],
)
def test_the_order_of_arrays(array, names):
    assert listed(array) == names


def test_the_numbers_of_arrays():
    text = (SOURCES / "handlers.cc").read_text(encoding="utf-8")
    counts = [int(n) for n in re.findall(r"backward \? (\d+) : (\d+), most_out = backward \? (\d+) : (\d+)", text)[0]]
    inputs = len(native.OPERANDS)
    assert counts == [inputs + len(native.SAVED), inputs, len(native.GRADIENTS), len(native.RESULTS)]


def test_the_numbers_of_recurrences():
    text = "".join(file.read_text(encoding="utf-8") for file in [SOURCES / "gated.h", *SOURCES.glob("recurrences/*.h")])
    body = "".join(re.findall(r"constexpr int64_t ((?:k\w+ = \d+(?:, )?)+);", text))
    theirs = {name.lower(): int(number) for name, number in re.findall(r"k(\w+) = (\d+)", body)}
    ours = {name.removeprefix("leaky_"): each.native for name, each in RECURRENCES.items() if each.native is not None}
    assert {
        name.replace("gru_reset_before", "grubefore").replace("_", ""): number for name, number in ours.items()
    } == theirs
