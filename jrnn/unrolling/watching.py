"""Who looks on while cells run: `unroll` hands each of its runs to the watcher of the trace, where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

import jax

from jrnn.types import Inputs, Params
from jrnn.unrolling.records import Options, Unrolled

Run = Callable[[Any, Params, Inputs, Options], Unrolled]


class Watcher(Protocol):
    """What a probe gives; hashed by identity, for it is part of the key of JAX's caches: its traces serve no other, and
    JAX keeps them and it until the caches are cleared."""

    def watch(self, run: Run, name: str | None, cell: Any, params: Params, xs: Inputs, options: Options) -> Unrolled:
        """`run(cell, params, xs, options)`, looked at."""
        ...


WATCHER = jax.make_user_context(default_value=None)
NAME: ContextVar[str | None] = ContextVar("name", default=None)


@contextmanager
def named(name: str | None) -> Iterator[None]:
    """What runs inside is called so in what a watcher says."""
    token = NAME.set(name)
    try:
        yield
    finally:
        NAME.reset(token)


def watched(run: Run) -> Run:
    """The function that takes the place of `run`: itself, unless there is a watcher."""
    watcher = WATCHER.value
    return run if watcher is None else partial(watcher.watch, run, NAME.get())
