"""Starts that are found by measurement, as cures: a tuned gain, and gradient flossing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jrnn.cells import Gates, is_causal
from jrnn.cures.base import Cure, settle
from jrnn.cures.flossing import floss
from jrnn.cures.gain import tune_gain
from jrnn.cures.within import innermost
from jrnn.types import Array, Params


@dataclass(frozen=True)
class TunedGain(Cure):
    """`tune_gain` before the first update: the largest exponent along the data is 0.

    It opens any lag within a tenth of a second and promises no learning: on the marked bit (lag 200) 3 of 5 such tanh
    networks learnt within 1,500 updates of Adam at 2e-3, and none within 300 at 5e-4.
    """

    name = "tune-gain"
    sentence = "Scales the recurrent matrix until the state neither forgets nor explodes along the data."
    formula = "lambda_1(g W_rec) = 0 along the inputs, by bisection on g"
    source = "the critical gain of Sompolinsky, Crisanti, Sommers 1988, measured"

    def refuses(self, cell: Any) -> str | None:
        return why_unmeasured(cell, candidate=True)

    def on_params(self, cell: Any, params: Params, batch: Mapping[str, Any], key: Array) -> Params:
        return tune_gain(cell, params, batch.get("x"), lengths=batch.get("lengths"), key=key)


@dataclass(frozen=True)
class Flossed(Cure):
    """`floss` before the first update: the first k exponents are moved to 0 by gradient descent.

    It opens several directions where a tuned gain opens one; with a small learning rate (Adam 5e-4, clip .1) 3 of 5
    tanh networks then learnt the marked bit of lag 200 within 300 updates (in another run 5 of 5),
    at 2e-3 2 of 5. All exponents at once
    (k = N) is worse than a few.

    Args:
      k: how many exponents, 1 or more.
    """

    k: float = 8

    name = "floss"
    sentence = "Trains the first exponents of the recurrence to 0 before the task is trained."
    formula = "minimise mean_{i <= k} lambda_i^2, lambda_i = mean_t ln |R_ii|, Q R = J_t Q"
    source = "gradient flossing, Engelken 2023"

    def __post_init__(self):
        settle(self, "k", lambda k: k >= 1 and k == int(k), "a number of exponents, 1 or more")

    def refuses(self, cell: Any) -> str | None:
        return why_unmeasured(cell)

    def on_params(self, cell: Any, params: Params, batch: Mapping[str, Any], key: Array) -> Params:
        return floss(cell, params, batch.get("x"), k=int(self.k), lengths=batch.get("lengths"), key=key)


def why_unmeasured(cell: Any, candidate: bool = False) -> str | None:
    """Why its exponents cannot be moved by its recurrent matrix; None if they can.

    Args:
      candidate: whether the block of the candidate must be known, which alone is scaled.
    """
    if not is_causal(cell):
        return "a causal cell"
    if any(recurrent(each, candidate) for each in innermost(cell)):
        return None
    return "a cell with a recurrent matrix w_rec of its own: elman, lstm, gru"


def recurrent(cell: Any, candidate: bool) -> bool:
    """Whether an innermost cell has a recurrent matrix, and names the block of it that belongs to the candidate."""
    gates = getattr(cell, "gates", None)
    known = not isinstance(gates, Gates) or gates.candidate is not None
    own = "w_rec" in getattr(type(cell), "initialisers", ()) and getattr(cell, "w_rec_map", None) is None
    return own and (known or not candidate)
