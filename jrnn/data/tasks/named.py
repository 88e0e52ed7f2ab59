"""Tasks by their names, as the command line gives them: NAME:LAG."""

from __future__ import annotations

from collections.abc import Callable

from jrnn.data.tasks.attractor import lorenz
from jrnn.data.tasks.bits import delayed_xor, latch, marked_bit
from jrnn.data.tasks.coins import two_lag_coin
from jrnn.data.tasks.decisions import context_decision, delayed_match
from jrnn.data.tasks.generated import GeneratedTask
from jrnn.data.tasks.pulses import flip_flop, ready_set_go
from jrnn.data.tasks.sums import adding
from jrnn.data.tasks.symbols import copy_memory, temporal_order
from jrnn.types import InputError

TASKS: dict[str, Callable[[int], GeneratedTask]] = {
    "marked-bit": marked_bit,
    "latch": latch,
    "adding": adding,
    "copy": copy_memory,
    "two-lag-coin": two_lag_coin,
    "delayed-xor": delayed_xor,
    "temporal-order": temporal_order,
    "lorenz": lorenz,
    "flip-flop": flip_flop,
    "delayed-match": delayed_match,
    "context-decision": context_decision,
    "ready-set-go": ready_set_go,
}
"""Each a function of the lag."""


def task(name: str) -> GeneratedTask:
    """The task of a name such as "marked-bit:200", with the lag in steps after the colon.

    Raises:
      InputError: no such task (names those that there are), or a lag that it cannot have.
    """
    kind, _, lag = str(name).partition(":")
    if kind not in TASKS:
        raise InputError("--data", repr(name), f"one of {', '.join(TASKS)}, with a lag, such as marked-bit:200")
    if not (lag.isascii() and lag.isdigit() and len(lag) < 10):
        raise InputError("--data", repr(name), f"a lag in steps after the colon, such as {kind}:200")
    try:
        return TASKS[kind](int(lag))
    except InputError as error:
        raise InputError("--data", repr(name), str(error).rpartition("; need ")[2]) from error
