"""Training with telemetry: `fit` (Optax, checkpoints, resume), `save` and `load`, `evaluate`, and `stream` for data
without end.

Progress bars, checkpoints and TensorBoard files need the extra: pip install "jrnn[train]". Importing this does not.
"""

from jrnn.training.evaluation import evaluate
from jrnn.training.fitted import Fitted
from jrnn.training.fitting import fit
from jrnn.training.nonfinite import NonFinite, NonFiniteError, first_nonfinite
from jrnn.training.objectives import Objective
from jrnn.training.penalties import Penalty
from jrnn.training.predicting import Forecast
from jrnn.training.simple_answers import Baseline, baselines
from jrnn.training.storage.folders import StorageError
from jrnn.training.storage.saving import Saved, load, save
from jrnn.training.streaming import Streamed, stream
from jrnn.training.telemetry.probing.values import probe
from jrnn.training.telemetry.state_gradient_metrics import delta_metrics
from jrnn.training.telemetry.tangent_probe import tangent_growth

__all__ = [
    "Baseline",
    "Fitted",
    "Forecast",
    "NonFinite",
    "NonFiniteError",
    "Objective",
    "Penalty",
    "Saved",
    "StorageError",
    "Streamed",
    "baselines",
    "delta_metrics",
    "evaluate",
    "first_nonfinite",
    "fit",
    "load",
    "probe",
    "save",
    "stream",
    "tangent_growth",
]
