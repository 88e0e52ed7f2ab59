"""How a user's file is read: which columns are forecast, how far ahead, what is done about gaps, symbols."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from jrnn.commands.numbers import whole
from jrnn.data.scaling import MISSING

NAMES = ("target", "horizon", "history", "missing", "change", "tokens")


def add_series_options(one: ArgumentParser) -> None:
    """Adds them to a command."""
    group = one.add_argument_group("of a .csv file")
    text = "the columns to forecast (default: all that measure something); the others are read as inputs"
    group.add_argument("--target", metavar="NAME[,NAME]", help=text)
    group.add_argument("--horizon", type=whole, metavar="N", help="steps ahead to forecast, all at once (default: 1)")
    text = "steps that the network reads before its last forecast (default: four periods, or 64)"
    group.add_argument("--history", type=whole, metavar="N", help=text)
    add_missing(group)
    text = "read and forecast the targets as changes from the last value, for series that drift"
    group.add_argument("--change", action="store_true", default=None, help=text)
    one.add_argument("--tokens", action="store_true", default=None, help="the integers x of a .npz file are symbols")


def add_missing(one: Any) -> None:
    """Adds --missing alone."""
    text = "where values or rows are missing: a line between the neighbours, or tell the network and do not score them"
    one.add_argument("--missing", choices=MISSING, help=f"{text} (default: refuse)")


def series_options(args: Namespace) -> dict[str, Any]:
    """Those that were given, for `jrnn.data.load`."""
    return {name: getattr(args, name) for name in NAMES if getattr(args, name) is not None}


def series_words(args: Namespace) -> list[str]:
    """Those that were given, for a command to copy."""
    given = series_options(args).items()
    return [word for name, value in given for word in (f"--{name}", *[str(value)] * (value is not True))]
