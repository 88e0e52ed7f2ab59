"""Data sets as plain NumPy arrays, each with its held-out part and the time lag its task needs.

`load("digits")` gives a `Dataset`; `NAMES` has the other names, and a path to a .npz, .csv or .txt file works too.
Tasks with known answers, such as `marked_bit(200)` or `load("marked-bit:200")`, make their own sequences and say on
which loss a network stays that does not reach the lag (`TASKS`). This room imports NumPy, JAX, the standard library and
`jrnn.types` only; other packages, such as pandas for tables, are imported when asked for.
"""

from jrnn.data.dataset import Dataset
from jrnn.data.loading import NAMES, is_named, load
from jrnn.data.scaling import Series
from jrnn.data.tasks import (
    TASKS,
    GeneratedTask,
    adding,
    context_decision,
    copy_memory,
    delayed_match,
    delayed_xor,
    flip_flop,
    latch,
    lorenz,
    marked_bit,
    ready_set_go,
    task,
    temporal_order,
    two_lag_coin,
)

__all__ = [
    "NAMES",
    "TASKS",
    "Dataset",
    "GeneratedTask",
    "Series",
    "adding",
    "context_decision",
    "copy_memory",
    "delayed_match",
    "delayed_xor",
    "flip_flop",
    "is_named",
    "latch",
    "load",
    "lorenz",
    "marked_bit",
    "ready_set_go",
    "task",
    "temporal_order",
    "two_lag_coin",
]
