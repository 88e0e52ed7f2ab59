"""FAST: recurrences over a whole sequence, arrays in and arrays out; knows no cell.

To add a recurrence: a file in `recurrences/` that follows `recurrences/base.py`, and a line in `RECURRENCES`. With its
step alone it runs by `reference`; the members of `Sloped` make it run by `xla`, those of `Diagonal` by `associative`, a
number and a header in `native/recurrences` by the compiled kernel.

To add an implementation: a file in `implementations/` that follows `implementations/base.py`, and a line in
`IMPLEMENTATIONS`. `primitives.py` gives it every derivative and `vmap`, `sharding.py` several devices.
"""

from importlib import import_module
from typing import Any

from jrnn.kernels.implementations import IMPLEMENTATIONS as IMPLEMENTATIONS
from jrnn.kernels.memory import keep_freed_memory as _keep_freed_memory
from jrnn.kernels.operands import Events as Events
from jrnn.kernels.operands import Operands as Operands
from jrnn.kernels.operands import RecurrenceResult as Outcome  # noqa: F401
from jrnn.kernels.operands import Scan as Scan
from jrnn.kernels.operands import Weights as Weights
from jrnn.kernels.problems import Problem as Problem
from jrnn.kernels.problems import problem_of as problem_of
from jrnn.kernels.problems import recur as recur
from jrnn.kernels.problems import recur_all as recur_all
from jrnn.kernels.recurrences import RECURRENCES as RECURRENCES
from jrnn.kernels.recurrences import Recurrence as Recurrence
from jrnn.kernels.recurrences.dense import Dense as Dense
from jrnn.kernels.recurrences.gated import GatedKernel as GatedKernel
from jrnn.kernels.recurrences.gated import gated_kernel as gated_kernel
from jrnn.kernels.recurrences.min_gru import InputKernel as InputKernel
from jrnn.kernels.streaming import step as step

__all__ = [
    "RECURRENCES",
    "Dense",
    "Events",
    "Explanation",
    "GatedKernel",
    "InputKernel",
    "Operands",
    "Outcome",
    "Problem",
    "Recurrence",
    "Scan",
    "Weights",
    "explain",
    "gated_kernel",
    "problem_of",
    "recur",
    "recur_all",
    "step",
]

_keep_freed_memory()  # before XLA has threads

explain: Any
"""Which implementation a call takes, and why: `jrnn.unrolling.explain`."""
Explanation: Any
"""What it returns: `jrnn.unrolling.Explanation`."""


def __getattr__(name: str) -> Any:
    """The chooser knows cells, so it stands above this room; users look for it here."""
    if name not in ("Explanation", "explain"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("jrnn.unrolling"), name)
