"""Numbers on the command line, refused in the words of every other refusal."""

from __future__ import annotations

import argparse


def whole(text: str) -> int:
    """An integer, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; need a whole number") from None


def real(text: str) -> float:
    """A number, for argparse."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; need a number") from None
