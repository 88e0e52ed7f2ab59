"""The recurrences, one in each file. A new one is a file here and a line in `RECURRENCES`."""

from jrnn.kernels.recurrences.base import Diagonal as Diagonal
from jrnn.kernels.recurrences.base import Recurrence as Recurrence
from jrnn.kernels.recurrences.base import Sloped as Sloped
from jrnn.kernels.recurrences.elman import Elman
from jrnn.kernels.recurrences.gated import Complex, Gated
from jrnn.kernels.recurrences.gru import GRU
from jrnn.kernels.recurrences.leaky import LeakyElman
from jrnn.kernels.recurrences.linear import Linear
from jrnn.kernels.recurrences.lstm import LSTM
from jrnn.kernels.recurrences.min_gru import MinGRU

RECURRENCES: dict[str, Recurrence] = {
    recurrence.name: recurrence
    for recurrence in (
        Elman("tanh"),
        Elman("relu"),
        Elman("identity"),
        LeakyElman("tanh"),
        LeakyElman("relu"),
        LeakyElman("identity"),
        Linear(),
        LSTM(),
        GRU(reset_after=True),
        GRU(reset_after=False),
        Gated(),
        Complex(),
        MinGRU("identity"),
        MinGRU("tanh"),
        MinGRU("positive"),
    )
}
"""By name, the one that a cell's `kernel` gives as `Weights.kind`."""
