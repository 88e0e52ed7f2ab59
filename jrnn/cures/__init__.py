"""FIX: what mends a gradient flow. Clipping bounds an update, skipping keeps a broken one out; neither moves
information, and `clipping_proof` shows it on a run."""

from jrnn.cells import ClipStateGradient, clip_state_gradient
from jrnn.cures.base import Cure, Training, apply_to_cell, apply_to_params, apply_to_training
from jrnn.cures.catalogue import CURES, cure
from jrnn.cures.chrono import Chrono
from jrnn.cures.clipping import ClipState, SkipState, clip_by_global_norm, clip_rate, global_norm, skip_nonfinite
from jrnn.cures.proving import ClippingProof, clipping_proof
from jrnn.cures.rate import Rate

__all__ = [
    "CURES",
    "Chrono",
    "ClipState",
    "ClipStateGradient",
    "ClippingProof",
    "Cure",
    "Rate",
    "SkipState",
    "Training",
    "apply_to_cell",
    "apply_to_params",
    "apply_to_training",
    "clip_by_global_norm",
    "clip_rate",
    "clip_state_gradient",
    "clipping_proof",
    "cure",
    "global_norm",
    "skip_nonfinite",
]
