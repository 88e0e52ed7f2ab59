"""What Orbax and TensorStore print of a failed write, beside raising it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """Around a write: Orbax's threads log the traceback of what is raised here as well.

    After a failure TensorStore's threads still finish what they had begun, and find that nobody waits for it: that
    one sentence stays silenced.
    """
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    before, logger.disabled = logger.disabled, True
    sys.unraisablehook = without_latecomers(hook)
    try:
        yield
        sys.unraisablehook = hook
    finally:
        logger.disabled = before


def without_latecomers(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The hook, but silent for threads whose event loop is gone."""

    def hear(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    return hear
