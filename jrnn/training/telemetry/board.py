"""TensorBoard's event file."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jrnn.extras import require


class Board:
    """Writes scalars at once. tensorboardX's own SummaryWriter does so in a thread: a full disk ends that thread, and
    the run would then wait for it for ever."""

    def __init__(self, out: Path, start: int):
        self.event = require("tensorboardX.proto.event_pb2")
        self.scalar = require("tensorboardX.summary").scalar
        self.file = require("tensorboardX.event_file_writer").EventsWriter(str(out / "events"))
        # TensorBoard then forgets what an earlier part of the run wrote from there on
        log = self.event.SessionLog(status=self.event.SessionLog.START)
        self.file.write_event(self.event.Event(wall_time=time.time(), step=start, session_log=log))

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Rows of plain numbers, each with its "step"; on disk afterwards."""
        for row in rows:
            for name, value in row.items():
                if name != "step":
                    scalar = {"step": int(row["step"]), "summary": self.scalar(name, value)}
                    self.file.write_event(self.event.Event(wall_time=time.time(), **scalar))
        self.file.flush()

    def close(self) -> None:
        self.file.close()
