"""Clips that find their own limit, as cures."""

from __future__ import annotations

from dataclasses import dataclass

import optax

from jrnn.cures.adaptive_clipping import auto_clip, z_clip
from jrnn.cures.base import Cure, Training, settle


@dataclass(frozen=True)
class AutoClip(Cure):
    """`auto_clip` in place of the fixed clip: the limit is a percentile of the norms so far.

    It finds a limit where nobody knows one. It bounds updates and moves no information. It won on the marked bit of lag
    50 with an LSTM (5 of 5 seeds below .1, with a fixed limit of 1 four, without a clip three), and lost where the
    first gradients explode: an IRNN on the adding problem is at .17 with it and without a clip, at .05 with the fixed
    limit.

    Args:
      percentile: 0 to 100.
    """

    percentile: float = 10

    name = "auto-clip"
    sentence = "Clips the gradient at a percentile of its own norms so far."
    formula = "max_norm_i = percentile of ||g_1||, ..., ||g_i||"
    source = "Seetharaman, Wichern, Pardo, Le Roux 2020"

    def __post_init__(self):
        settle(self, "percentile", lambda p: 0 < p <= 100, "a percentile, above 0 and at most 100")

    def on_training(self, training: Training) -> Training:
        return training._replace(
            max_norm=None, optimizer=optax.chain(auto_clip(float(self.percentile)), training.optimizer)
        )


@dataclass(frozen=True)
class ZClip(Cure):
    """`z_clip` in place of the fixed clip: spikes are clipped, by their z-score among recent norms.

    It lost on both problems of `auto_clip`: an IRNN on the adding problem is at .17 with it and without any clip, at
    .05 with a fixed limit of 1; of five LSTMs on the marked bit of lag 50 three learn, as without.

    Args:
      threshold: the z-score from which on a norm is a spike, above 0.
    """

    threshold: float = 2.5

    name = "z-clip"
    sentence = "Clips spikes of the gradient's norm, told by their z-score."
    formula = "z = (||g|| - mean) / std over recent updates; clipped to mean + std threshold^2 / z where z > threshold"
    source = "ZClip, Kumar et al. 2025"

    def __post_init__(self):
        settle(self, "threshold", lambda z: 0 < z < float("inf"), "a positive z-score")

    def on_training(self, training: Training) -> Training:
        return training._replace(
            max_norm=None, optimizer=optax.chain(z_clip(float(self.threshold)), training.optimizer)
        )
