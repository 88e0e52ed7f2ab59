"""Training with telemetry: `fit` (Optax, checkpoints, resume), `save` and `load`, `evaluate`, and `stream` for data
without end.

Progress bars, checkpoints and TensorBoard files need the extra: pip install "jrnn[train]". Importing this does not.
"""

from jrnn.training.deltas import delta_metrics
from jrnn.training.evaluation import evaluate
from jrnn.training.fitting import Fitted, fit
from jrnn.training.nonfinite import NonFinite, NonFiniteError, first_nonfinite
from jrnn.training.objectives import Objective
from jrnn.training.penalties import Penalty
from jrnn.training.probing import tangent_growth
from jrnn.training.saving import Saved, load, save
from jrnn.training.storage import StorageError
from jrnn.training.streaming import Streamed, stream

__all__ = [
    "Fitted",
    "NonFinite",
    "NonFiniteError",
    "Objective",
    "Penalty",
    "Saved",
    "StorageError",
    "Streamed",
    "delta_metrics",
    "evaluate",
    "first_nonfinite",
    "fit",
    "load",
    "save",
    "stream",
    "tangent_growth",
]
