"""FIX: what mends a gradient flow.

A cure is a value that transforms a training problem (`Chrono(200)`, or `cure("chrono:200")`): `fit(cures=[...])`,
`jrnn.prescribe` and `jrnn train --cure` take it, and several compose. They are made of these functions:

before training        tune_gain, floss, open_gates                     parameters -> parameters
in the backward pass   scale_gradient, h_detach, clip_state_gradient    cell -> cell
in both passes         zoneout; teacher_forced for forecasting, with forcing and measured_alpha
beside the loss        omega, lyapunov_penalty, norm_stabilizer, activation_penalty, temporal_activation_penalty
in the optimiser       clip_by_global_norm, auto_clip, z_clip, skip_nonfinite; AGC is optax.adaptive_grad_clip

A clip bounds an update, skipping keeps a broken one out; neither moves information, and `clipping_proof` shows it.
"""

from jrnn.cells import (
    ClipStateGradient,
    HDetach,
    ScaleGradient,
    TeacherForced,
    Zoneout,
    clip_state_gradient,
    h_detach,
    scale_gradient,
    teacher_forced,
    zoneout,
)
from jrnn.cures.activity import activation_penalty, norm_stabilizer, temporal_activation_penalty
from jrnn.cures.adaptive_clipping import AutoClipState, ZClipState, auto_clip, z_clip
from jrnn.cures.adaptive_clips import AutoClip, ZClip
from jrnn.cures.advice import Advice, advise
from jrnn.cures.backward_rules import Detached, ScaledGradient
from jrnn.cures.base import Cure, Training, apply_to_cell, apply_to_params, apply_to_training
from jrnn.cures.catalogue import CURES, cure
from jrnn.cures.chrono import Chrono
from jrnn.cures.clipping import ClipState, SkipState, clip_by_global_norm, clip_rate, global_norm, skip_nonfinite
from jrnn.cures.flossing import floss, lyapunov_penalty
from jrnn.cures.forecasting import forcing, measured_alpha
from jrnn.cures.gain import tune_gain
from jrnn.cures.gate_opening import open_gates
from jrnn.cures.leaky_units import LeakyUnits
from jrnn.cures.measured_starts import Flossed, TunedGain
from jrnn.cures.minimal_gru import MinimalGRU
from jrnn.cures.norm_keeping import omega
from jrnn.cures.orthogonal import orthogonal_rates
from jrnn.cures.orthogonal_cell import OrthogonalMatrix
from jrnn.cures.penalised import NormStabilizer, Omega
from jrnn.cures.proving import ClippingProof, clipping_proof
from jrnn.cures.rate import Rate
from jrnn.cures.uniform_gates import RefinedGates, UniformGates

__all__ = [
    "CURES",
    "Advice",
    "AutoClip",
    "AutoClipState",
    "Chrono",
    "ClipState",
    "ClipStateGradient",
    "ClippingProof",
    "Cure",
    "Detached",
    "Flossed",
    "HDetach",
    "LeakyUnits",
    "MinimalGRU",
    "NormStabilizer",
    "Omega",
    "OrthogonalMatrix",
    "Rate",
    "RefinedGates",
    "ScaleGradient",
    "ScaledGradient",
    "SkipState",
    "TeacherForced",
    "Training",
    "TunedGain",
    "UniformGates",
    "ZClip",
    "ZClipState",
    "Zoneout",
    "activation_penalty",
    "advise",
    "apply_to_cell",
    "apply_to_params",
    "apply_to_training",
    "auto_clip",
    "clip_by_global_norm",
    "clip_rate",
    "clip_state_gradient",
    "clipping_proof",
    "cure",
    "floss",
    "forcing",
    "global_norm",
    "h_detach",
    "lyapunov_penalty",
    "measured_alpha",
    "norm_stabilizer",
    "omega",
    "open_gates",
    "orthogonal_rates",
    "scale_gradient",
    "skip_nonfinite",
    "teacher_forced",
    "temporal_activation_penalty",
    "tune_gain",
    "z_clip",
    "zoneout",
]
