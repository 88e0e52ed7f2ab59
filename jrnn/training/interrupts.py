"""Ctrl-C as a request: the first asks for an end after the current step, the second raises at once."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupts:
    """A context in which SIGINT sets `requested`; the previous handler is restored on leaving, and none is touched
    outside the main thread or where SIGINT is ignored (as under nohup)."""

    def __init__(self) -> None:
        self.requested = False
        self.previous: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
            self.previous = signal.signal(signal.SIGINT, self.handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)
            self.previous = None

    def handle(self, number: int, frame: Any) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
