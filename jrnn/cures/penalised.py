"""Penalties as cures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jrnn.cures.activity import norm_stabilizer
from jrnn.cures.base import Cure, Training, settle
from jrnn.cures.norm_keeping import omega


@dataclass(frozen=True)
class Omega(Cure):
    """`omega` beside the loss: each step back is to keep the norm of the gradient.

    Published for 5 steps ahead in characters of PTB: 3.89 to 3.74 bits. It acts through W_rec alone, costs a second
    backward pass, and cannot open a lag at which nothing arrives.

    Args:
      weight: of the term, above 0.
    """

    weight: float = 2.0

    name = "omega"
    sentence = "Adds a penalty on every step back that shrinks or stretches the gradient."
    formula = "sum_t (||delta_t J_t|| / ||delta_t|| - 1)^2, deltas held"
    source = "Pascanu, Mikolov, Bengio 2013"

    def __post_init__(self):
        settle(self, "weight", lambda w: 0 < w < math.inf, "a positive number")

    def on_training(self, training: Training) -> Training:
        return training._replace(penalties=(*training.penalties, omega(float(self.weight))))


@dataclass(frozen=True)
class NormStabilizer(Cure):
    """`norm_stabilizer` beside the loss: the norm of the hidden state is not to change from step to step.

    Args:
      weight: of the term, above 0.
    """

    weight: float = 1.0

    name = "norm-stabilizer"
    sentence = "Adds a penalty on changes of the hidden state's norm."
    formula = "mean_t (||h_t|| - ||h_{t-1}||)^2"
    source = "Krueger, Memisevic 2016"

    def __post_init__(self):
        settle(self, "weight", lambda w: 0 < w < math.inf, "a positive number")

    def on_training(self, training: Training) -> Training:
        return training._replace(penalties=(*training.penalties, norm_stabilizer(float(self.weight))))
