"""Numbers as people read them: verdicts, errors, the terminal and the page word them by the same rules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import jax

RAISED = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")


def number(value: float) -> str:
    """Three significant digits, 0.00123 as 0.00123, 1.2e-07, 12,345; inf, -inf and nan by name."""
    value = float(value)
    if not math.isfinite(value) or value == 0:
        return {math.inf: "inf", -math.inf: "-inf", 0.0: "0"}.get(value, "nan")
    if 100 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}" if 1e-4 <= abs(value) < 100 else f"{value:.1e}"


def percentage(fraction: float) -> str:
    """12 %, 0.34 %, 2.1e-07 %, 997 %, and from tenfold on 31 times; 'not finite' for infinities and NaN."""
    value = 100 * float(fraction)
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0 %"
    if value >= 999.5:
        return f"{number(fraction)} times"
    if value >= 99.5:
        return f"{value:.0f} %"
    return f"{value:.2g} %" if 0.001 <= value < 99.5 else f"{value:.1e} %"


def part_of(fraction: float, whole: str) -> str:
    """12 % of the gradient; 31 times the gradient."""
    words = percentage(fraction)
    return f"{words} {whole}" if words.endswith("times") else f"{words} of {whole}"


def from_to(low: float, high: float) -> str:
    """Fractions from `low` to `high`: 3 % to 12 %; 3 % or more where there is no upper end."""
    return f"{percentage(low)} or more" if high == math.inf else f"{percentage(low)} to {percentage(high)}"


def score(name: str, value: float) -> str:
    """A score on held-out data: an accuracy (a share of cases) as 93.4 %, anything else as a number."""
    return f"{100 * float(value):.1f} %" if name == "accuracy" else number(value)


def confidence(level: float) -> str:
    """99.5 % confidence."""
    return f"{100 * level:g} % confidence"


def nats(growth: float, error: float = math.nan) -> str:
    """A growth on the logarithmic scale, always with its sign: -0.200 nats; where its error is known -0.200 ± 0.013
    nats."""
    return f"{growth:+.3f}{f' ± {error:.3f}' if math.isfinite(error) else ''} nats"


def steps(count: float, at_least: bool = False) -> str:
    """1 step, 23 steps, 3.4 steps; at least 63 steps."""
    words = f"{count:,}" if isinstance(count, int) else number(count)
    return f"{'at least ' if at_least else ''}{words} step{'' if words == '1' else 's'}"


def counted(count: int, word: str) -> str:
    """1 output, 1,234 outputs."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def kept(growth: float) -> str:
    """The share that is left after a growth of so many nats in all: 0.45 % for -5.4."""
    return percentage(math.exp(min(float(growth), 700.0)))


def half_life(growth: float) -> float:
    """Steps in which the gradient halves (or doubles, if it grows): ln(2) / |growth|; inf if it stays, 0 for -inf."""
    if math.isnan(growth):
        return math.nan
    return math.inf if growth == 0 else math.log(2) / abs(growth)


def halving(growth: float) -> str:
    """The half-life in words: 'halves in 3.3 steps', 'doubles in 12 steps', 'falls to exactly 0'; 'keeps its size' from
    a million steps on."""
    if math.isnan(growth):
        return "not finite"
    if math.isinf(growth):
        return "falls to exactly 0" if growth < 0 else "overflows"
    if half_life(growth) >= 1e6:
        return "keeps its size"
    return f"{'halves' if growth < 0 else 'doubles'} in {steps(half_life(growth))}"


def sentence_case(words: str) -> str:
    """The first letter large."""
    return words[:1].upper() + words[1:]


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def compact(fraction: float) -> str:
    """A fraction in little room: 100 %, 12 %, 0.34 %, then powers of ten, 10⁻⁶; from tenfold on 31×; inf, nan."""
    fraction = float(fraction)
    if not math.isfinite(fraction):
        return "nan" if math.isnan(fraction) else "inf"
    if fraction >= 9.995:
        return f"{fraction:.0f}×" if fraction < 9999.5 else power_of_ten(round(math.log10(fraction)))
    return percentage(fraction) if fraction >= 9.95e-5 or fraction == 0 else power_of_ten(round(math.log10(fraction)))


def power_of_ten(power: int) -> str:
    """10⁻³: text, where a formula would take matplotlib milliseconds at every drawing."""
    return f"10{raised(str(power))}"


def raised(digits: str) -> str:
    """The digits and their sign as an exponent."""
    return digits.translate(RAISED)


def arrays(tree: Any) -> str:
    """The arrays of a pytree by type and shape: float32[300, 8, 64], and how many more there are; traced ones too."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape")]
    if not leaves:
        return "none"
    first = f"{leaves[0].dtype}{list(leaves[0].shape)}"
    return first if len(leaves) == 1 else f"{first} and {len(leaves) - 1} more"


def brief(value: Any, *facts: str) -> str:
    """One line that says what a result is, for its `repr`: <GradientFlow: 300 steps, ...>."""
    return f"<{type(value).__name__}: {'; '.join(fact for fact in facts if fact)}>"


def cell_title(cell: Any) -> str:
    """LSTM(64), Stack of 2, and the name of the type for others."""
    name, hidden, layers = type(cell).__name__, getattr(cell, "hidden", None), getattr(cell, "cells", None)
    if isinstance(layers, tuple):
        return f"{name} of {len(layers)}"
    return f"{name}({hidden})" if isinstance(hidden, int) else name
