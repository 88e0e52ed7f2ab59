"""FIX: what mends a gradient flow. Clipping bounds an update, skipping keeps a broken one out; neither moves
information."""

from jrnn.cures.clipping import ClipState, SkipState, clip_by_global_norm, clip_rate, global_norm, skip_nonfinite

__all__ = ["ClipState", "SkipState", "clip_by_global_norm", "clip_rate", "global_norm", "skip_nonfinite"]
