"""Backward rules as cures: less gradient through the hidden state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jrnn.cells import h_detach, scale_gradient
from jrnn.cures.base import Cure, settle
from jrnn.cures.within import rebuilt


@dataclass(frozen=True)
class ScaledGradient(Cure):
    """`scale_gradient` around each layer: the gradient through h into the step times h; the values stay.

    Of an LSTM whose forget gates are open the way through the memory c is left, without the noise of the other; of one
    with closed gates all gradient comes through h, so that this closes its only way. It won little: on copying of lag
    40 an LSTM with chrono is at .37 to .40 after 1,000 updates at a rate of .002, at .40 to .41 without it, and no
    better at .006; on the adding problem of 100 steps it lost. The figures are in `scale_gradient`.

    Args:
      h: the factor, in [0, 1].
    """

    h: float = 0.5

    name = "scale-gradient"
    sentence = "Scales the gradient through the hidden state, so that the memory's own path is heard."
    formula = "h -> sg(h) + s (h - sg(h)) where the step reads h"
    source = "the mean of h-detach, Kanuparthi et al. 2019"

    def __post_init__(self):
        settle(self, "h", lambda h: 0 <= h <= 1, "a factor from 0 to 1")

    def on_cell(self, cell: Any) -> Any:
        return rebuilt(cell, lambda each: scale_gradient(each, h=self.h))


@dataclass(frozen=True)
class Detached(Cure):
    """`h_detach` around each layer: at each step, with probability p, no gradient through h.

    As published p = .5 for copying and .25 for images, off for the last updates. See `ScaledGradient` for its mean,
    which did better: on copying of lag 40 .38 to .41 with p = .5, .37 to .40 with the mean, .40 to .41 without either.

    Args:
      p: the probability, in [0, 1].
    """

    p: float = 0.25

    name = "h-detach"
    sentence = "Drops the gradient through the hidden state at random steps."
    formula = "h -> sg(h) with probability p where the step reads h"
    source = "Kanuparthi et al. 2019"

    def __post_init__(self):
        settle(self, "p", lambda p: 0 <= p <= 1, "a probability")

    def on_cell(self, cell: Any) -> Any:
        return rebuilt(cell, lambda each: h_detach(each, self.p))
