"""FIX: what mends a gradient flow. Clipping bounds an update, skipping keeps a broken one out; neither moves
information, and `clipping_proof` shows it on a run."""

from jrnn.cells import ClipStateGradient, clip_state_gradient, h_detach, scale_gradient
from jrnn.cures.activity import activation_penalty, norm_stabilizer, temporal_activation_penalty
from jrnn.cures.adaptive_clipping import AutoClipState, ZClipState, auto_clip, z_clip
from jrnn.cures.clipping import ClipState, SkipState, clip_by_global_norm, clip_rate, global_norm, skip_nonfinite
from jrnn.cures.flossing import floss, lyapunov_penalty
from jrnn.cures.gain import tune_gain
from jrnn.cures.gate_opening import open_gates
from jrnn.cures.norm_keeping import omega
from jrnn.cures.proving import ClippingProof, clipping_proof

__all__ = [
    "ClipState",
    "ClipStateGradient",
    "ClippingProof",
    "SkipState",
    "activation_penalty",
    "clip_by_global_norm",
    "clip_rate",
    "clip_state_gradient",
    "clipping_proof",
    "floss",
    "global_norm",
    "h_detach",
    "lyapunov_penalty",
    "norm_stabilizer",
    "omega",
    "scale_gradient",
    "skip_nonfinite",
    "temporal_activation_penalty",
    "tune_gain",
]
