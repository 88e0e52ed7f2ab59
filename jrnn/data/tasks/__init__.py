"""Tasks with known answers: the lag is exact, fresh sequences come from a key, and the plateau of the loss is known."""

from jrnn.data.tasks.attractor import lorenz
from jrnn.data.tasks.bits import delayed_xor, latch, marked_bit
from jrnn.data.tasks.coins import two_lag_coin
from jrnn.data.tasks.decisions import context_decision, delayed_match
from jrnn.data.tasks.generated import GeneratedTask
from jrnn.data.tasks.named import TASKS, task
from jrnn.data.tasks.pulses import flip_flop, ready_set_go
from jrnn.data.tasks.sums import adding
from jrnn.data.tasks.symbols import copy_memory, temporal_order

__all__ = [
    "TASKS",
    "GeneratedTask",
    "adding",
    "context_decision",
    "copy_memory",
    "delayed_match",
    "delayed_xor",
    "flip_flop",
    "latch",
    "lorenz",
    "marked_bit",
    "ready_set_go",
    "task",
    "temporal_order",
    "two_lag_coin",
]
